/*
 * The other side of gateway_scale.py: what the least that can be done with the same reports costs.
 * One libmosquitto session per printer over TLS, one epoll loop, json-c parses every message and
 * throws it away. Until SIGTERM.
 *
 * mqtt_subscriber PRINTERS
 *   PRINTERS  file of lines "<serial> <port> <access code>"
 *
 * Prints "ready" once all are subscribed, and at the end "<messages> <bytes> <not parsed>".
 */
#include <json-c/json.h>
#include <mosquitto.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/log.h"
#include "gateway/loop.h"

enum { LINE_MOST = 256, FIELD_MOST = 64, MISC_MS = 5000, GAP_MS = 2 };

struct all {
	struct loop *loop;
	struct json_tokener *tokener;
	SSL_CTX *tls;
	struct one *list;
	size_t n, dialled, subscribed;
	struct timer next;
	long messages, bytes, bad;
};

struct one {
	struct all *all;
	struct mosquitto *m;
	struct watch watch;
	struct timer misc;
	char serial[FIELD_MOST], code[FIELD_MOST], topic[FIELD_MOST + 16];
	int port;
};

__attribute__((noreturn)) static void
give_up(const struct one *o, const char *why)
{
	log_error(why, LOG_Z("serial", o->serial));
	exit(1);
}

static void
on_message(struct mosquitto *m, void *ctx, const struct mosquitto_message *msg)
{
	struct one *o = ctx;
	struct json_object *root;

	(void)m;
	json_tokener_reset(o->all->tokener);
	root = json_tokener_parse_ex(o->all->tokener, msg->payload, msg->payloadlen);
	o->all->messages++;
	o->all->bytes += msg->payloadlen;
	o->all->bad += root == NULL;
	json_object_put(root);
}

static void
on_subscribe(struct mosquitto *m, void *ctx, int mid, int n, const int *granted)
{
	struct one *o = ctx;

	(void)m;
	(void)mid;
	(void)n;
	(void)granted;
	if (++o->all->subscribed < o->all->n)
		return;
	puts("ready");
	fflush(stdout);
}

static void
on_connect(struct mosquitto *m, void *ctx, int rc)
{
	struct one *o = ctx;

	if (rc != 0)
		give_up(o, "refused");
	mosquitto_subscribe(m, NULL, o->topic, 0);
}

static void
look(struct one *o, int rc)
{
	if (rc != MOSQ_ERR_SUCCESS)
		give_up(o, "connection lost");
	must(watch_set(o->all->loop, &o->watch, mosquitto_socket(o->m),
	    EPOLLIN | (mosquitto_want_write(o->m) ? EPOLLOUT : 0u)));
}

static void
on_socket(void *ctx, uint32_t events)
{
	struct one *o = ctx;
	int rc = MOSQ_ERR_SUCCESS;

	if (events & EPOLLIN) {
		do
			rc = mosquitto_loop_read(o->m, 1);
		while (rc == MOSQ_ERR_SUCCESS && mosquitto_ssl_get(o->m) &&
		    SSL_pending(mosquitto_ssl_get(o->m)) > 0);
	}
	if (rc == MOSQ_ERR_SUCCESS && (events & EPOLLOUT))
		rc = mosquitto_loop_write(o->m, 1);
	look(o, rc);
}

static void
on_misc(void *ctx)
{
	struct one *o = ctx;

	timer_set(o->all->loop, &o->misc, MISC_MS);
	look(o, mosquitto_loop_misc(o->m));
}

static void
dial(struct one *o)
{
	snprintf(o->topic, sizeof(o->topic), "device/%s/report", o->serial);
	o->m = mosquitto_new(NULL, true, o);
	must(o->m != NULL);
	mosquitto_username_pw_set(o->m, "bblp", o->code);
	mosquitto_void_option(o->m, MOSQ_OPT_SSL_CTX, o->all->tls);
	mosquitto_int_option(o->m, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
	mosquitto_int_option(o->m, MOSQ_OPT_TCP_NODELAY, 1);
	mosquitto_tls_insecure_set(o->m, true);
	mosquitto_connect_callback_set(o->m, on_connect);
	mosquitto_subscribe_callback_set(o->m, on_subscribe);
	mosquitto_message_callback_set(o->m, on_message);
	o->watch = (struct watch){.fn = on_socket, .ctx = o};
	o->misc = (struct timer){.fn = on_misc, .ctx = o};
	timer_set(o->all->loop, &o->misc, MISC_MS);
	look(o, mosquitto_connect_async(o->m, "127.0.0.1", o->port, 30));
}

static void
dial_next(void *ctx)
{
	struct all *a = ctx;

	dial(&a->list[a->dialled++]);
	if (a->dialled < a->n)
		timer_set(a->loop, &a->next, GAP_MS);
}

/* Cuts the next word off a line. */
static void
word(struct str *line, char *out, size_t size)
{
	struct str w = str_cut(line, ' ');

	must(w.n > 0 && w.n < size);
	memcpy(out, w.p, w.n);
	out[w.n] = '\0';
}

static bool
read_printers(struct all *a, const char *path)
{
	FILE *file = fopen(path, "r");
	char text[LINE_MOST], port[16];
	size_t room = 0;

	if (!file)
		return false;
	while (fgets(text, sizeof(text), file)) {
		struct str line;
		struct one *o;

		if (a->n == room) {
			room = room * 2 + 64;
			a->list = realloc(a->list, room * sizeof(*a->list));
			must(a->list != NULL);
		}
		o = &a->list[a->n++];
		*o = (struct one){.all = a};
		text[strcspn(text, "\n")] = '\0';
		line = str_from(text);
		word(&line, o->serial, sizeof(o->serial));
		word(&line, port, sizeof(port));
		word(&line, o->code, sizeof(o->code));
		o->port = (int)strtol(port, NULL, 10);
	}
	fclose(file);
	return a->n > 0;
}

static void
on_signal(void *ctx, uint32_t events)
{
	struct all *a = ctx;

	(void)events;
	loop_stop(a->loop);
}

static int
signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

int
main(int argc, char **argv)
{
	struct all a = {0};
	struct watch stop = {.fn = on_signal, .ctx = &a};

	if (argc != 2 || !read_printers(&a, argv[1])) {
		fputs("usage: mqtt_subscriber PRINTERS\n", stderr);
		return 2;
	}
	mosquitto_lib_init();
	a.loop = loop_new();
	a.tokener = json_tokener_new();
	a.tls = SSL_CTX_new(TLS_client_method());
	must(a.tokener != NULL && a.tls != NULL);
	SSL_CTX_set_mode(a.tls, SSL_MODE_RELEASE_BUFFERS);
	a.next = (struct timer){.fn = dial_next, .ctx = &a};
	timer_set(a.loop, &a.next, 0);
	must(watch_set(a.loop, &stop, signals(), EPOLLIN));
	loop_run(a.loop);
	printf("%ld %ld %ld\n", a.messages, a.bytes, a.bad);
	return 0;
}
