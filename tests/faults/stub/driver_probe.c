/* One driver and one printer, without a session, a database or an engine: orders come as lines of
 * JSON on stdin, what the driver tells goes as lines of JSON to stdout.
 *
 *     driver_probe PROTOCOL ADDRESS PORT SERIAL MODEL CA [FTPS_PORT]     (the secret:
 * DRIVER_SECRET) */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "gateway/http.h"
#include "gateway/reading.h"
#include "gateway/session.h"

enum { LINE_MOST = 64 * 1024, RETRY_MS = 200, CONNECT_MS = 10000 };

/* What a driver is given of a session. */
struct session {
	struct gateway gateway;
	const struct driver *driver;
	void *d;
	struct record record;
	const char *address, *serial, *model, *secret;
	int port;
	int64_t told; /* progress */
	enum conn_reason limits;
	struct timer retry;
	struct watch orders;
	struct transfer transfer;
	char line[LINE_MOST];
	size_t n;
};

/* --- telling ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static void
say(const char *event, const char *fmt, ...)
{
	char text[4096];
	va_list ap;
	int n = snprintf(text, sizeof(text), "{\"event\":\"%s\"", event);

	va_start(ap, fmt);
	n += vsnprintf(text + n, sizeof(text) - (size_t)n, fmt, ap);
	va_end(ap);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "}\n");
	must(n < (int)sizeof(text) && io_write_all(STDOUT_FILENO, text, (size_t)n));
}

static void
say_words(const char *event, const char *what, const char *words)
{
	struct buf b;

	buf_init(&b, 4096);
	if (words)
		buf_json_str(&b, str_from(words));
	else
		buf_str(&b, STR("null"));
	say(event, ",\"what\":\"%s\",\"words\":%.*s", what, STR_ARG(buf_view(&b)));
	buf_fini(&b);
}

static void
say_record(struct session *s, const char *limits)
{
	struct buf job;
	bool ours = s->transfer.remote[0] && s->driver->is_job(s->d, &s->transfer, &s->record);

	buf_init(&job, 4096);
	record_json(&job, &s->record, REC_JOB);
	say("report", ",\"state\":\"%s\",\"limits\":\"%s\",\"ours\":%s,\"job\":%.*s",
	    printer_state_name(s->record.state), limits, ours ? "true" : "false",
	    STR_ARG(buf_view(&job)));
	buf_fini(&job);
}

struct gateway *
session_gateway(const struct session *s)
{
	return (struct gateway *)(uintptr_t)&s->gateway;
}

struct record *
session_record(struct session *s)
{
	return &s->record;
}

const char *
session_host(const struct session *s)
{
	return s->address;
}

const char *
session_serial(const struct session *s)
{
	return s->serial;
}

const char *
session_secret(const struct session *s)
{
	return s->secret;
}

const char *
session_model(const struct session *s)
{
	return s->model;
}

struct uuid
session_printer(const struct session *s)
{
	(void)s;
	return (struct uuid){{0}};
}

bool
session_is_offline(const struct session *s)
{
	return s->record.state == PRINTER_OFFLINE;
}

bool
session_is_proven(const struct session *s)
{
	(void)s;
	return false;
}

void
session_up(struct session *s)
{
	timer_stop(s->gateway.loop, &s->retry);
	say("up", " ");
}

void
session_report(struct session *s, uint32_t changed, enum conn_reason limits)
{
	bool news = limits != s->limits;

	s->limits = limits;
	if (news || (changed & (REC_STATE | REC_JOB | REC_ERRORS)))
		say_record(s, limits == REASON_NONE ? "" : conn_reason_name(limits));
}

void
session_heard(struct session *s)
{
	(void)s;
}

void
session_changed(struct session *s, uint32_t changed)
{
	session_report(s, changed, s->limits);
}

void
session_failed(struct session *s, enum conn_reason reason)
{
	s->driver->disconnect(s->d);
	say_words("failed", conn_reason_name(reason), NULL);
	timer_set(s->gateway.loop, &s->retry, RETRY_MS);
}

void
session_round_trip(struct session *s, int64_t us)
{
	(void)s;
	say("round_trip", ",\"us\":%lld", (long long)us);
}

void
session_answer(struct session *s, enum answer a, const char *words)
{
	static const char *const names[] = {"accepted", "refused", "busy", "unsupported", "lost"};

	(void)s;
	say_words("answer", names[a], words);
}

void
session_upload_progress(struct session *s, int64_t sent)
{
	if (sent < s->told || sent - s->told > 256 * 1024)
		say("progress", ",\"sent\":%lld", (long long)(s->told = sent));
}

void
session_upload_done(struct session *s, enum upload_end end, const char *words)
{
	static const char *const names[] = {"done", "refused", "busy", "no_space", "broken"};

	(void)s;
	say_words("uploaded", names[end], words);
}

/* --- orders ----------------------------------------------------------------------------------- */

static void
take_text(struct json_object *v, const char *name, char *out, size_t size)
{
	reading_text(reading_member(v, name), out, size);
}

