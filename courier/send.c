#include "courier/send.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "auth/seal.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "courier/courier.h"
#include "courier/transfers.h"
#include "gen/courier_sql.h"
#include "gen/errors.h"

/* Those that have taken longer than SLOW_MS do not count among the PARALLEL: slow receivers wait
 * beside the others, not before them. */
enum {
	PARALLEL = 500,
	SLOW_MS = 1000,
	TOTAL_MOST = 2000,
	FDS_OTHER = 64,  /* descriptors that are no transfers' */
	FDS_EACH = 2,    /* looking up a name takes two */
	IDLE_MS = 25,    /* between claims when there is little to do */
	BETWEEN_MS = 10, /* between round trips, so that results gather */
	AWAY_MS = 200,   /* while the database is away */
	BATCH_BYTES = 1 << 20,
	BATCH_MOST = 500,
	ARENA_MOST = 32 << 20,
};
/* Longer than any attempt and the wait for its result to be written. */
static const struct str lease = STR_INIT("30 s");

struct sender {
	struct courier *c;
	struct send_tools tools;
	struct transfers *transfers;
	struct delivery *active;               /* under way, the youngest first */
	struct result *results, **last_result; /* that wait to be written, the oldest first */
	size_t n_active, total_most, batch_most;
	int64_t claim_at_ms, not_before_ms;
};

/* The end of an attempt; in its arena. */
struct result {
	struct delivery *d;
	struct str text;
	struct result *next;
};

/* --- attempts --------------------------------------------------------------------------------- */

static void
unlink_delivery(struct sender *s, struct delivery *d)
{
	*d->link = d->next;
	if (d->next)
		d->next->link = d->link;
	s->n_active--;
}

static void
add_result(struct sender *s, struct delivery *d, const struct send_end *end)
{
	struct result *r = ARENA_NEW(d->arena, struct result);

	*r = (struct result){.d = d, .text = send_result(d, end)};
	send_release(d);
	*s->last_result = r;
	s->last_result = &r->next;
}

static void
on_done(void *ctx, CURL *easy, CURLcode code)
{
	struct delivery *d = ctx;
	struct sender *s = d->owner;
	struct send_end end;

	(void)easy;
	send_ended(d, code, &end);
	unlink_delivery(s, d);
	add_result(s, d, &end);
}

static void
begin(struct sender *s, struct delivery *d)
{
	struct send_end end;

	if (!send_prepare(&s->tools, d, &end)) {
		add_result(s, d, &end);
		return;
	}
	d->next = s->active;
	d->link = &s->active;
	if (d->next)
		d->next->link = &d->next;
	s->active = d;
	s->n_active++;
	transfers_add(s->transfers, d->easy, d);
}

/* How many more may be begun. */
static size_t
room(const struct sender *s)
{
	int64_t since_ms = clock_mono_ms() - SLOW_MS;
	size_t young = 0;

	for (const struct delivery *d = s->active; d && d->began_ms >= since_ms; d = d->next)
		young++;
	if (young >= PARALLEL || s->n_active >= s->total_most)
		return 0;
	young = PARALLEL - young;
	return young < s->total_most - s->n_active ? young : s->total_most - s->n_active;
}

/* --- the database ----------------------------------------------------------------------------- */

static struct str
copy(struct arena *a, const struct query *q, int row, const char *column)
{
	struct str s = rows_get(q, row, column);

	return s.p ? str_dup(a, s) : STR_NONE;
}

/* Of "\x…". */
static struct str
copy_bytes(struct arena *a, const struct query *q, int row, const char *column)
{
	struct str hex = rows_get(q, row, column);
	uint8_t *bytes;

	if (hex.n <= 2)
		return STR_NONE;
	hex = (struct str){hex.p + 2, hex.n - 2};
	bytes = arena_alloc(a, hex.n / 2);
	must(str_unhex(hex, bytes, hex.n / 2));
	return (struct str){(const char *)bytes, hex.n / 2};
}

