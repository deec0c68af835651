#include "gateway/telemetry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/camera_publish.h"
#include "gateway/loop.h"
#include "gateway/uuid_map.h"
#include "net/publish.h"

enum {
	EACH_MS = 1000, /* least time between two messages of one kind of a printer */
	REST_MS = 5000, /* after a message that nobody heard, and between two questions */
	TICK_MS = 100,
	PARALLEL = 8,
	CALLS_MOST = 256, /* more have to wait: nginx is slow */
	PUBLISH_MS = 2000,
	ANSWER_MOST = 4096,
	MESSAGE_MOST = 64 << 10,
	COMPLAIN_MS = 60000,
	PATH_MOST = 256
};

/* An organisation that has printers here. */
struct audience {
	struct telemetry *t;
	int64_t asked_ms;
	bool asking, there;
};

/* A message under way. s: NULL when its printer is gone. */
struct telling {
	struct telemetry *t;
	struct status *s;
	struct telling *next, **at;
};

struct telemetry {
	struct loop *loop;
	struct http_client *client;
	struct uuid_map audiences;
	struct status *first, **last; /* with news */
	struct telling *under_way;
	size_t calls;
	struct timer tick;
	int64_t complained_ms, ended; /* ended: see net/publish.h */
	struct buf message;
};

static void on_tick(void *ctx);

struct telemetry *
telemetry_new(struct loop *loop, struct http *h, const char *socket_path)
{
	struct telemetry *t = calloc(1, sizeof(*t));
	struct http_client_options o = {.parallel = PARALLEL, .unix_socket = socket_path};

	must(t != NULL);
	t->loop = loop;
	t->client = http_client_new(h, &o);
	t->last = &t->first;
	t->tick = (struct timer){.fn = on_tick, .ctx = t};
	t->complained_ms = -COMPLAIN_MS;
	buf_init(&t->message, MESSAGE_MOST);
	return t;
}

void
telemetry_free(struct telemetry *t)
{
	struct audience *a;
	size_t at = 0;

	if (!t)
		return;
	timer_stop(t->loop, &t->tick);
	http_client_free(t->client);
	while (t->under_way) {
		struct telling *x = t->under_way;

		t->under_way = x->next;
		free(x);
	}
	while ((a = uuid_map_next(&t->audiences, &at)))
		free(a);
	uuid_map_fini(&t->audiences);
	buf_fini(&t->message);
	free(t);
}

/* --- nginx' answers --------------------------------------------------------------------------- */

static void
complain(struct telemetry *t, const struct http_reply *r)
{
	if (loop_now(t->loop) - t->complained_ms < COMPLAIN_MS)
		return;
	t->complained_ms = loop_now(t->loop);
	log_warn("what printers report cannot be published",
	    LOG_Z("fault", http_fault_name(r->fault)), LOG_I("status", r->status));
}

/* How many listen. */
static int64_t
listeners(struct telemetry *t, const struct http_reply *r)
{
	int64_t found;

	if (r->fault != HTTP_OK || (r->status / 100 != 2 && r->status != 404)) {
		complain(t, r);
		return 0;
	}
	found = publish_viewers(r->body);
	return found > 0 ? found : 0;
}

static struct http_request
request(const char *method, const char *path, char url[PATH_MOST])
{
	static const struct http_header headers[] = {
	    {"Accept", "application/json"}, {"Expect", NULL}};

	snprintf(url, PATH_MOST, "http://nginx/%s", path);
	return (struct http_request){
	    .method = method,
	    .url = url,
	    .headers = headers,
	    .n_headers = 2,
	    .total_ms = PUBLISH_MS,
	    .most = ANSWER_MOST,
	};
}

static void
on_ended(void *ctx, const struct http_reply *r)
{
	listeners(ctx, r);
}

