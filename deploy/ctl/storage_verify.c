/* storage verify: compares what the rows say with what is stored, while the service runs. First the
 * objects are listed, then the rows read; whatever does not fit is looked at again, because it may
 * have come, gone or moved meanwhile. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "gen/ctl_sql.h"
#include "storage.h"
#include "store/digest.h"

enum {
	BATCH = 500,
	ON_ITS_WAY_S = 3600, /* an object without a row is not an orphan before */
};

static const char *const places[] = {"local", "s3"};
enum place { LOCAL, S3 };

struct object {
	struct uuid blob;
	enum place place;
	bool claimed;
	int64_t size, modified_s;
};

struct verify {
	struct storage s;
	bool digests, repair;
	struct object *objects;
	size_t n, size;
	int64_t now_s, strangers[2];
	const char *org, *slug; /* whose rows are read */
	int64_t checked, bytes, waiting, problems, repaired;
};

/* --- the objects
 * ---------------------------------------------------------------------------------- */

static void
add_object(struct verify *v, struct object o)
{
	if (v->n == v->size) {
		v->size = v->size ? 2 * v->size : 1024;
		v->objects = reallocarray(v->objects, v->size, sizeof(*v->objects));
		must(v->objects != NULL);
	}
	v->objects[v->n++] = o;
}

static bool
see_local(void *ctx, const struct store_entry *e)
{
	struct verify *v = ctx;

	if (uuid_is_zero(e->blob))
		v->strangers[LOCAL]++;
	else
		add_object(v, (struct object){e->blob, LOCAL, false, e->size, e->modified_s});
	return true;
}

static bool
see_service(void *ctx, const struct s3_entry *e)
{
	struct verify *v = ctx;
	struct uuid u;
	bool named = e->key.n > UUID_TEXT_LEN &&
	    uuid_parse((struct str){e->key.p + e->key.n - UUID_TEXT_LEN, UUID_TEXT_LEN}, &u);
	struct arena *a = arena_new(1 << 14);

	if (named && str_eq(s3_blob_key(a, &v->s.config, u), e->key))
		add_object(v, (struct object){u, S3, false, e->size, e->modified_s});
	else
		v->strangers[S3]++;
	arena_free(a);
	return true;
}

static int
by_id(const void *x, const void *y)
{
	const struct object *a = x, *b = y;
	int c = memcmp(a->blob.b, b->blob.b, sizeof(a->blob.b));

	return c ? c : (int)a->place - (int)b->place;
}

static bool
list_objects(struct verify *v)
{
	struct storage *s = &v->s;
	struct str prefix = str_fmt(s->ctl->arena, "%.*sblobs/", STR_ARG(s->config.prefix));

	if (!store_each(s->store, 0, see_local, v))
		return fail("the file store cannot be read"), false;
	if (s->s3 && s3_list(s->s3, prefix, STR_NONE, see_service, v) != S3_DONE)
		return fail("the S3 service cannot be read: %s", s3_reason(s->s3)), false;
	if (v->n > 0)
		qsort(v->objects, v->n, sizeof(*v->objects), by_id);
	return true;
}

static struct object *
find(struct verify *v, struct uuid blob, enum place place)
{
	const struct object key = {.blob = blob, .place = place};

	return v->n ? bsearch(&key, v->objects, v->n, sizeof(key), by_id) : NULL;
}

/* --- the report
 * ----------------------------------------------------------------------------------- */

static void
report(struct verify *v, const char *problem, struct uuid blob, enum place place, int64_t size,
    bool repaired)
{
	char id[UUID_TEXT_LEN + 1];
	struct buf b;

	uuid_text(blob, id);
	buf_init(&b, 4096);
	buf_fmt(&b,
	    "%s\n{\"problem\":\"%s\",\"blob_id\":\"%s\",\"location\":\"%s\",\"size_bytes\":%lld,\"org\":",
	    v->problems ? "," : "", problem, id, places[place], (long long)size);
	if (v->slug)
		buf_json_str(&b, str_from(v->slug));
	else
		buf_str(&b, STR("null"));
	buf_fmt(&b, ",\"repaired\":%s}", repaired ? "true" : "false");
	v->problems++;
	v->repaired += repaired;
	if (v->s.ctl->json)
		printf("%.*s", STR_ARG(buf_view(&b)));
	else
		printf("%-8s %s  %-5s  %12lld bytes  %s%s\n", problem, id, places[place],
		    (long long)size, v->slug ? v->slug : "-", repaired ? "  repaired" : "");
	buf_fini(&b);
}

/* --- the rows
 * ------------------------------------------------------------------------------------- */

struct row {
	struct uuid blob;
	const char *id;
	enum place place;
	int64_t size;
	uint8_t sha256[DIGEST_LEN];
};

enum finding { FINE, MISSING, CORRUPT, UNKNOWN };

