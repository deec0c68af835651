#include "store/s3_http.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"

enum {
	ANSWER_MOST = 16 << 20,
	CALL_ARENA_MOST = 64 << 20,
	CONNECT_MOST_MS = 10000,
	PAUSE_FIRST_MS = 200,
	PAUSE_MOST_MS = 10000,
	TRIES = 5,
};

#define EMPTY STR("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")

struct s3 *
s3_new(const struct s3_config *c, int tries)
{
	struct s3 *s = calloc(1, sizeof(*s));

	must(s != NULL && c->on && curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
	s->config = c;
	s->tries = tries ? tries : TRIES;
	s->call = arena_new(CALL_ARENA_MOST);
	s->curl = curl_easy_init();
	must(s->curl != NULL);
	return s;
}

void
s3_free(struct s3 *s)
{
	if (!s)
		return;
	curl_easy_cleanup(s->curl);
	arena_free(s->call);
	free(s);
}

void
s3_watch(struct s3 *s, bool (*fn)(void *ctx), void *ctx)
{
	s->watch = fn;
	s->watch_ctx = ctx;
}

bool
s3_goes_on(const struct s3 *s)
{
	return !s->watch || s->watch(s->watch_ctx);
}

bool
s3_tick(void *ctx, int64_t done)
{
	(void)done;
	return s3_goes_on(ctx);
}

const char *
s3_reason(const struct s3 *s)
{
	return s->reason;
}

enum s3_end
s3_say(struct s3 *s, enum s3_end end, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->reason, sizeof(s->reason), fmt, ap);
	va_end(ap);
	return end;
}

struct s3_call
s3_call(struct s3 *s, const char *method, struct str key)
{
	return (struct s3_call){.s3 = s, .method = method, .key = key, .fd = -1, .text = STR("")};
}

static void
add_pair(struct sigv4_pair *list, size_t *n, struct str name, struct str value)
{
	must(*n < S3_CALL_PAIRS_MOST);
	list[(*n)++] = (struct sigv4_pair){name, value};
}

void
s3_ask(struct s3_call *c, struct str name, struct str value)
{
	add_pair(c->query, &c->n_query, name, value);
}

void
s3_header(struct s3_call *c, struct str name, struct str value)
{
	add_pair(c->headers, &c->n_headers, name, value);
}

struct str
s3_answer_header(const struct s3_call *c, const char *name)
{
	struct curl_header *h;

	if (curl_easy_header(c->s3->curl, name, 0, CURLH_HEADER, -1, &h) != CURLHE_OK)
		return STR_NONE;
	return str_trim(str_from(h->value));
}

/* --- what curl calls -----------------------------------------------------------------------------
 */

static size_t
give(char *out, size_t size, size_t n, void *ctx)
{
	struct s3_call *c = ctx;
	int64_t left = c->size - c->sent;
	size_t most = left < (int64_t)(size * n) ? (size_t)left : size * n;
	ssize_t got;

	if (c->fd < 0) {
		memcpy(out, c->text.p + c->sent, most);
		got = (ssize_t)most;
	} else {
		got = pread(c->fd, out, most, c->from + c->sent);
	}
	if (got < 0 || (got == 0 && most > 0))
		return CURL_READFUNC_ABORT;
	c->sent += got;
	return (size_t)got;
}

static int
rewind_to(void *ctx, curl_off_t offset, int origin)
{
	struct s3_call *c = ctx;

	if (origin != SEEK_SET || offset < 0 || offset > c->size)
		return CURL_SEEKFUNC_FAIL;
	c->sent = offset;
	return CURL_SEEKFUNC_OK;
}

static size_t
take(char *p, size_t size, size_t n, void *ctx)
{
	struct s3_call *c = ctx;
	long status = 0;

	curl_easy_getinfo(c->s3->curl, CURLINFO_RESPONSE_CODE, &status);
	if (!c->sink || status < 200 || status >= 300) {
		buf_add(&c->answer, p, size * n);
		return c->answer.overflow ? 0 : size * n;
	}
	c->stopped = !c->sink(c->sink_ctx, p, size * n);
	return c->stopped ? 0 : size * n;
}

static bool
goes_on(const struct s3_call *c, int64_t done)
{
	return (!c->progress || c->progress(c->progress_ctx, done)) && s3_goes_on(c->s3);
}

static int
tick(void *ctx, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal, curl_off_t ulnow)
{
	struct s3_call *c = ctx;

	(void)dltotal, (void)dlnow, (void)ultotal;
	if (!goes_on(c, c->done + ulnow))
		c->stopped = true;
	return c->stopped;
}

/* --- the request ---------------------------------------------------------------------------------
 */