static struct delivery *
delivery_from(struct sender *s, const struct query *q, int row)
{
	struct arena *a = arena_new(ARENA_MOST);
	struct delivery *d = ARENA_NEW(a, struct delivery);

	d->arena = a;
	d->owner = s;
	d->message = str_eq(rows_get(q, row, "kind"), STR("message"));
	d->id = rows_uuid(q, row, "id");
	d->org_id = rows_uuid(q, row, "org_id");
	d->endpoint_id = rows_uuid(q, row, "endpoint_id");
	d->event_id = rows_uuid(q, row, "event_id");
	d->fencing = rows_i64(q, row, "fencing");
	d->channel = copy(a, q, row, "channel");
	d->url = copy(a, q, row, "url");
	d->body = copy(a, q, row, "body");
	d->secrets = copy(a, q, row, "secrets");
	d->recipients = copy(a, q, row, "recipients");
	d->content = copy(a, q, row, "content");
	d->headers_sealed = copy_bytes(a, q, row, "headers_sealed");
	d->target_sealed = copy_bytes(a, q, row, "target_sealed");
	return d;
}

static struct query *
claim_query(struct sender *s, size_t most)
{
	struct query *q = pg_query(s->c->scratch, &SQL_deliveries_claim);

	bind_uuid(q, s->c->id);
	bind_str(q, lease);
	bind_i64(q, (int64_t)most);
	return q;
}

/* The oldest results, as many as shall be written at once; *n: how many. */
static struct query *
finish_query(struct sender *s, size_t *n)
{
	struct query *q = pg_query(s->c->scratch, &SQL_deliveries_finish);
	struct buf b;

	buf_init(&b, 2 * BATCH_BYTES);
	*n = 0;
	for (struct result *r = s->results; r && *n < s->batch_most && b.n < BATCH_BYTES;
	     r = r->next) {
		buf_char(&b, *n ? ',' : '[');
		buf_str(&b, r->text);
		++*n;
	}
	buf_char(&b, ']');
	bind_uuid(q, s->c->id);
	bind_str(q, str_dup(s->c->scratch, buf_view(&b)));
	buf_fini(&b);
	return q;
}

static void
forget_results(struct sender *s, size_t n)
{
	while (n-- > 0 && s->results) {
		struct result *r = s->results;

		s->results = r->next;
		if (!s->results)
			s->last_result = &s->results;
		arena_free(r->d->arena);
	}
}

/* Results that the database refuses are written one by one until the one is found; it is given up,
 * and the attempt made once more after its lease. */
static void
refused(struct sender *s, size_t n, const struct err *e)
{
	char id[UUID_TEXT_LEN + 1];

	if (!n || e == &err_database_unavailable)
		return;
	if (n > 1) {
		s->batch_most = 1;
		return;
	}
	uuid_text(s->results->d->id, id);
	log_error("a delivery's result cannot be written", LOG_Z("delivery", id));
	forget_results(s, 1);
}

static const struct err *
run(struct sender *s, struct query *list)
{
	struct courier *c = s->c;
	struct pg_failure f;
	const struct err *e = pg_ready(c->pg);

	return e ? e : pg_run(c->pg, list->arena, list, PG_IMPLICIT, &f);
}

static void
begin_claimed(struct sender *s, const struct query *q, size_t asked)
{
	int n = rows_count(q);

	for (int i = 0; i < n; i++)
		begin(s, delivery_from(s, q, i));
	s->claim_at_ms = clock_mono_ms() + ((size_t)n == asked ? 0 : IDLE_MS);
}

/* One round trip: what has ended is written, and what there is room for is claimed. */
static void
exchange(struct sender *s, bool claims)
{
	size_t want = claims ? room(s) : 0, n = 0;
	struct query *finish = NULL, *claim = NULL;
	const struct err *e;

	arena_reset(s->c->scratch);
	if (!s->results)
		s->batch_most = BATCH_MOST;
	if (s->results)
		finish = finish_query(s, &n);
	if (want > 0 && s->batch_most == BATCH_MOST)
		claim = claim_query(s, want);
	if (finish)
		finish->next = claim;
	if (!finish && !claim)
		return;
	e = run(s, finish ? finish : claim);
	s->not_before_ms = clock_mono_ms() + (e ? AWAY_MS : BETWEEN_MS);
	if (e) {
		refused(s, n, e);
		return;
	}
	forget_results(s, n);
	if (claim)
		begin_claimed(s, claim, want);
}

