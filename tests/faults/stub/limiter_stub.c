/* The limiter at a keyboard: commands on stdin, one JSON line each on stdout.
 *   limiter_stub REDIS_SOCKET WORKERS
 * ask KEY CLASS ADDRESS (class 0-3: read, write, control, login); learn READ WRITE CONTROL BURST;
 * charge; alive. waited_us is what the calls of the limiter took. */
#include <openssl/evp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/redis_limit.h"

static int64_t
number(struct str *rest)
{
	int64_t v = 0;

	must(str_to_i64(str_cut(rest, ' '), &v));
	return v;
}

static void
print_headers(struct arena *a, const struct limit_verdict *v)
{
	struct limit_header h[LIMIT_HEADERS_MOST];
	size_t n = limit_headers_render(a, v, h);

	printf(",\"headers\":{");
	for (size_t i = 0; i < n; i++) {
		printf("%s\"%s\":\"", i ? "," : "", h[i].name);
		for (size_t c = 0; c < h[i].value.n; c++)
			printf(h[i].value.p[c] == '"' ? "\\\"" : "%c", h[i].value.p[c]);
		printf("\"");
	}
	printf("}");
}

static void
ask(struct limiter *l, struct arena *a, struct str rest)
{
	struct limit_question q = {0};
	struct limit_verdict v;
	struct str key = str_cut(&rest, ' ');
	int64_t from;

	must(EVP_Digest(key.p, key.n, q.key_hash, NULL, EVP_sha256(), NULL) == 1);
	q.cls = (enum limit_class)number(&rest);
	q.addr = rest;
	from = clock_mono_us();
	limiter_send(l, &q);
	limiter_answer(l, &v);
	printf(
	    "{\"waited_us\":%lld,\"allowed\":%s,\"degraded\":%s,\"unavailable\":%s,\"policy\":\"%s\","
	    "\"remaining\":%lld,\"retry_after_s\":%lld,\"reset_epoch_s\":%lld,\"used\":[%lld,%lld,%lld,%lld]",
	    (long long)(clock_mono_us() - from), v.allowed ? "true" : "false",
	    v.degraded ? "true" : "false", v.unavailable ? "true" : "false",
	    v.policy ? v.policy : "", (long long)v.by_class.remaining, (long long)v.retry_after_s,
	    (long long)v.reset_epoch_s, (long long)v.used.read, (long long)v.used.write,
	    (long long)v.used.control, (long long)v.used.burst);
	print_headers(a, &v);
	printf("}\n");
}

static void
learn(struct limiter *l, struct str rest)
{
	struct limit_values v;

	v.read = number(&rest);
	v.write = number(&rest);
	v.control = number(&rest);
	v.burst = number(&rest);
	limiter_learn(l, &v);
	printf("{}\n");
}

static void
obey(struct limiter *l, struct arena *a, struct str line)
{
	struct str verb = str_cut(&line, ' ');
	int64_t from = clock_mono_us();

	if (str_eq(verb, STR("ask"))) {
		ask(l, a, line);
	} else if (str_eq(verb, STR("learn"))) {
		learn(l, line);
	} else if (str_eq(verb, STR("charge"))) {
		limiter_charge_unknown(l);
		printf("{}\n");
	} else if (str_eq(verb, STR("alive"))) {
		bool yes = limiter_alive(l);

		printf("{\"alive\":%s,\"waited_us\":%lld}\n", yes ? "true" : "false",
		    (long long)(clock_mono_us() - from));
	}
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct arena *a = arena_new(1 << 20);
	struct limiter *l;
	int64_t workers;
	char line[512];

	must(argc == 3 && str_to_i64(str_from(argv[2]), &workers));
	log_init("limiter", LOG_INFO);
	signal(SIGPIPE, SIG_IGN);
	l = limiter_new(argv[1], (int)workers);
	while (fgets(line, sizeof line, stdin)) {
		line[strcspn(line, "\n")] = '\0';
		obey(l, a, str_from(line));
		arena_reset(a);
	}
	limiter_free(l);
	arena_free(a);
	return 0;
}
