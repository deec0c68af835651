#include "courier/sweep.h"

#include <string.h>

#include "base/log.h"
#include "courier/courier.h"
#include "gen/courier_sql.h"
#include "store/s3.h"
#include "store/store.h"

enum {
	BATCH = 500,
	BLOB_AGE_S = 3600,        /* longest time from an object's writing to its row */
	STAGED_AGE_S = 48 * 3600, /* longer than any upload is open */
};

struct sweep {
	struct courier *courier;
	struct s3 *remover; /* the lister is at work meanwhile */
	const char *location;
	int64_t blobs_before_s, staged_before_s;
	struct uuid ids[BATCH];
	size_t n;
	int first;    /* shard at which this run began */
	bool wrapped; /* past the last shard, from 0 to it */
	int64_t objects, uploads;
};

static struct query *
ask(struct sweep *s, const struct sql *sql)
{
	arena_reset(s->courier->scratch);
	return pg_query(s->courier->scratch, sql);
}

static struct str
blob_key(struct sweep *s, struct uuid blob)
{
	return s3_blob_key(s->courier->scratch, s->courier->s3_config, blob);
}

static bool
remove_blob(struct sweep *s, struct uuid blob)
{
	if (!s->remover)
		return store_drop(s->courier->store, blob);
	return s3_delete(s->remover, blob_key(s, blob)) == S3_DONE;
}

/* Removes what nothing refers to of the objects collected so far. False: stop. */
static bool
flush(struct sweep *s)
{
	struct query *q;

	if (s->n == 0)
		return courier_beat(s->courier);
	q = ask(s, &SQL_sweep_blobs);
	bind_uuid_array(q, s->ids, s->n);
	bind_str(q, str_from(s->location));
	s->n = 0;
	if (!courier_ask(s->courier, q))
		return false;
	for (int i = 0; i < rows_count(q); i++)
		s->ids[s->n++] = rows_uuid(q, i, "id");
	for (size_t i = 0; i < s->n; i++)
		s->objects += remove_blob(s, s->ids[i]);
	s->n = 0;
	return courier_beat(s->courier);
}

static bool
collect(struct sweep *s, struct uuid blob, int64_t modified_s)
{
	if (modified_s >= s->blobs_before_s)
		return courier_beat(s->courier);
	s->ids[s->n++] = blob;
	return s->n < BATCH || flush(s);
}

/* True while an upload is open, and when that cannot be known. */
static bool
is_open(void *ctx, struct uuid file)
{
	struct query *q = ask(ctx, &SQL_sweep_upload);
	const struct sweep *s = ctx;

	bind_uuid(q, file);
	return !courier_ask(s->courier, q) || !str_eq(rows_get(q, 0, "open"), STR("f")) ||
	    !courier_beat(s->courier);
}

/* --- the directory
 * -------------------------------------------------------------------------------- */

static bool
see_local(void *ctx, const struct store_entry *e)
{
	struct sweep *s = ctx;

	if (s->wrapped && e->shard >= s->first)
		return false;
	return uuid_is_zero(e->blob) || collect(s, e->blob, e->modified_s);
}

static void
sweep_local(struct sweep *s)
{
	struct store *store = s->courier->store;
	bool go = store_each(store, s->first, see_local, s) && flush(s);

	s->wrapped = true;
	if (go && s->first > 0) {
		(void)store_each(store, 0, see_local, s);
		(void)flush(s);
	}
	s->uploads += store_sweep_staging(store, s->staged_before_s, is_open, s);
}

/* --- the S3 service
 * ------------------------------------------------------------------------------- */

/* The id in "<prefix>blobs/c3/d4/<id>", zero when the key is not a blob's. */
static struct uuid
blob_of_key(struct sweep *s, struct str key)
{
	struct uuid u;
	struct str tail = key;

	if (key.n < UUID_TEXT_LEN)
		return (struct uuid){{0}};
	tail.p += key.n - UUID_TEXT_LEN;
	tail.n = UUID_TEXT_LEN;
	arena_reset(s->courier->scratch);
	return uuid_parse(tail, &u) && str_eq(blob_key(s, u), key) ? u : (struct uuid){{0}};
}