static enum finding
check_local(struct verify *v, const struct row *r, bool digest)
{
	uint8_t sha256[DIGEST_LEN];
	int64_t size = 0;
	int fd = store_blob(v->s.store, r->blob);
	struct stat st;
	bool good;

	if (fd < 0)
		return MISSING;
	good = fstat(fd, &st) == 0 && st.st_size == r->size;
	if (good && digest)
		good = digest_file(fd, sha256, &size, NULL, NULL) &&
		    memcmp(sha256, r->sha256, DIGEST_LEN) == 0;
	close(fd);
	return good ? FINE : CORRUPT;
}

static enum finding
check_service(struct verify *v, const struct row *r, bool digest)
{
	struct s3_object o = {.size = 0};
	struct arena *a = arena_new(1 << 14);
	struct str key = s3_blob_key(a, &v->s.config, r->blob);
	enum s3_end end = s3_head(v->s.s3, key, &o);

	if (end == S3_DONE && o.size != r->size)
		end = S3_CORRUPT;
	if (end == S3_DONE && digest)
		end = s3_verify(v->s.s3, key, r->size, r->sha256, NULL, NULL);
	arena_free(a);
	return end == S3_DONE   ? FINE
	    : end == S3_MISSING ? MISSING
	    : end == S3_CORRUPT ? CORRUPT
				: UNKNOWN;
}

static enum finding
check_at(struct verify *v, const struct row *r, enum place place, bool digest)
{
	if (place == LOCAL)
		return check_local(v, r, digest);
	return v->s.s3 ? check_service(v, r, digest) : MISSING;
}

/* By the list when that is enough. */
static enum finding
check_row(struct verify *v, const struct row *r)
{
	struct object *o = find(v, r->blob, r->place);

	if (o)
		o->claimed = true;
	if (o && o->size == r->size && !v->digests)
		return FINE;
	return check_at(v, r, r->place, v->digests);
}

/* Where the row says by now that the object is; false when there is no row any more. */
static bool
look_again(struct verify *v, struct ctl *page, struct row *r)
{
	PGresult *now = run_sql(page, v->s.db, &SQL_storage_where, (const char *const[]){r->id});

	if (!now || PQntuples(now) == 0)
		return false;
	r->place = str_eq(storage_field(now, 0, "location"), STR("s3")) ? S3 : LOCAL;
	return true;
}

/* A good copy at the other place becomes the blob's object. */
static bool
use_other(struct verify *v, struct ctl *page, const struct row *r)
{
	enum place other = r->place == LOCAL ? S3 : LOCAL;
	struct object *o;

	if (!v->repair || check_at(v, r, other, true) != FINE ||
	    !storage_ask(page, v->s.db, v->org, &SQL_storage_relocate,
		(const char *const[]){r->id, places[other]}))
		return false;
	o = find(v, r->blob, other);
	if (o)
		o->claimed = true;
	return true;
}

/* False when the check itself cannot go on. */
static bool
judge(struct verify *v, struct ctl *page, struct row *r)
{
	enum finding f = check_row(v, r);

	if (f != FINE) {
		if (!look_again(v, page, r))
			return true;
		f = check_at(v, r, r->place, v->digests);
	}
	v->checked++;
	v->bytes += r->size;
	if (f == UNKNOWN)
		return fail("the S3 service cannot be read: %s", s3_reason(v->s.s3)), false;
	if (f != FINE)
		report(v, f == MISSING ? "missing" : "corrupt", r->blob, r->place, r->size,
		    use_other(v, page, r));
	return true;
}

static void
row_from(PGresult *rows, int i, struct row *r)
{
	r->id = storage_field(rows, i, "id").p;
	r->size = storage_number(rows, i, "size_bytes");
	r->place = str_eq(storage_field(rows, i, "location"), STR("s3")) ? S3 : LOCAL;
	must(uuid_parse(str_from(r->id), &r->blob) &&
	    str_unhex(storage_field(rows, i, "sha256"), r->sha256, DIGEST_LEN));
}

/* The organisation's next page; *after is moved on, zero at the end. */
static bool
check_page(struct verify *v, struct uuid *after)
{
	struct ctl page = storage_page(v->s.ctl);
	const char *from = uuid_str(page.arena, *after).p;
	PGresult *rows = storage_ask(
	    &page, v->s.db, v->org, &SQL_storage_blobs, (const char *const[]){from});
	bool go = rows != NULL;

	*after = (struct uuid){{0}};
	for (int i = 0; go && i < PQntuples(rows); i++) {
		struct row r;

		row_from(rows, i, &r);
		*after = r.blob;
		go = judge(v, &page, &r);
	}
	arena_free(page.arena);
	return go;
}

static bool
check_org(void *ctx, const char *org, const char *slug)
{
	struct verify *v = ctx;
	struct uuid after = {{0}};
	bool go;

	v->org = org;
	v->slug = slug;
	do
		go = check_page(v, &after);
	while (go && !uuid_is_zero(after));
	v->org = v->slug = NULL;
	return go;
}

/* --- objects without a row
 * ------------------------------------------------------------------------ */