/* Streams end in time as long as anything is told to them, whoever tells it. */
static void
end_old_streams(struct telemetry *t)
{
	int64_t now = clock_unix_s() / PUBLISH_UNTIL_S;
	char path[PATH_MOST / 2], url[PATH_MOST];
	struct http_request r;

	if (now == t->ended)
		return;
	t->ended = now;
	snprintf(path, sizeof(path), "until.%lld,until.%lld,until.%lld", (long long)now - 2,
	    (long long)now - 1, (long long)now);
	r = request("DELETE", path, url);
	http_send(t->client, &r, on_ended, t);
}

/* --- who listens ------------------------------------------------------------------------------ */

static void
on_asked(void *ctx, const struct http_reply *r)
{
	struct audience *a = ctx;

	a->asking = false;
	a->there = listeners(a->t, r) > 0;
}

/* Every stream listens to its organisation's channel too. */
static bool
listened_to(struct telemetry *t, struct uuid org)
{
	struct audience *a = uuid_map_get(&t->audiences, org);
	char path[UUID_TEXT_LEN + 8] = "org.", url[PATH_MOST];
	struct http_request r;

	if (!a) {
		a = calloc(1, sizeof(*a));
		must(a != NULL);
		a->t = t;
		a->asked_ms = -REST_MS;
		uuid_map_put(&t->audiences, org, a);
	}
	if (!a->asking && loop_now(t->loop) - a->asked_ms >= REST_MS && t->calls < CALLS_MOST) {
		a->asking = true;
		a->asked_ms = loop_now(t->loop);
		uuid_text(org, path + 4);
		r = request("GET", path, url);
		http_send(t->client, &r, on_asked, a);
	}
	return a->there;
}

/* --- messages --------------------------------------------------------------------------------- */

static void
put_text(struct buf *b, const char *name, const char *z)
{
	buf_fmt(b, ",\"%s\":", name);
	if (z && *z)
		buf_json_str(b, str_from(z));
	else
		buf_str(b, STR("null"));
}

static void
put_number(struct buf *b, const char *name, int32_t v)
{
	buf_fmt(b, ",\"%s\":", name);
	if (v == REC_NONE)
		buf_str(b, STR("null"));
	else
		buf_json_i64(b, v);
}

static void
put_section(struct buf *b, const char *name, const struct status *s, uint32_t bit)
{
	buf_fmt(b, ",\"%s\":", name);
	record_json(b, &s->record, bit);
}

static void
put_status(struct buf *b, const struct status *s)
{
	put_text(b, "printer_name", s->name);
	put_text(b, "state", printer_state_name(s->record.state));
	put_text(b, "connection", conn_state_name(s->conn));
	put_section(b, "temperatures", s, REC_TEMPERATURES);
	put_section(b, "job", s, REC_JOB);
}

static void
put_progress(struct buf *b, const struct status *s)
{
	const struct rec_job *j = &s->record.job;
	char id[UUID_TEXT_LEN + 1] = "";

	if (s->at_print)
		uuid_text(s->print.id, id);
	put_text(b, "printer_name", s->name);
	put_text(b, "print_id", id);
	put_text(b, "name", j->name[0] ? j->name : j->file);
	put_number(b, "progress", j->progress);
	put_number(b, "remaining_s", j->remaining_s);
	put_number(b, "layer", j->layer);
	put_number(b, "total_layers", j->total_layers);
}

static void
put_ams(struct buf *b, const struct status *s)
{
	put_section(b, "ams", s, REC_AMS);
}

static const struct {
	const char *type;
	uint32_t sections; /* that make it news */
	bool job;          /* only while there is one */
	void (*put)(struct buf *b, const struct status *s);
} kinds[] = {
    {"printer.status", REC_STATE | REC_CONNECTION | REC_TEMPERATURES, false, put_status},
    {"print.progress", REC_JOB, true, put_progress},
    {"ams.update", REC_AMS, false, put_ams},
};

