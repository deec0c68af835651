/* storage status, storage migrate. */
#include "storage.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "gen/ctl_sql.h"

enum { PAGE_MOST = 64 << 20, LOOK_MS = 500 };

#define NO_ID "00000000-0000-0000-0000-000000000000"

static void
close_store(void *store)
{
	store_close(store);
}

static void
free_s3(void *s3)
{
	s3_free(s3);
}

bool
storage_open(struct storage *s, struct ctl *c)
{
	const char *directory = getenv("SOLOPRINT_STORAGE");

	*s = (struct storage){.ctl = c};
	if (!directory || !*directory)
		return fail("SOLOPRINT_STORAGE is not set: the directory of the file store"), false;
	if (!s3_config_load(c->arena, &s->config))
		return fail("the settings of the store are not usable, see above"), false;
	s->store = store_open(directory);
	if (!s->store)
		return fail("%s cannot be used, see above", directory), false;
	arena_defer(c->arena, close_store, s->store);
	if (s->config.on) {
		s->s3 = s3_new(&s->config, 0);
		arena_defer(c->arena, free_s3, s->s3);
	}
	s->db = connect_owner(c);
	return s->db != NULL;
}

bool
storage_service_answers(const struct storage *s)
{
	if (!s->s3)
		return fail("no S3 service is configured: SOLOPRINT_S3_ENDPOINT is not set"), false;
	if (s3_probe(s->s3) == S3_DONE)
		return true;
	return fail("the S3 service cannot be used: %s", s3_reason(s->s3)), false;
}

struct str
storage_field(PGresult *r, int row, const char *column)
{
	int i = PQfnumber(r, column);

	return PQgetisnull(r, row, i) ? STR_NONE : str_from(PQgetvalue(r, row, i));
}

int64_t
storage_number(PGresult *r, int row, const char *column)
{
	int64_t v = 0;

	str_to_i64(storage_field(r, row, column), &v);
	return v;
}

PGresult *
storage_ask(
    struct ctl *c, PGconn *db, const char *org, const struct sql *sql, const char *const *values)
{
	PGresult *r;

	if (!org)
		return run_sql(c, db, sql, values);
	if (!run_sql(c, db, &SQL_ctl_begin, NULL) ||
	    !run_sql(c, db, &SQL_storage_enter, (const char *const[]){org}))
		return NULL;
	r = run_sql(c, db, sql, values);
	return r && run_sql(c, db, &SQL_ctl_commit, NULL) ? r : NULL;
}

bool
storage_each_org(
    struct storage *s, bool (*fn)(void *ctx, const char *org, const char *slug), void *ctx)
{
	PGresult *r = run_sql(s->ctl, s->db, &SQL_storage_orgs, NULL);
	bool go = r != NULL;

	for (int i = 0; go && i < PQntuples(r); i++)
		go = fn(ctx, PQgetvalue(r, i, 0), PQgetvalue(r, i, 1));
	return go;
}

struct ctl
storage_page(const struct ctl *c)
{
	struct ctl page = *c;

	page.arena = arena_new(PAGE_MOST);
	return page;
}

/* --- status
 * --------------------------------------------------------------------------------------- */

struct totals {
	struct storage *s;
	int64_t blobs[2], bytes[2]; /* local, s3 */
};

static bool
add_org(void *ctx, const char *org, const char *slug)
{
	struct totals *t = ctx;
	struct ctl page = storage_page(t->s->ctl);
	PGresult *r = storage_ask(&page, t->s->db, org, &SQL_storage_totals, NULL);

	(void)slug;
	for (int i = 0; r && i < PQntuples(r); i++) {
		int at = str_eq(storage_field(r, i, "location"), STR("s3"));

		t->blobs[at] += storage_number(r, i, "blobs");
		t->bytes[at] += storage_number(r, i, "bytes");
	}
	arena_free(page.arena);
	return r != NULL;
}

static const char *
service_state(const struct storage *s)
{
	if (!s->s3)
		return "not configured";
	return s3_probe(s->s3) == S3_DONE ? "answers" : s3_reason(s->s3);
}

static void
print_status(const struct totals *t, PGresult *jobs)
{
	const struct storage *s = t->s;
	const char *place = s->config.preferred ? "s3" : "local";
	long long moves = storage_number(jobs, 0, "moves");
	long long removals = storage_number(jobs, 0, "removals");
	long long left = store_free_bytes(s->store);
	struct buf state;

	if (!s->ctl->json) {
		printf(
		    "new content    %s\nlocal          %lld objects, %lld bytes; %lld bytes free\n"
		    "s3             %lld objects, %lld bytes; %s\nwaiting        %lld moves, %lld removals\n",
		    place, (long long)t->blobs[0], (long long)t->bytes[0], left,
		    (long long)t->blobs[1], (long long)t->bytes[1], service_state(s), moves,
		    removals);
		return;
	}
	buf_init(&state, 4096);
	buf_json_str(&state, str_from(service_state(s)));
	printf(
	    "{\"new_content\":\"%s\",\"local\":{\"objects\":%lld,\"bytes\":%lld,\"free_bytes\":%lld},"
	    "\"s3\":{\"objects\":%lld,\"bytes\":%lld,\"service\":%.*s},"
	    "\"waiting\":{\"moves\":%lld,\"removals\":%lld}}\n",
	    place, (long long)t->blobs[0], (long long)t->bytes[0], left, (long long)t->blobs[1],
	    (long long)t->bytes[1], STR_ARG(buf_view(&state)), moves, removals);
	buf_fini(&state);
}