static bool
remove_orphan(struct verify *v, struct ctl *page, const struct object *o)
{
	struct str key;

	if (o->place == LOCAL)
		return store_drop(v->s.store, o->blob);
	key = s3_blob_key(page->arena, &v->s.config, o->blob);
	return s3_delete(v->s.s3, key) == S3_DONE;
}

/* A copy of what is elsewhere: a job removes it, which looks again. */
static bool
remove_copy(struct verify *v, struct ctl *page, const struct object *o, const char *org)
{
	return storage_ask(page, v->s.db, org, &SQL_storage_remove,
		   (const char *const[]){uuid_str(page->arena, o->blob).p, places[o->place]}) !=
	    NULL;
}

static int
row_of(PGresult *known, struct ctl *page, struct uuid blob)
{
	struct str id = uuid_str(page->arena, blob);

	for (int i = 0; i < PQntuples(known); i++)
		if (str_eq(storage_field(known, i, "blob_id"), id))
			return i;
	return -1;
}

static void
judge_orphan(struct verify *v, struct ctl *page, PGresult *known, const struct object *o)
{
	int i = row_of(known, page, o->blob);

	if (i < 0) {
		report(v, "orphaned", o->blob, o->place, o->size,
		    v->repair && remove_orphan(v, page, o));
	} else if (str_eq(storage_field(known, i, "location"), str_from(places[o->place]))) {
		return; /* its row has come meanwhile */
	} else if (!str_eq(storage_field(known, i, "long_since"), STR("t"))) {
		v->waiting++;
	} else {
		report(v, "orphaned", o->blob, o->place, o->size,
		    v->repair && remove_copy(v, page, o, storage_field(known, i, "org_id").p));
	}
}

static bool
check_batch(struct verify *v, const struct object *const *batch, size_t n)
{
	struct ctl page = storage_page(v->s.ctl);
	PGresult *known;
	struct buf ids;

	buf_init(&ids, 1 << 16);
	for (size_t i = 0; i < n; i++)
		buf_fmt(&ids, "%s%s", i ? "," : "{", uuid_str(page.arena, batch[i]->blob).p);
	buf_str(&ids, STR("}"));
	known = run_sql(&page, v->s.db, &SQL_storage_known,
	    (const char *const[]){str_z(page.arena, buf_view(&ids))});
	buf_fini(&ids);
	for (size_t i = 0; known && i < n; i++)
		judge_orphan(v, &page, known, batch[i]);
	arena_free(page.arena);
	return known != NULL;
}

static bool
check_orphans(struct verify *v)
{
	const struct object *batch[BATCH];
	size_t n = 0;
	bool go = true;

	for (size_t i = 0; go && i < v->n; i++) {
		const struct object *o = &v->objects[i];

		if (!o->claimed && o->modified_s < v->now_s - ON_ITS_WAY_S)
			batch[n++] = o;
		if (n == BATCH) {
			go = check_batch(v, batch, n);
			n = 0;
		}
	}
	return go && (n == 0 || check_batch(v, batch, n));
}

/* --- the command
 * ---------------------------------------------------------------------------------- */

static bool
check_all(struct verify *v)
{
	PGresult *clock = run_sql(v->s.ctl, v->s.db, &SQL_storage_clock, NULL);

	if (!clock || !list_objects(v))
		return false;
	v->now_s = storage_number(clock, 0, "now_s");
	return storage_each_org(&v->s, check_org, v) && check_orphans(v);
}

static void
conclude(const struct verify *v)
{
	if (v->s.ctl->json) {
		printf(
		    "],\"checked\":%lld,\"bytes\":%lld,\"objects\":%zu,\"foreign\":{\"local\":%lld,\"s3\":%lld},"
		    "\"waiting_for_removal\":%lld,\"wrong\":%lld,\"repaired\":%lld}\n",
		    (long long)v->checked, (long long)v->bytes, v->n,
		    (long long)v->strangers[LOCAL], (long long)v->strangers[S3],
		    (long long)v->waiting, (long long)v->problems, (long long)v->repaired);
		return;
	}
	for (int i = LOCAL; i <= S3; i++)
		if (v->strangers[i])
			printf("%lld files at %s are no objects; they are left alone\n",
			    (long long)v->strangers[i], places[i]);
	printf("%lld of %lld bytes checked%s, %lld wrong, %lld repaired\n", (long long)v->checked,
	    (long long)v->bytes, v->digests ? " with their digests" : "", (long long)v->problems,
	    (long long)v->repaired);
}

int
cmd_storage_verify(struct ctl *c)
{
	struct verify v = {.repair = false};
	const struct opt opts[] = {
	    {"digests", OPT_FLAG, &v.digests, false}, {"repair", OPT_FLAG, &v.repair, false}};
	bool done;

	if (!opts_parse(c, opts, 2, NULL, 0))
		return 2;
	if (!storage_open(&v.s, c) || (v.s.s3 && !storage_service_answers(&v.s)))
		return 1;
	if (c->json)
		printf("{\"problems\":[");
	done = check_all(&v);
	if (done)
		conclude(&v);
	free(v.objects);
	return !done || v.problems > v.repaired;
}
