/* What an S3 client can do with single objects, and lists of them. */
#include "store/s3.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "store/s3_http.h"
#include "store/s3_multipart.h"

enum { LIST_PAGE = 1000, TOKEN_MOST = 8192, ARENA_MOST = 1 << 20 };

static void
base64_digest(const uint8_t sha256[DIGEST_LEN], char out[48])
{
	must(EVP_EncodeBlock((unsigned char *)out, sha256, DIGEST_LEN) == 44);
}

void
s3_encrypt(struct s3_call *c)
{
	struct str sse = c->s3->config->sse;

	if (sse.n > 0)
		s3_header(c, STR("x-amz-server-side-encryption"), sse);
}

static void
copy_text(char *out, size_t size, struct str s)
{
	snprintf(out, size, "%.*s", STR_ARG(s));
}

enum s3_end
s3_head(struct s3 *s, struct str key, struct s3_object *out)
{
	struct s3_call c = s3_call(s, "HEAD", key);
	enum s3_end end;

	*out = (struct s3_object){.size = 0};
	s3_header(&c, STR("x-amz-checksum-mode"), STR("ENABLED"));
	end = s3_run(&c);
	if (end != S3_DONE)
		return end;
	out->size = c.length;
	copy_text(out->etag, sizeof(out->etag), s3_answer_header(&c, "etag"));
	copy_text(out->sha256, sizeof(out->sha256), s3_answer_header(&c, "x-amz-checksum-sha256"));
	return S3_DONE;
}

enum s3_end
s3_delete(struct s3 *s, struct str key)
{
	struct s3_call c = s3_call(s, "DELETE", key);
	enum s3_end end = s3_run(&c);

	return end == S3_MISSING ? S3_DONE : end;
}

/* --- reading -------------------------------------------------------------------------------------
 */

struct reader {
	struct s3_call *call;
	s3_sink_fn fn;
	void *ctx;
	int64_t got; /* in all, over every attempt */
};

static bool
read_on(void *ctx, const void *p, size_t n)
{
	struct reader *r = ctx;

	r->got += (int64_t)n;
	return r->fn(r->ctx, p, n);
}

/* From where the last attempt ended, of the same object. */
static enum s3_end
read_once(struct reader *r, int64_t from, int64_t size, const char *etag)
{
	struct s3_call *c = r->call;
	int64_t at = from + r->got;
	char range[64];

	c->n_headers = 0;
	if (size >= 0)
		snprintf(range, sizeof(range), "bytes=%lld-%lld", (long long)at,
		    (long long)(from + size - 1));
	else
		snprintf(range, sizeof(range), "bytes=%lld-", (long long)at);
	if (size >= 0 || at > 0)
		s3_header(c, STR("range"), str_from(range));
	if (*etag)
		s3_header(c, STR("if-match"), str_from(etag));
	return s3_once(c);
}

/* A service that ignores the range would send the beginning again. */
static enum s3_end
check_range(const struct reader *r, enum s3_end end)
{
	if (end == S3_DONE && r->call->status != 206 && r->call->n_headers > 0)
		return s3_say(r->call->s3, S3_CORRUPT, "GET: the range was ignored");
	return end;
}

enum s3_end
s3_get(struct s3 *s, struct str key, int64_t from, int64_t size, s3_sink_fn fn, void *ctx)
{
	struct s3_call c = s3_call(s, "GET", key);
	struct reader r = {.call = &c, .fn = fn, .ctx = ctx};
	char etag[S3_ETAG_MOST + 1] = "";
	enum s3_end end = S3_DONE;

	c.sink = read_on;
	c.sink_ctx = &r;
	for (int attempt = 1; size < 0 || r.got < size; attempt++) {
		int64_t before = r.got;

		end = check_range(&r, read_once(&r, from, size, etag));
		if (end != S3_UNAVAILABLE)
			break;
		if (r.got > before && !*etag)
			copy_text(etag, sizeof(etag), s3_answer_header(&c, "etag"));
		if (r.got > before)
			attempt = 1; /* it goes on */
		if (attempt >= s->tries || (r.got > 0 && !*etag))
			break;
		if (!s3_pause(&c, attempt))
			return S3_STOPPED;
	}
	if (end == S3_DONE && size >= 0 && r.got != size)
		return s3_say(s, S3_CORRUPT, "GET: fewer bytes than asked for");
	return end;
}

struct digester {
	struct digest *digest;
	int64_t size;
	progress_fn fn;
	void *ctx;
};

static bool
digest_more(void *ctx, const void *p, size_t n)
{
	struct digester *d = ctx;

	digest_add(d->digest, p, n);
	d->size += (int64_t)n;
	return !d->fn || d->fn(d->ctx, d->size);
}

enum s3_end
s3_digest(
    struct s3 *s, struct str key, uint8_t out[DIGEST_LEN], int64_t *size, progress_fn fn, void *ctx)
{
	struct digester d = {.digest = digest_new(), .fn = fn, .ctx = ctx};
	enum s3_end end = s3_get(s, key, 0, -1, digest_more, &d);

	digest_end(d.digest, out);
	digest_free(d.digest);
	*size = d.size;
	return end;
}

enum s3_end
s3_verify(struct s3 *s, struct str key, int64_t size, const uint8_t sha256[DIGEST_LEN],
    progress_fn fn, void *ctx)
{
	uint8_t got[DIGEST_LEN];
	int64_t got_size;
	enum s3_end end = s3_digest(s, key, got, &got_size, fn, ctx);

	if (end != S3_DONE)
		return end;
	if (got_size != size)
		return s3_say(s, S3_CORRUPT, "the object has %lld bytes instead of %lld",
		    (long long)got_size, (long long)size);
	if (memcmp(got, sha256, DIGEST_LEN) != 0)
		return s3_say(s, S3_CORRUPT, "the object's digest differs");
	return S3_DONE;
}