int
cmd_storage_status(struct ctl *c)
{
	struct storage s;
	struct totals t = {.s = &s};
	PGresult *jobs;

	if (!opts_parse(c, NULL, 0, NULL, 0))
		return 2;
	if (!storage_open(&s, c) || !storage_each_org(&s, add_org, &t))
		return 1;
	jobs = run_sql(c, s.db, &SQL_storage_jobs, NULL);
	if (!jobs)
		return 1;
	print_status(&t, jobs);
	return 0;
}

/* --- migrate
 * -------------------------------------------------------------------------------------- */

struct migration {
	struct storage *s;
	const char *to;
	int64_t queued;
};

/* The next page of an organisation's blobs; *after is moved on, "" at the end. */
static bool
queue_page(struct migration *m, const char *org, char after[UUID_TEXT_LEN + 1])
{
	struct ctl page = storage_page(m->s->ctl);
	PGresult *r = storage_ask(
	    &page, m->s->db, org, &SQL_storage_queue, (const char *const[]){m->to, after});

	if (r) {
		m->queued += storage_number(r, 0, "queued");
		snprintf(after, UUID_TEXT_LEN + 1, "%.*s", STR_ARG(storage_field(r, 0, "last")));
	}
	arena_free(page.arena);
	return r != NULL;
}

static bool
queue_org(void *ctx, const char *org, const char *slug)
{
	struct migration *m = ctx;
	char after[UUID_TEXT_LEN + 1] = NO_ID;
	bool good = storage_ask(m->s->ctl, m->s->db, org, &SQL_storage_unqueue,
			(const char *const[]){m->to}) != NULL;

	(void)slug;
	while (good && *after)
		good = queue_page(m, org, after);
	return good;
}

struct left {
	int64_t elsewhere, moves, later; /* later: moves that wait for another try */
};

static bool
count_left(const struct migration *m, struct left *out)
{
	struct ctl page = storage_page(m->s->ctl);
	PGresult *r = run_sql(&page, m->s->db, &SQL_storage_left, (const char *const[]){m->to});

	if (r)
		*out = (struct left){storage_number(r, 0, "elsewhere"),
		    storage_number(r, 0, "moves"), storage_number(r, 0, "later")};
	arena_free(page.arena);
	return r != NULL;
}

static void
tell_left(const struct left *l)
{
	note("%lld objects are still to be moved", (long long)l->elsewhere);
	if (l->later > 0)
		note(
		    "  %lld wait for another try: the courier's log says why", (long long)l->later);
}

/* Until every object is where it shall be, or nothing more comes of it. */
static int
wait_for_moves(const struct migration *m)
{
	struct left now, before = {-1, -1, -1};

	for (;;) {
		if (!count_left(m, &now))
			return 1;
		if (now.elsewhere == 0 || now.moves == 0)
			break;
		if (now.elsewhere != before.elsewhere || now.later != before.later)
			tell_left(&now);
		before = now;
		poll(NULL, 0, LOOK_MS);
	}
	if (now.elsewhere > 0)
		return fail(
		    "%lld objects were not moved: the courier's log says why; run this again",
		    (long long)now.elsewhere);
	note("every object is at %s", m->to);
	return 0;
}

int
cmd_storage_migrate(struct ctl *c)
{
	struct storage s;
	struct migration m = {.s = &s};
	bool no_wait = false;
	const struct opt opts[] = {
	    {"to", OPT_STR, &m.to, true}, {"no-wait", OPT_FLAG, &no_wait, false}};

	if (!opts_parse(c, opts, 2, NULL, 0))
		return 2;
	if (!str_eq(str_from(m.to), STR("s3")) && !str_eq(str_from(m.to), STR("local")))
		return fail("--to is s3 or local"), 2;
	if (!storage_open(&s, c) || !storage_service_answers(&s))
		return 1;
	if (s.config.preferred != str_eq(str_from(m.to), STR("s3")))
		note("new content still goes elsewhere: set SOLOPRINT_STORE=%s", m.to);
	if (!storage_each_org(&s, queue_org, &m))
		return 1;
	note("%lld moves queued; they go on when this is interrupted", (long long)m.queued);
	return no_wait ? 0 : wait_for_moves(&m);
}
