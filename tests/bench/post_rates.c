/*
 * libcurl alone: posts the same body to a URL again and again, with the options that webhooks are
 * sent with (courier/send_request.c), a connection each, so many at once.
 *
 * post_rates URL CA BODY N PARALLEL
 *   CA    PEM that the server's certificate chains to
 *   BODY  file
 *
 * Prints one line of JSON: how many were taken, seconds of processor time and of the clock.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/arena.h"
#include "base/log.h"
#include "net/fetch_guard.h"

enum { BODY_MOST = 1 << 20, TIMEOUT_MS = 15000 };

struct bench {
	CURLM *multi;
	struct fetch_rules rules;
	struct fetch_url url;
	struct curl_slist *headers;
	char *body;
	size_t body_n;
	long begun, ended, taken, n;
};

struct post {
	struct fetch_guard guard;
};

static size_t
ignore(char *p, size_t size, size_t n, void *ctx)
{
	(void)p, (void)ctx;
	return size * n;
}

static void
begin(struct bench *b)
{
	CURL *h = curl_easy_init();
	struct post *p = calloc(1, sizeof(*p));

	must(h && p);
	fetch_prepare(h, &p->guard, &b->rules, &b->url);
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
	curl_easy_setopt(h, CURLOPT_POST, 1L);
	curl_easy_setopt(h, CURLOPT_POSTFIELDS, b->body);
	curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)b->body_n);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, b->headers);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(h, CURLOPT_PRIVATE, p);
	must(curl_multi_add_handle(b->multi, h) == CURLM_OK);
	b->begun++;
}

static void
take_ended(struct bench *b)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(b->multi, &left)) != NULL) {
		CURL *h = m->easy_handle;
		struct post *p;
		long status = 0;

		curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(h, CURLINFO_PRIVATE, &p);
		b->taken += m->data.result == CURLE_OK && status == 200;
		b->ended++;
		curl_multi_remove_handle(b->multi, h);
		curl_easy_cleanup(h);
		free(p);
	}
}

static double
seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void
read_body(struct bench *b, const char *path)
{
	FILE *f = fopen(path, "r");

	must(f != NULL);
	b->body = malloc(BODY_MOST);
	must(b->body != NULL);
	b->body_n = fread(b->body, 1, BODY_MOST, f);
	fclose(f);
}

static void
set_headers(struct bench *b)
{
	static const char *const lines[] = {"webhook-id: 0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70",
	    "webhook-timestamp: 1614265330", "content-type: application/json",
	    "user-agent: SoLoPrint-Webhooks/1",
	    "Expect:", "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		b->headers = curl_slist_append(b->headers, lines[i]);
}

int
main(int argc, char **argv)
{
	struct arena *a = arena_new(1 << 20);
	struct bench b = {0};
	struct rusage used;
	struct timespec from, to;
	int running;

	if (argc != 6)
		return 2;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	b.rules.ca_file = argv[2];
	must(fetch_url_check(&b.rules, a, str_from(argv[1]), &b.url) == FETCH_OK);
	b.multi = curl_multi_init();
	b.n = strtol(argv[4], NULL, 10);
	read_body(&b, argv[3]);
	set_headers(&b);
	clock_gettime(CLOCK_MONOTONIC, &from);
	while (b.ended < b.n) {
		while (b.begun < b.n && b.begun - b.ended < strtol(argv[5], NULL, 10))
			begin(&b);
		curl_multi_perform(b.multi, &running);
		take_ended(&b);
		curl_multi_poll(b.multi, NULL, 0, 100, NULL);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	getrusage(RUSAGE_SELF, &used);
	printf("{\"taken\": %ld, \"cpu_s\": %.4f, \"wall_s\": %.4f}\n", b.taken,
	    seconds(used.ru_utime) + seconds(used.ru_stime),
	    (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
	return b.taken == b.n ? 0 : 1;
}