/* --- the loop --------------------------------------------------------------------------------- */

/* When the next round trip is due. */
static int64_t
due_ms(const struct sender *s)
{
	int64_t at_ms = s->results ? 0 : s->claim_at_ms;

	return at_ms > s->not_before_ms ? at_ms : s->not_before_ms;
}

static void
turn(struct sender *s, bool claims, int stop_fd)
{
	int64_t now = clock_mono_ms();

	if ((claims || s->results) && now >= due_ms(s)) {
		exchange(s, claims);
		now = clock_mono_ms();
		if (s->claim_at_ms <= now && room(s) == 0)
			s->claim_at_ms = now + IDLE_MS;
	}
	transfers_run(s->transfers, stop_fd, due_ms(s) > now ? due_ms(s) - now : 0);
}

/* As if they had never been claimed. */
static void
give_back(struct sender *s)
{
	struct uuid *ids = calloc(s->n_active + 1, sizeof(*ids));
	size_t n = 0;
	struct query *q;

	must(ids != NULL);
	while (s->active) {
		struct delivery *d = s->active;

		ids[n++] = d->id;
		transfers_drop(s->transfers, d->easy);
		unlink_delivery(s, d);
		send_release(d);
		arena_free(d->arena);
	}
	arena_reset(s->c->scratch);
	q = pg_query(s->c->scratch, &SQL_deliveries_release);
	bind_uuid(q, s->c->id);
	bind_uuid_array(q, ids, n);
	if (n > 0 && run(s, q) == NULL)
		log_info("deliveries given back", LOG_I("n", n));
	free(ids);
}

/* What is under way may end, within most of the time that there is. */
static void
drain(struct sender *s)
{
	int64_t until_ms = clock_mono_ms() + s->c->cfg->drain_ms * 3 / 4;

	while ((s->active || s->results) && clock_mono_ms() < until_ms) {
		if (s->results)
			turn(s, false, -1);
		else
			transfers_run(s->transfers, -1, BETWEEN_MS);
	}
	give_back(s);
	if (s->results)
		exchange(s, false);
	while (s->results)
		forget_results(s, 1);
}

/* --- setting up ------------------------------------------------------------------------------- */

/* As many descriptors as this process may have; how many transfers that is. */
static size_t
transfers_most(void)
{
	struct rlimit l;
	rlim_t most;

	must(getrlimit(RLIMIT_NOFILE, &l) == 0);
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) != 0)
		must(getrlimit(RLIMIT_NOFILE, &l) == 0);
	most = l.rlim_cur > FDS_OTHER + FDS_EACH ? (l.rlim_cur - FDS_OTHER) / FDS_EACH : 1;
	return most < TOTAL_MOST ? (size_t)most : TOTAL_MOST;
}

void
send_work(struct courier *c)
{
	struct fetch *fetch = fetch_new(&c->cfg->fetch); /* says whether the rules can be used */
	struct sender s = {
	    .c = c,
	    .tools = {.rules = fetch ? &c->cfg->fetch : NULL,
		.key = c->key,
		.mail = {c->cfg->smtp_url, c->cfg->smtp_ca, c->cfg->mail_from}},
	    .transfers = transfers_new(on_done),
	    .total_most = transfers_most(),
	    .batch_most = BATCH_MOST,
	};

	s.last_result = &s.results;
	if (!mail_config_ok(&s.tools.mail))
		s.tools.mail.url = "";
	while (courier_beat(c))
		turn(&s, true, proc_stop_fd());
	drain(&s);
	transfers_free(s.transfers);
	fetch_free(fetch);
}