static void
on_told(void *ctx, const struct http_reply *r)
{
	struct telling *x = ctx;
	struct telemetry *t = x->t;

	/* Nobody looks at this one: it rests. */
	if (listeners(t, r) == 0 && x->s)
		x->s->telemetry.due_ms = loop_now(t->loop) + REST_MS;
	*x->at = x->next;
	if (x->next)
		x->next->at = x->at;
	t->calls--;
	free(x);
}

static void
post(struct telemetry *t, struct status *s, const char *org, const char *printer)
{
	struct telling *x = calloc(1, sizeof(*x));
	char path[PATH_MOST / 2], url[PATH_MOST];
	struct http_request r;

	must(x != NULL);
	snprintf(path, sizeof(path), "%s.operations-read,printer.%s", org, printer);
	r = request("POST", path, url);
	r.body = buf_view(&t->message);
	r.body_type = "application/json";
	*x = (struct telling){.t = t, .s = s, .next = t->under_way, .at = &t->under_way};
	if (x->next)
		x->next->at = &x->next;
	t->under_way = x;
	t->calls++;
	http_send(t->client, &r, on_told, x);
}

static void
tell(struct telemetry *t, struct status *s)
{
	char org[UUID_TEXT_LEN + 1], printer[UUID_TEXT_LEN + 1], at[40];

	uuid_text(s->org, org);
	uuid_text(s->printer, printer);
	clock_rfc3339_to(at, clock_unix_ms());
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct buf *b = &t->message;

		if (!(s->telemetry.news & kinds[i].sections) ||
		    (kinds[i].job && !printer_state_busy(s->record.state)))
			continue;
		buf_clear(b);
		buf_fmt(b, "{\"type\":\"%s\",\"timestamp\":\"%s\",\"organization_id\":\"%s\"",
		    kinds[i].type, at, org);
		buf_fmt(b, ",\"data\":{\"printer_id\":\"%s\"", printer);
		kinds[i].put(b, s);
		buf_str(b, STR("}}"));
		if (!b->overflow)
			post(t, s, org, printer);
	}
	s->telemetry.news = 0;
	s->telemetry.due_ms = loop_now(t->loop) + EACH_MS;
}

/* --- the queue -------------------------------------------------------------------------------- */

static void
on_tick(void *ctx)
{
	struct telemetry *t = ctx;
	struct status **at = &t->first;

	while (*at) {
		struct status *s = *at;

		if (s->telemetry.due_ms > loop_now(t->loop) || t->calls >= CALLS_MOST) {
			at = &s->telemetry.next;
			continue;
		}
		*at = s->telemetry.next;
		s->telemetry.queued = false;
		tell(t, s);
	}
	t->last = at;
	end_old_streams(t);
	if (t->first)
		timer_set(t->loop, &t->tick, TICK_MS);
}

static uint32_t
sections(void)
{
	uint32_t all = 0;

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		all |= kinds[i].sections;
	return all;
}

void
telemetry_touch(struct telemetry *t, struct status *s)
{
	uint32_t news = s->changed & sections();

	if (!t || !news || !listened_to(t, s->org))
		return;
	s->telemetry.news |= news;
	if (s->telemetry.queued)
		return;
	s->telemetry.queued = true;
	s->telemetry.next = NULL;
	*t->last = s;
	t->last = &s->telemetry.next;
	if (!timer_is_set(&t->tick))
		timer_set(t->loop, &t->tick, 0);
}

void
telemetry_forget(struct telemetry *t, struct status *s)
{
	struct status **at;

	if (!t)
		return;
	for (struct telling *x = t->under_way; x; x = x->next)
		if (x->s == s)
			x->s = NULL;
	if (!s->telemetry.queued)
		return;
	for (at = &t->first; *at != s; at = &(*at)->telemetry.next)
		continue;
	*at = s->telemetry.next;
	if (t->last == &s->telemetry.next)
		t->last = at;
	s->telemetry.queued = false;
}
