/* Live streams. A request is judged, what the stream begins with is posted to a channel of its own,
 * and nginx is led to that channel and those of the events; no worker holds a stream. Contract:
 * schema/api/streams.yaml; statements: streams.sql. */
#include "base/clock.h"
#include "base/log.h"
#include "gen/routes.h"
#include "net/publish.h"
#include "query.h"
#include "reply.h"
#include "signed.h"
#include "state.h"

enum {
	URL_S = 60,
	LIFE_S = 900,  /* at most; */
	SPREAD_S = 60, /* less by a part of that, so that not all of a moment come back at once */
	MISSED = 500,  /* events that the first message may bring */
	MISSED_BYTES = 512 << 10,
	BACK_S = 2, /* before the time of Last-Event-ID: clocks differ */
	TRIES = 3,
	SNAPSHOT_MOST = 3 << 20,
	CHANNELS_MOST = 255 /* nchan's */
};

/* What a stream is of, and where it begins; -1: not given. */
struct wish {
	bool has_printer, has_item;
	struct uuid printer, item;
	int64_t after, since_s;
	bool lost; /* it is not known what was missed */
};

/* --- what is asked ---------------------------------------------------------------------------- */

/* "1775127604:-,[0]": nginx' time of the last message that arrived. */
static void
read_last_id(const struct req *r, struct wish *w)
{
	struct str id = r->in_headers.last_event_id;

	if (!id.n)
		return;
	w->after = -1;
	if (str_to_i64(str_cut(&id, ':'), &w->since_s) && w->since_s > 0 &&
	    w->since_s <= clock_unix_s() + LIFE_S)
		w->since_s -= BACK_S;
	else
		w->since_s = -1;
	w->lost = w->since_s < 0;
}

static const struct err *
one_of(struct req *r, const struct wish *w, struct str pointer, const struct err *e)
{
	if (!w->has_printer || !w->has_item)
		return NULL;
	violation_add(
	    &r->violations, pointer, STR("conflict"), STR("not together with printer_id"));
	return refuse(r, e);
}

/* As it stands in a signed URL. */
static struct str
wish_text(struct arena *a, const struct wish *w)
{
	if (w->has_printer)
		return str_fmt(a, "printer.%.*s", STR_ARG(uuid_str(a, w->printer)));
	if (w->has_item)
		return str_fmt(a, "item.%.*s", STR_ARG(uuid_str(a, w->item)));
	return STR("all");
}

static struct wish
wish_read(const struct sign_claim *c)
{
	struct str id = c->disposition, kind = str_cut(&id, '.');
	struct wish w = {.after = c->size, .since_s = -1};

	w.has_printer = str_eq(kind, STR("printer")) && uuid_parse(id, &w.printer);
	w.has_item = str_eq(kind, STR("item")) && uuid_parse(id, &w.item);
	must(w.has_printer || w.has_item || str_eq(c->disposition, STR("all")));
	return w;
}

static void
bind_if(struct query *q, int64_t v)
{
	if (v < 0)
		bind_null(q);
	else
		bind_i64(q, v);
}

static struct query *
ask(struct req *r, const struct wish *w, int most)
{
	struct query *q = query(r, &SQL_stream_open);

	bind_uuid_if(q, w->has_printer, w->printer);
	bind_uuid_if(q, w->has_item, w->item);
	bind_if(q, w->since_s);
	bind_if(q, w->after);
	bind_i64(q, most);
	bind_i64(q, MISSED_BYTES);
	return q;
}

/* --- the first message ------------------------------------------------------------------------ */

/* What was missed stands inside: one message arrives whole or not at all, and Last-Event-ID would
 * tell nothing of a row of them that broke off. */
static void
write_snapshot(
    struct buf *b, struct req *r, struct uuid id, struct uuid org, const struct query *q, bool lost)
{
	struct str data = rows_get(q, 0, "snapshot");
	bool gap = lost || str_eq(rows_get(q, 0, "gap"), STR("t"));

	must(data.n > 2 && data.p[data.n - 1] == '}');
	buf_fmt(b, "{\"id\":\"%.*s\",\"type\":\"stream.snapshot\",\"timestamp\":\"%.*s\"",
	    STR_ARG(uuid_str(r->arena, id)), STR_ARG(clock_rfc3339(r->arena, clock_unix_ms())));
	buf_fmt(b, ",\"organization_id\":\"%.*s\",\"sequence\":%.*s,\"data\":",
	    STR_ARG(uuid_str(r->arena, org)), STR_ARG(rows_get(q, 0, "sequence")));
	buf_str(b, (struct str){data.p, data.n - 1});
	buf_str(b, STR(",\"missed\":"));
	buf_str(b, rows_get(q, 0, "missed"));
	buf_str(b, gap ? STR(",\"gap\":true}}") : STR(",\"gap\":false}}"));
}

static bool
post_snapshot(struct req *r, struct uuid id, struct uuid org, const struct query *q, bool lost)
{
	struct str channel = str_fmt(r->arena, "snap.%.*s", STR_ARG(uuid_str(r->arena, id)));
	struct buf b;
	bool good;

	buf_init(&b, SNAPSHOT_MOST);
	write_snapshot(&b, r, id, org, q, lost);
	good = !b.overflow && publish_post(r->w->snapshots, channel, buf_view(&b));
	buf_fini(&b);
	if (!good)
		log_warn("a stream's first message cannot be published", LOG_S("request_id", r->id),
		    LOG_Z("why", publish_reason(r->w->snapshots)));
	return good;
}

/* --- the way to nginx ------------------------------------------------------------------------- */