/* --- writing -------------------------------------------------------------------------------------
 */

static enum s3_end
put_single(struct s3 *s, struct str key, int fd, int64_t size, const uint8_t sha256[DIGEST_LEN],
    progress_fn fn, void *ctx)
{
	struct s3_call c = s3_call(s, "PUT", key);
	char digest[48];

	c.fd = fd;
	c.size = size;
	c.sha256 = sha256;
	c.progress = fn;
	c.progress_ctx = ctx;
	base64_digest(sha256, digest);
	s3_header(&c, STR("x-amz-checksum-sha256"), str_from(digest));
	s3_encrypt(&c);
	return s3_run(&c);
}

enum s3_end
s3_put(struct s3 *s, struct str key, int fd, int64_t size, const uint8_t sha256[DIGEST_LEN],
    progress_fn fn, void *ctx)
{
	struct s3_object there;
	char digest[48];
	enum s3_end end;

	end = size <= S3_PART_BYTES ? put_single(s, key, fd, size, sha256, fn, ctx)
				    : s3_put_parts(s, key, fd, size, sha256, fn, ctx);
	if (end == S3_DONE)
		end = s3_head(s, key, &there);
	if (end != S3_DONE)
		return end;
	if (there.size != size)
		return s3_say(s, S3_CORRUPT, "the object has %lld bytes instead of %lld",
		    (long long)there.size, (long long)size);
	base64_digest(sha256, digest);
	if (str_eq(str_from(there.sha256), str_from(digest)))
		return S3_DONE;
	return s3_verify(s, key, size, sha256, NULL, NULL);
}

/* --- lists ---------------------------------------------------------------------------------------
 */

struct lister {
	struct s3_call call;
	struct arena *arena; /* of the markers; two pages' at most */
	struct str prefix, after, token, key_marker, upload_marker;
	s3_entry_fn fn;
	void *ctx;
};

/* Hands out a page's items; false when fn had enough. */
static bool
hand_out(const struct lister *l)
{
	for (size_t i = 0; i < l->call.xml.n; i++) {
		const struct s3_item *it = &l->call.xml.items[i];
		const struct s3_entry e = {it->key, it->size, it->modified_s, it->upload_id};

		if (it->key.n > 0 && !l->fn(l->ctx, &e))
			return false;
	}
	return true;
}

/* What the next page needs outlives the call. */
static void
remember(struct lister *l)
{
	const struct s3_answer *x = &l->call.xml;

	arena_reset(l->arena);
	l->token = str_dup(l->arena, x->next_token);
	l->key_marker = str_dup(l->arena, x->next_key);
	l->upload_marker = str_dup(l->arena, x->next_upload);
}

static bool
same_page_again(const struct lister *l)
{
	const struct s3_answer *x = &l->call.xml;

	return str_eq(l->token, x->next_token) && str_eq(l->key_marker, x->next_key) &&
	    str_eq(l->upload_marker, x->next_upload);
}

static enum s3_end
each_page(struct s3 *s, struct lister *l, void (*ask)(struct lister *l))
{
	enum s3_end end = S3_DONE;
	bool more = true;

	l->arena = arena_new(ARENA_MOST);
	while (end == S3_DONE && more) {
		l->call = s3_call(s, "GET", STR_NONE);
		ask(l);
		end = s3_run(&l->call);
		more = end == S3_DONE && l->call.xml.truncated;
		if (more && same_page_again(l))
			end = s3_say(s, S3_UNAVAILABLE, "GET: the list does not go on");
		else if (end == S3_DONE && !hand_out(l))
			end = s3_say(s, S3_STOPPED, "GET: stopped");
		if (more)
			remember(l);
	}
	arena_free(l->arena);
	return end;
}

static void
ask_objects(struct lister *l)
{
	s3_ask(&l->call, STR("list-type"), STR("2"));
	s3_ask(&l->call, STR("max-keys"), str_fmt(l->arena, "%d", LIST_PAGE));
	s3_ask(&l->call, STR("prefix"), l->prefix);
	if (l->token.n > 0)
		s3_ask(&l->call, STR("continuation-token"), l->token);
	else if (l->after.n > 0)
		s3_ask(&l->call, STR("start-after"), l->after);
}

static void
ask_uploads(struct lister *l)
{
	s3_ask(&l->call, STR("uploads"), STR(""));
	s3_ask(&l->call, STR("prefix"), l->prefix);
	if (l->key_marker.n > 0)
		s3_ask(&l->call, STR("key-marker"), l->key_marker);
	if (l->upload_marker.n > 0)
		s3_ask(&l->call, STR("upload-id-marker"), l->upload_marker);
}

enum s3_end
s3_list(struct s3 *s, struct str prefix, struct str after, s3_entry_fn fn, void *ctx)
{
	struct lister l = {.prefix = prefix, .after = after, .fn = fn, .ctx = ctx};

	return each_page(s, &l, ask_objects);
}

enum s3_end
s3_uploads(struct s3 *s, struct str prefix, s3_entry_fn fn, void *ctx)
{
	struct lister l = {.prefix = prefix, .fn = fn, .ctx = ctx};

	return each_page(s, &l, ask_uploads);
}

enum s3_end
s3_probe(struct s3 *s)
{
	struct s3_call c = s3_call(s, "GET", STR_NONE);

	s3_ask(&c, STR("list-type"), STR("2"));
	s3_ask(&c, STR("max-keys"), STR("1"));
	s3_ask(&c, STR("prefix"), s->config->prefix);
	return s3_run(&c);
}