static struct str
payload(struct s3_call *c)
{
	uint8_t hash[DIGEST_LEN];
	struct digest *d;

	if (c->size == 0)
		return EMPTY;
	if (c->sha256)
		return str_hex(c->s3->call, c->sha256, DIGEST_LEN);
	must(c->fd < 0);
	d = digest_new();
	digest_add(d, c->text.p, c->text.n);
	digest_end(d, hash);
	digest_free(d);
	return str_hex(c->s3->call, hash, sizeof(hash));
}

static struct curl_slist *
header_line(struct arena *a, struct curl_slist *list, struct str name, struct str value)
{
	list = curl_slist_append(list, str_fmt(a, "%.*s: %.*s", STR_ARG(name), STR_ARG(value)).p);
	must(list != NULL);
	return list;
}

/* The call's own headers, those of every request, and the signature over all of them. */
static struct curl_slist *
signed_headers(struct s3_call *c, struct str path)
{
	const struct s3_config *cfg = c->s3->config;
	struct arena *a = c->s3->call;
	struct sigv4_pair all[S3_CALL_PAIRS_MOST + 3];
	struct sigv4_request r = {.method = c->method,
	    .path = path,
	    .query = c->query,
	    .n_query = c->n_query,
	    .headers = all,
	    .n_headers = c->n_headers + 3,
	    .payload = payload(c),
	    .at_s = clock_unix_s()};
	struct curl_slist *list = NULL;

	for (size_t i = 0; i < c->n_headers; i++)
		all[i + 3] = c->headers[i];
	all[0] = (struct sigv4_pair){STR("host"), cfg->host};
	all[1] = (struct sigv4_pair){STR("x-amz-date"), sigv4_date(a, r.at_s)};
	all[2] = (struct sigv4_pair){STR("x-amz-content-sha256"), r.payload};
	for (size_t i = 0; i < r.n_headers; i++)
		list = header_line(a, list, all[i].name, all[i].value);
	list = header_line(a, list, STR("authorization"), sigv4_authorization(a, &cfg->key, &r));
	/* What curl would add by itself. */
	list = header_line(a, list, STR("expect"), STR(""));
	return header_line(a, list, STR("content-type"), STR(""));
}

static void
set_url(struct s3_call *c, struct str path)
{
	const struct s3_config *cfg = c->s3->config;
	struct arena *a = c->s3->call;
	struct str query = sigv4_query(a, c->query, c->n_query);
	struct str url = str_fmt(a, "%s://%.*s%.*s%s%.*s", cfg->https ? "https" : "http",
	    STR_ARG(cfg->host), STR_ARG(sigv4_path(a, path)), query.n ? "?" : "", STR_ARG(query));

	curl_easy_setopt(c->s3->curl, CURLOPT_URL, url.p);
	curl_easy_setopt(c->s3->curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(c->s3->curl, CURLOPT_PROTOCOLS_STR, cfg->https ? "https" : "http");
}

static void
set_limits(CURL *curl, const struct s3_config *cfg)
{
	int64_t connect = cfg->timeout_ms < CONNECT_MOST_MS ? cfg->timeout_ms : CONNECT_MOST_MS;

	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)((cfg->timeout_ms + 999) / 1000));
	curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L * 1024);
	curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
	if (cfg->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, cfg->ca_file);
}

static void
set_method(struct s3_call *c)
{
	CURL *curl = c->s3->curl;
	struct str method = str_from(c->method);

	if (str_eq(method, STR("HEAD")))
		curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	if (!str_eq(method, STR("PUT")) && !str_eq(method, STR("POST"))) {
		curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, c->method);
		return;
	}
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, c->method);
	curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)c->size);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, give);
	curl_easy_setopt(curl, CURLOPT_READDATA, c);
	curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, rewind_to);
	curl_easy_setopt(curl, CURLOPT_SEEKDATA, c);
}

static CURLcode
perform(struct s3_call *c)
{
	CURL *curl = c->s3->curl;
	struct str path = str_fmt(
	    c->s3->call, "%.*s/%.*s", STR_ARG(c->s3->config->base), STR_ARG(c->key));
	struct curl_slist *headers;
	CURLcode rc;
	long status = 0;
	curl_off_t length = -1;

	curl_easy_reset(curl);
	set_url(c, path);
	set_limits(curl, c->s3->config);
	set_method(c);
	headers = signed_headers(c, path);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, tick);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, c);
	rc = curl_easy_perform(curl);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
	curl_slist_free_all(headers);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	c->status = status;
	c->length = length;
	return rc;
}

/* --- the answer ----------------------------------------------------------------------------------
 */

