#include "store/s3_multipart.h"

#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"

enum { PARTS_MOST = 10000, ARENA_MOST = 16 << 20, XML_MOST = 4 << 20 };

/* A multipart upload on its way. */
struct upload {
	struct s3 *s3;
	struct arena *arena; /* outlives the calls */
	struct str key, id;
	struct str *etags;
	size_t n;
	progress_fn fn;
	void *ctx;
};

static enum s3_end
begin(struct upload *u, size_t n)
{
	struct s3_call c = s3_call(u->s3, "POST", u->key);
	enum s3_end end;

	if (n > PARTS_MOST)
		return s3_say(u->s3, S3_REFUSED, "more than %d parts", PARTS_MOST);
	s3_ask(&c, STR("uploads"), STR(""));
	s3_encrypt(&c);
	c.progress = u->fn;
	c.progress_ctx = u->ctx;
	end = s3_run(&c);
	if (end == S3_DONE && c.xml.upload_id.n == 0)
		end = s3_say(u->s3, S3_UNAVAILABLE, "POST: no upload id");
	if (end == S3_DONE)
		u->id = str_dup(u->arena, c.xml.upload_id);
	return end;
}

/* A call for the next part. */
static struct s3_call
next_part(struct upload *u)
{
	struct s3_call c = s3_call(u->s3, "PUT", u->key);

	s3_ask(&c, STR("partNumber"), str_fmt(u->arena, "%zu", u->n + 1));
	s3_ask(&c, STR("uploadId"), u->id);
	c.progress = u->fn;
	c.progress_ctx = u->ctx;
	return c;
}

static enum s3_end
part_done(struct upload *u, enum s3_end end, struct str etag)
{
	if (end == S3_DONE && etag.n == 0)
		return s3_say(u->s3, S3_UNAVAILABLE, "PUT: a part without an ETag");
	if (end == S3_DONE)
		u->etags[u->n++] = str_dup(u->arena, etag);
	return end;
}

static void
xml_text(struct buf *b, struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (strchr("<>&\"", s.p[i]))
			buf_fmt(b, "&#%d;", s.p[i]);
		else
			buf_char(b, s.p[i]);
	}
}

static enum s3_end
complete(struct upload *u)
{
	struct s3_call c = s3_call(u->s3, "POST", u->key);
	struct buf b;
	enum s3_end end;

	buf_init(&b, XML_MOST);
	buf_str(
	    &b, STR("<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"));
	for (size_t i = 0; i < u->n; i++) {
		buf_fmt(&b, "<Part><PartNumber>%zu</PartNumber><ETag>", i + 1);
		xml_text(&b, u->etags[i]);
		buf_str(&b, STR("</ETag></Part>"));
	}
	buf_str(&b, STR("</CompleteMultipartUpload>"));
	must(!b.overflow);
	s3_ask(&c, STR("uploadId"), u->id);
	c.text = buf_view(&b);
	end = s3_run(&c);
	buf_fini(&b);
	return end;
}

/* Ends the upload: an object when all parts are there, nothing else. An upload that is gone may
 * have been completed by an attempt whose answer was lost; whoever looks at the object sees. */
static enum s3_end
finish(struct upload *u, enum s3_end end)
{
	char reason[sizeof(u->s3->reason)];

	if (end == S3_DONE) {
		end = complete(u);
		if (end == S3_DONE || end == S3_MISSING)
			return S3_DONE;
	}
	if (u->id.n == 0)
		return end;
	memcpy(reason, u->s3->reason, sizeof(reason));
	(void)s3_abort(u->s3, u->key, u->id); /* else the sweep does it */
	memcpy(u->s3->reason, reason, sizeof(reason));
	return end;
}

static struct upload
upload(struct s3 *s, struct str key, progress_fn fn, void *ctx)
{
	struct upload u = {
	    .s3 = s, .arena = arena_new(ARENA_MOST), .key = key, .fn = fn, .ctx = ctx};

	u.etags = arena_array(u.arena, PARTS_MOST, sizeof(*u.etags));
	return u;
}