static bool
see_blob(void *ctx, const struct s3_entry *e)
{
	struct sweep *s = ctx;
	struct uuid blob = blob_of_key(s, e->key);

	if (s->wrapped && !uuid_is_zero(blob) && blob.b[14] >= s->first)
		return false;
	return uuid_is_zero(blob) || collect(s, blob, e->modified_s);
}

static struct uuid
file_of_key(struct sweep *s, struct str key)
{
	size_t head = s->courier->s3_config->prefix.n + sizeof("staging/") - 1;
	struct uuid u;

	if (key.n < head + UUID_TEXT_LEN ||
	    !uuid_parse((struct str){key.p + head, UUID_TEXT_LEN}, &u))
		return (struct uuid){{0}};
	return u;
}

static bool
see_staged(void *ctx, const struct s3_entry *e)
{
	struct sweep *s = ctx;
	struct uuid file = file_of_key(s, e->key);

	if (e->modified_s < s->staged_before_s && !uuid_is_zero(file) && !is_open(s, file))
		s->uploads += s3_delete(s->remover, e->key) == S3_DONE;
	return courier_beat(s->courier);
}

static bool
see_upload(void *ctx, const struct s3_entry *e)
{
	struct sweep *s = ctx;

	if (e->modified_s < s->staged_before_s)
		s->uploads += s3_abort(s->remover, e->key, e->upload_id) == S3_DONE;
	return courier_beat(s->courier);
}

static bool
beat(void *ctx)
{
	return courier_beat(ctx);
}

/* From the first shard to the end, then from the beginning to it. */
static enum s3_end
each_blob(struct sweep *s, struct s3 *lister, struct arena *a)
{
	struct str prefix = str_fmt(a, "%.*sblobs/", STR_ARG(s->courier->s3_config->prefix));
	struct str start = str_fmt(a, "%.*s%02x", STR_ARG(prefix), (unsigned)s->first);
	enum s3_end end = s3_list(lister, prefix, start, see_blob, s);

	if (end != S3_DONE || !flush(s))
		return end;
	s->wrapped = true;
	if (s->first > 0)
		end = s3_list(lister, prefix, STR_NONE, see_blob, s);
	/* It was stopped where the first half began. */
	return flush(s) && end == S3_STOPPED ? S3_DONE : end;
}

static void
sweep_service(struct sweep *s)
{
	struct s3 *lister = s->courier->s3;
	struct arena *a = arena_new(1 << 16);
	struct str prefix = s->courier->s3_config->prefix;
	struct str staging = str_fmt(a, "%.*sstaging/", STR_ARG(prefix));
	enum s3_end end;

	s3_watch(lister, beat, s->courier);
	s->remover = s3_new(s->courier->s3_config, 0);
	s3_watch(s->remover, beat, s->courier);
	end = each_blob(s, lister, a);
	if (end == S3_DONE)
		end = s3_list(lister, staging, STR_NONE, see_staged, s);
	if (end == S3_DONE)
		end = s3_uploads(lister, prefix, see_upload, s);
	if (end != S3_DONE && end != S3_STOPPED)
		log_warn("the S3 service could not be swept", LOG_Z("reason", s3_reason(lister)));
	s3_free(s->remover);
	arena_free(a);
}

/* --- the timer
 * ------------------------------------------------------------------------------------ */

/* By the database's clock, which the rows' times are of. */
static bool
set_limits(struct sweep *s)
{
	struct query *q = ask(s, &SQL_sweep_clock);
	uint8_t random;

	if (!courier_ask(s->courier, q))
		return false;
	s->blobs_before_s = rows_i64(q, 0, "now_s") - BLOB_AGE_S;
	s->staged_before_s = rows_i64(q, 0, "now_s") - STAGED_AGE_S;
	random_bytes(&random, sizeof(random));
	s->first = random;
	return true;
}

void
timer_store_sweep(struct courier *c)
{
	struct sweep local = {.courier = c, .location = "local"};
	struct sweep service = {.courier = c, .location = "s3"};

	if (c->store && set_limits(&local))
		sweep_local(&local);
	if (c->s3 && set_limits(&service))
		sweep_service(&service);
	if (local.objects + local.uploads + service.objects + service.uploads > 0)
		log_info("swept", LOG_I("objects", local.objects), LOG_I("uploads", local.uploads),
		    LOG_I("s3_objects", service.objects), LOG_I("s3_uploads", service.uploads));
}