static const struct {
	const char *code; /* NULL: any */
	int64_t status;   /* 0: any */
	enum s3_end end;
} endings[] = {
    {"NoSuchBucket", 0, S3_REFUSED},
    {"RequestTimeout", 0, S3_UNAVAILABLE},
    {"InternalError", 0, S3_UNAVAILABLE},
    {"SlowDown", 0, S3_UNAVAILABLE},
    {"ServiceUnavailable", 0, S3_UNAVAILABLE},
    {"BadDigest", 0, S3_CORRUPT},
    {"XAmzContentSHA256Mismatch", 0, S3_CORRUPT},
    {"NoSuchUpload", 0, S3_MISSING},
    {"NoSuchKey", 0, S3_MISSING},
    {NULL, 404, S3_MISSING},
    {NULL, 408, S3_UNAVAILABLE},
    {NULL, 412, S3_CORRUPT},
    {NULL, 416, S3_CORRUPT},
    {NULL, 429, S3_UNAVAILABLE},
    {NULL, 500, S3_UNAVAILABLE},
    {NULL, 502, S3_UNAVAILABLE},
    {NULL, 503, S3_UNAVAILABLE},
    {NULL, 504, S3_UNAVAILABLE},
};

static enum s3_end
ending_of(const struct s3_call *c)
{
	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		if (endings[i].status ? endings[i].status == c->status
				      : str_eq(c->xml.code, str_from(endings[i].code)))
			return endings[i].end;
	}
	return S3_REFUSED;
}

/* An answer of 200 can be an error too: of calls that take long the service begins to answer before
 * it knows. */
static enum s3_end
judge(struct s3_call *c)
{
	struct s3 *s = c->s3;
	bool good = c->status >= 200 && c->status < 300;

	if (c->answer.n > 0 && !s3_xml_parse(s->call, buf_view(&c->answer), &c->xml)) {
		c->xml = (struct s3_answer){.n = 0};
		if (good)
			return s3_say(
			    s, S3_UNAVAILABLE, "%s: the answer cannot be read", c->method);
	}
	if (good && !str_eq(c->xml.root, STR("Error")))
		return S3_DONE;
	return s3_say(s, ending_of(c), "%s: %lld %.*s %.*s", c->method, (long long)c->status,
	    STR_ARG(c->xml.code), STR_ARG(c->xml.message));
}

static enum s3_end
failed(struct s3_call *c, CURLcode rc)
{
	struct s3 *s = c->s3;

	if (c->stopped)
		return s3_say(s, S3_STOPPED, "%s: stopped", c->method);
	switch (rc) {
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_URL_MALFORMAT:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_ABORTED_BY_CALLBACK: /* the file to send cannot be read */
		return s3_say(s, S3_REFUSED, "%s: %s", c->method, curl_easy_strerror(rc));
	default:
		return s3_say(s, S3_UNAVAILABLE, "%s: %s", c->method, curl_easy_strerror(rc));
	}
}

enum s3_end
s3_once(struct s3_call *c)
{
	CURLcode rc;
	enum s3_end end;

	arena_reset(c->s3->call);
	if (c->fd < 0)
		c->size = (int64_t)c->text.n;
	c->sent = 0;
	c->stopped = false;
	c->xml = (struct s3_answer){.n = 0};
	buf_init(&c->answer, ANSWER_MOST);
	rc = perform(c);
	/* An error's answer may be read before everything was sent. */
	end = rc == CURLE_OK || (rc == CURLE_SEND_ERROR && c->status >= 400) ? judge(c)
									     : failed(c, rc);
	buf_fini(&c->answer);
	return end;
}

bool
s3_pause(const struct s3_call *c, int attempt)
{
	int64_t pause = PAUSE_FIRST_MS << (attempt < 7 ? attempt - 1 : 6);
	uint16_t random;

	random_bytes(&random, sizeof(random));
	pause = pause < PAUSE_MOST_MS ? pause : PAUSE_MOST_MS;
	pause = pause / 2 + pause * random / 65536;
	for (int64_t until = clock_mono_ms() + pause; clock_mono_ms() < until;) {
		int64_t left = until - clock_mono_ms();

		poll(NULL, 0, (int)(left < 500 ? left : 500));
		if (!goes_on(c, c->done))
			return false;
	}
	return true;
}

enum s3_end
s3_run(struct s3_call *c)
{
	enum s3_end end = s3_once(c);

	for (int attempt = 1; end == S3_UNAVAILABLE && attempt < c->s3->tries; attempt++) {
		if (!s3_pause(c, attempt))
			return S3_STOPPED;
		end = s3_once(c);
	}
	return end;
}