/* From this second on, for each channel: nchan's way to say so, "1775127604:[-],-,-". */
static struct str
message_id(struct arena *a, int64_t since_s, size_t channels)
{
	char tags[2 * CHANNELS_MOST + 4] = "[-]";
	size_t n = 3;

	must(channels > 0 && channels <= CHANNELS_MOST);
	for (size_t i = 1; i < channels; i++) {
		tags[n++] = ',';
		tags[n++] = '-';
	}
	return str_fmt(a, "%lld:%.*s", (long long)since_s, (int)n, tags);
}

static void
lead(struct req *r, struct uuid id, struct str channels, int64_t since_s)
{
	uint16_t random;
	int64_t until_s;
	size_t n = 3;

	random_bytes(&random, sizeof(random));
	until_s = clock_unix_s() + LIFE_S - SPREAD_S * random / 65536;
	for (size_t i = 0; i < channels.n; i++)
		n += channels.p[i] == ',';
	reply_inner(r, "text/event-stream",
	    str_fmt(r->arena, "/__events/snap.%.*s,until.%lld,%.*s?since=%.*s",
		STR_ARG(uuid_str(r->arena, id)), (long long)(until_s / PUBLISH_UNTIL_S),
		STR_ARG(channels), STR_ARG(message_id(r->arena, since_s, n))));
}

/* nginx' time; 0: it is away. */
static int64_t
nginx_time_s(struct req *r)
{
	return publish_post(r->w->snapshots, STR("snap.0"), STR("0"))
	    ? publish_time_s(r->w->snapshots)
	    : 0;
}

/* Opens it: reads what there is, posts it, and lets nginx go on from the second in which that was
 * read, by its own clock. What is published after the reading is of that second or a later one;
 * when the snapshot is of a later one, both are done once more, so that the snapshot comes first.
 */
static const struct err *
open_stream(struct req *r, const struct wish *w, const struct sign_claim *claim)
{
	const struct err *e;
	struct query *q;
	struct uuid id;
	int64_t since_s;

	if (!r->w->snapshots)
		return refuse(r, &err_streams_unavailable);
	for (int i = 0; i < TRIES; i++) {
		if (i) {
			query_again(r);
			if (claim)
				signed_enter_again(r, claim);
		}
		since_s = nginx_time_s(r);
		q = ask(r, w, MISSED);
		e = query_run(r);
		if (e)
			return e;
		id = uuid_v7();
		if (!since_s ||
		    !post_snapshot(r, id, claim ? claim->org : r->auth.org_id, q, w->lost))
			return &err_streams_unavailable;
		if (publish_time_s(r->w->snapshots) == since_s)
			break;
	}
	lead(r, id, rows_get(q, 0, "channels"), since_s);
	return NULL;
}

/* --- handlers --------------------------------------------------------------------------------- */

const struct err *
openEventStream(struct req *r)
{
	const struct openEventStream_query *in = r->query;
	struct wish w = {
	    .has_printer = FIELD_SET(in, OPENEVENTSTREAM_Q_PRINTER_ID),
	    .has_item = FIELD_SET(in, OPENEVENTSTREAM_Q_QUEUE_ITEM_ID),
	    .printer = in->printer_id,
	    .item = in->queue_item_id,
	    .after = FIELD_SET(in, OPENEVENTSTREAM_Q_AFTER) ? in->after : -1,
	    .since_s = -1,
	};
	const struct err *e = one_of(r, &w, STR("/query/queue_item_id"), &err_invalid_parameter);

	if (e)
		return e;
	read_last_id(r, &w);
	return open_stream(r, &w, NULL);
}

const struct err *
createEventStreamUrl(struct req *r)
{
	const struct createEventStreamUrl_body *in = r->in;
	struct wish w = {
	    .has_printer = FIELD_SET(in, CREATEEVENTSTREAMURL_B_PRINTER_ID),
	    .has_item = FIELD_SET(in, CREATEEVENTSTREAMURL_B_QUEUE_ITEM_ID),
	    .printer = in->printer_id,
	    .item = in->queue_item_id,
	    .after = -1,
	    .since_s = -1,
	};
	struct sign_claim c = {.purpose = SIGN_STREAM, .expires_s = clock_unix_s() + URL_S};
	const struct err *e = one_of(r, &w, STR("/queue_item_id"), &err_validation_failed);
	struct buf *b;

	if (e)
		return e;
	ask(r, &w, 0);
	e = query_run(r);
	if (e)
		return e;
	c.org = r->auth.org_id;
	c.key = r->auth.key_id;
	c.size = FIELD_SET(in, CREATEEVENTSTREAMURL_B_AFTER) ? in->after : -1;
	c.disposition = wish_text(r->arena, &w);
	b = reply_json(r, 200);
	buf_str(b, STR("{\"url\":"));
	buf_json_str(b, signed_url(r, &c));
	buf_str(b, STR(",\"expires_at\":"));
	buf_json_str(b, clock_rfc3339(r->arena, c.expires_s * 1000));
	buf_char(b, '}');
	return NULL;
}

const struct err *
getEventStream(struct req *r)
{
	const struct getEventStream_query *in = r->query;
	const struct signed_query sent = {.org = in->org,
	    .exp = in->exp,
	    .key = in->key,
	    .extra = in->of,
	    .after = in->after,
	    .sig = in->sig};
	struct sign_claim claim;
	struct wish w;
	const struct err *e = signed_enter(r, SIGN_STREAM, &sent, &claim);

	if (e)
		return e;
	w = wish_read(&claim);
	read_last_id(r, &w);
	return open_stream(r, &w, &claim);
}