/* Parts one after the other; what the file's digest says is checked before there is an object. */
static enum s3_end
send_parts(struct upload *u, int fd, int64_t size)
{
	enum s3_end end = S3_DONE;

	for (int64_t at = 0; end == S3_DONE && at < size; at += S3_PART_BYTES) {
		struct s3_call c = next_part(u);
		uint8_t sha256[DIGEST_LEN];

		c.fd = fd;
		c.from = c.done = at;
		c.size = size - at < S3_PART_BYTES ? size - at : S3_PART_BYTES;
		c.sha256 = sha256;
		if (!digest_range(fd, at, c.size, sha256, NULL, NULL))
			return s3_say(u->s3, S3_CORRUPT, "the file is shorter than it should be");
		end = s3_run(&c);
		end = part_done(u, end, s3_answer_header(&c, "etag"));
	}
	return end;
}

static enum s3_end
check_file(struct s3 *s, int fd, int64_t size, const uint8_t sha256[DIGEST_LEN])
{
	uint8_t whole[DIGEST_LEN];

	if (digest_range(fd, 0, size, whole, s3_tick, s) && memcmp(whole, sha256, DIGEST_LEN) == 0)
		return S3_DONE;
	return s3_goes_on(s) ? s3_say(s, S3_CORRUPT, "the file's digest differs")
			     : s3_say(s, S3_STOPPED, "stopped");
}

enum s3_end
s3_put_parts(struct s3 *s, struct str key, int fd, int64_t size, const uint8_t sha256[DIGEST_LEN],
    progress_fn fn, void *ctx)
{
	struct upload u = upload(s, key, fn, ctx);
	enum s3_end end = check_file(s, fd, size, sha256);

	if (end == S3_DONE)
		end = begin(&u, (size_t)((size + S3_PART_BYTES - 1) / S3_PART_BYTES));
	if (end == S3_DONE)
		end = send_parts(&u, fd, size);
	end = finish(&u, end);
	arena_free(u.arena);
	return end;
}

/* "/bucket/key", encoded, as x-amz-copy-source wants it. */
static struct str
copy_source(struct arena *a, const struct s3_config *c, struct str key)
{
	return sigv4_path(a, str_fmt(a, "/%.*s/%.*s", STR_ARG(c->bucket), STR_ARG(key)));
}

static enum s3_end
copy_parts(struct upload *u, const struct str *parts, size_t n)
{
	enum s3_end end = S3_DONE;

	for (size_t i = 0; end == S3_DONE && i < n; i++) {
		struct s3_call c = next_part(u);

		c.done = (int64_t)i * S3_PART_BYTES;
		s3_header(
		    &c, STR("x-amz-copy-source"), copy_source(u->arena, u->s3->config, parts[i]));
		end = s3_run(&c);
		end = part_done(u, end, c.xml.etag);
	}
	return end;
}

static enum s3_end
copy_one(struct upload *u, struct str from)
{
	struct s3_call c = s3_call(u->s3, "PUT", u->key);

	c.progress = u->fn;
	c.progress_ctx = u->ctx;
	s3_header(&c, STR("x-amz-copy-source"), copy_source(u->arena, u->s3->config, from));
	s3_encrypt(&c);
	return s3_run(&c);
}

enum s3_end
s3_compose(
    struct s3 *s, struct str to, const struct str *parts, size_t n, progress_fn fn, void *ctx)
{
	struct upload u = upload(s, to, fn, ctx);
	enum s3_end end;

	if (n == 1) {
		end = copy_one(&u, parts[0]);
	} else {
		end = begin(&u, n);
		if (end == S3_DONE)
			end = copy_parts(&u, parts, n);
		end = finish(&u, end);
	}
	arena_free(u.arena);
	return end;
}

enum s3_end
s3_abort(struct s3 *s, struct str key, struct str upload_id)
{
	struct s3_call c = s3_call(s, "DELETE", key);
	enum s3_end end;

	s3_ask(&c, STR("uploadId"), upload_id);
	end = s3_run(&c);
	return end == S3_MISSING ? S3_DONE : end;
}