/* {"do": "upload", "path", "filename", "kind", "task_id"} */
static void
do_upload(struct session *s, struct json_object *v)
{
	struct transfer *t = &s->transfer;
	char path[512] = "";
	int64_t id = 1;

	if (t->fd > 0)
		close(t->fd);
	memset(t, 0, sizeof(*t));
	take_text(v, "path", path, sizeof(path));
	take_text(v, "filename", t->filename, sizeof(t->filename));
	take_text(v, "kind", t->kind, sizeof(t->kind));
	reading_i64(reading_member(v, "task_id"), &id);
	t->task_id = (int32_t)id;
	t->plate = 1;
	t->fd = open(path, O_RDONLY | O_CLOEXEC);
	must(t->fd > 0);
	t->size = lseek(t->fd, 0, SEEK_END);
	s->told = 0;
	s->driver->upload(s->d, t);
}

static void
do_command(struct session *s, struct json_object *v)
{
	struct command c;

	must(command_parse(reading_member(v, "command"), &c));
	s->driver->command(s->d, &c);
	command_fini(&c);
}

static void
do_start(struct session *s, struct json_object *v)
{
	(void)v;
	s->driver->start(s->d, &s->transfer);
}

static void
do_abort(struct session *s, struct json_object *v)
{
	(void)v;
	s->driver->abort(s->d);
	say("aborted", " ");
}

static void
do_camera(struct session *s, struct json_object *v)
{
	struct camera_source c;

	(void)v;
	s->driver->camera(s->d, &c);
	say("camera", ",\"kind\":%d,\"port\":%d,\"url\":\"%s\",\"user\":\"%s\"", (int)c.kind,
	    c.port, c.url, c.user);
}

static void
obey(struct session *s, struct str text)
{
	static const struct {
		const char *name;
		void (*fn)(struct session *s, struct json_object *v);
	} orders[] = {
	    {"upload", do_upload},
	    {"command", do_command},
	    {"start", do_start},
	    {"abort", do_abort},
	    {"camera", do_camera},
	};
	struct json_object *v = json_tokener_parse(text.p);
	char name[16] = "";

	must(v != NULL);
	take_text(v, "do", name, sizeof(name));
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (strcmp(name, orders[i].name) == 0)
			orders[i].fn(s, v);
	json_object_put(v);
}

static void
on_orders(void *ctx, uint32_t events)
{
	struct session *s = ctx;
	ssize_t n = read(STDIN_FILENO, s->line + s->n, sizeof(s->line) - 1 - s->n);
	char *end;

	(void)events;
	if (n <= 0) {
		loop_stop(s->gateway.loop);
		return;
	}
	s->n += (size_t)n;
	while ((end = memchr(s->line, '\n', s->n)) != NULL) {
		size_t used = (size_t)(end - s->line) + 1;

		*end = '\0';
		obey(s, str_from(s->line));
		memmove(s->line, s->line + used, s->n - used);
		s->n -= used;
	}
	must(s->n < sizeof(s->line) - 1);
}

static void
on_retry(void *ctx)
{
	struct session *s = ctx;

	timer_set(s->gateway.loop, &s->retry, CONNECT_MS);
	s->driver->disconnect(s->d);
	s->driver->connect(s->d, s->address, s->port);
}

static const struct driver *
find(const char *protocol)
{
	for (int i = 0; i < DRIVERS_MOST && drivers[i]; i++)
		if (strcmp(drivers[i]->protocol, protocol) == 0)
			return drivers[i];
	return NULL;
}

static void
run(struct session *s, const struct driver_config *config)
{
	void *env = s->driver->init(config);

	must(env != NULL);
	record_init(&s->record);
	s->d = s->driver->create(env, s);
	timer_set(s->gateway.loop, &s->retry, 0);
	must(watch_set(s->gateway.loop, &s->orders, STDIN_FILENO, EPOLLIN));
	loop_run(s->gateway.loop);
	s->driver->disconnect(s->d);
	s->driver->destroy(s->d);
	s->driver->fini(env);
	record_fini(&s->record);
}

int
main(int argc, char **argv)
{
	struct session *s = calloc(1, sizeof(*s));
	struct driver_config config = {
	    .ca_path = argc > 6 ? argv[6] : NULL, .bambu_ftps_port = argc > 7 ? argv[7] : NULL};
	int64_t port = 0;

	log_init("probe", LOG_DEBUG);
	must(s && argc > 6 && str_to_i64(str_from(argv[3]), &port));
	s->driver = find(argv[1]);
	must(s->driver != NULL);
	s->address = argv[2];
	s->port = (int)port;
	s->serial = argv[4];
	s->model = argv[5];
	s->secret = getenv("DRIVER_SECRET");
	must(s->secret != NULL);
	s->gateway.loop = config.loop = loop_new();
	s->gateway.patience_pct = 100;
	config.http = http_new(config.loop);
	s->retry = (struct timer){.fn = on_retry, .ctx = s};
	s->orders = (struct watch){.fn = on_orders, .ctx = s};
	run(s, &config);
	http_free(config.http);
	loop_free(config.loop);
	free(s);
	return 0;
}
