/* The settings of s3.h, its keys and its presigned URLs. */
#include <string.h>
#include <uriparser/Uri.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "store/s3.h"
#include "store/store.h"

enum { SECRET_MOST = 1024, WEEK_S = 7 * 24 * 3600 };

struct settings {
	const char *store, *endpoint, *region, *bucket, *prefix, *style, *sse, *id, *secret_file,
	    *ca;
	bool http;
	int64_t timeout_s;
};

static bool
read_settings(struct settings *s)
{
	const struct config_item items[] = {
	    {"SOLOPRINT_STORE", CFG_STR, &s->store, "local", 0, 0,
		"where new blobs shall be: local or s3"},
	    {"SOLOPRINT_S3_ENDPOINT", CFG_STR, &s->endpoint, "", 0, 0,
		"the service's URL, for example https://s3.eu-central-1.amazonaws.com"},
	    {"SOLOPRINT_S3_REGION", CFG_STR, &s->region, "us-east-1", 0, 0, "the bucket's region"},
	    {"SOLOPRINT_S3_BUCKET", CFG_STR, &s->bucket, "", 0, 0, "the bucket"},
	    {"SOLOPRINT_S3_PREFIX", CFG_STR, &s->prefix, "", 0, 0,
		"what every key begins with, for example soloprint/"},
	    {"SOLOPRINT_S3_STYLE", CFG_STR, &s->style, "path", 0, 0,
		"path (host/bucket/key) or virtual (bucket.host/key)"},
	    {"SOLOPRINT_S3_SSE", CFG_STR, &s->sse, "", 0, 0,
		"x-amz-server-side-encryption of new objects, for example AES256"},
	    {"SOLOPRINT_S3_ACCESS_KEY_ID", CFG_STR, &s->id, "", 0, 0, "the access key's id"},
	    {"SOLOPRINT_S3_SECRET_KEY", CFG_STR, &s->secret_file, "", 0, 0,
		"a file with the secret access key"},
	    {"SOLOPRINT_S3_CA", CFG_STR, &s->ca, "", 0, 0,
		"a file with the certificates to trust instead of the system's"},
	    {"SOLOPRINT_S3_HTTP", CFG_BOOL, &s->http, "0", 0, 0,
		"1 to allow an endpoint without TLS: for tests"},
	    {"SOLOPRINT_S3_TIMEOUT_S", CFG_INT, &s->timeout_s, "30", 1, 3600,
		"longest time without a byte from the service"},
	};

	return config_load(items, sizeof(items) / sizeof(items[0]));
}

static bool
wrong(const char *name, const char *help)
{
	log_error("setting is malformed", LOG_Z("name", name), LOG_Z("help", help));
	return false;
}

static struct str
part(struct arena *a, UriTextRangeA r)
{
	return str_dup(a, (struct str){r.first, r.first ? (size_t)(r.afterLast - r.first) : 0});
}

static bool
split_endpoint(struct arena *a, const UriUriA *u, struct s3_config *c)
{
	struct str scheme = part(a, u->scheme), port = part(a, u->portText);
	struct str host = part(a, u->hostText);

	c->https = str_ieq(scheme, STR("https"));
	if ((!c->https && !str_ieq(scheme, STR("http"))) || host.n == 0 || u->userInfo.first ||
	    u->query.first || u->fragment.first)
		return false;
	if (u->hostData.ip6)
		host = str_fmt(a, "[%.*s]", STR_ARG(host));
	if (port.n > 0 && !str_eq(port, c->https ? STR("443") : STR("80")))
		host = str_fmt(a, "%.*s:%.*s", STR_ARG(host), STR_ARG(port));
	c->host = host;
	c->base = STR("");
	for (const UriPathSegmentA *s = u->pathHead; s; s = s->next)
		if (s->text.first != s->text.afterLast)
			c->base = str_fmt(
			    a, "%.*s/%.*s", STR_ARG(c->base), STR_ARG(part(a, s->text)));
	return true;
}

static bool
parse_endpoint(struct arena *a, const char *endpoint, struct s3_config *c)
{
	UriUriA u;
	bool good;

	if (uriParseSingleUriA(&u, endpoint, NULL) != URI_SUCCESS)
		return false;
	good = split_endpoint(a, &u, c);
	uriFreeUriMembersA(&u);
	return good;
}

/* The file's first line. */
static struct str
read_secret(struct arena *a, const char *path)
{
	struct str s = config_file(a, path, SECRET_MOST);

	return str_trim(str_cut(&s, '\n'));
}

static bool
check_style(const struct settings *s, struct s3_config *c)
{
	c->virtual_host = str_eq(str_from(s->style), STR("virtual"));
	if (!c->virtual_host && !str_eq(str_from(s->style), STR("path")))
		return wrong("SOLOPRINT_S3_STYLE", "path or virtual");
	if (c->prefix.n > 512 || str_starts(c->prefix, STR("/")))
		return wrong("SOLOPRINT_S3_PREFIX", "at most 512 bytes, no slash at the beginning");
	return true;
}

static bool
check_service(struct arena *a, const struct settings *s, struct s3_config *c)
{
	if (!parse_endpoint(a, s->endpoint, c))
		return wrong("SOLOPRINT_S3_ENDPOINT", "https://host[:port], nothing else");
	if (!c->https && !s->http)
		return wrong("SOLOPRINT_S3_ENDPOINT",
		    "http is refused: bytes and signatures would be readable on the way");
	if (c->bucket.n == 0 || str_index(c->bucket, '/') >= 0)
		return wrong("SOLOPRINT_S3_BUCKET", "the bucket's name");
	if (c->key.id.n == 0)
		return wrong("SOLOPRINT_S3_ACCESS_KEY_ID", "the access key's id");
	if (!check_style(s, c))
		return false;
	c->key.secret = read_secret(a, s->secret_file);
	if (c->key.secret.n == 0)
		return wrong(
		    "SOLOPRINT_S3_SECRET_KEY", "a readable file with the secret access key");
	if (c->virtual_host)
		c->host = str_fmt(a, "%.*s.%.*s", STR_ARG(c->bucket), STR_ARG(c->host));
	else
		c->base = str_fmt(a, "%.*s/%.*s", STR_ARG(c->base), STR_ARG(c->bucket));
	return true;
}

bool
s3_config_load(struct arena *a, struct s3_config *out)
{
	struct settings s;

	*out = (struct s3_config){.on = false};
	if (!read_settings(&s))
		return false;
	out->preferred = str_eq(str_from(s.store), STR("s3"));
	if (!out->preferred && !str_eq(str_from(s.store), STR("local")))
		return wrong("SOLOPRINT_STORE", "local or s3");
	out->on = *s.endpoint;
	if (!out->on)
		return !out->preferred ||
		    wrong("SOLOPRINT_S3_ENDPOINT", "needed by SOLOPRINT_STORE=s3");
	out->bucket = str_from(s.bucket);
	out->prefix = str_from(s.prefix);
	out->sse = str_from(s.sse);
	out->key = (struct sigv4_key){.id = str_from(s.id), .region = str_from(s.region)};
	out->ca_file = *s.ca ? s.ca : NULL;
	out->timeout_ms = s.timeout_s * 1000;
	return check_service(a, &s, out);
}

struct str
s3_blob_key(struct arena *a, const struct s3_config *c, struct uuid blob)
{
	return str_fmt(a, "%.*sblobs/%.*s", STR_ARG(c->prefix), STR_ARG(store_key(a, blob)));
}

struct str
s3_staged_key(struct arena *a, const struct s3_config *c, struct uuid file, int n)
{
	return str_fmt(a, "%.*sstaging/%.*s/%d", STR_ARG(c->prefix), STR_ARG(uuid_str(a, file)), n);
}

static void
add(struct sigv4_pair *list, size_t *n, struct str name, struct str value)
{
	if (value.p)
		list[(*n)++] = (struct sigv4_pair){name, value};
}

/* In the arena `t`; the headers that the client must send go to *out. */
static struct str
presigned_url(struct arena *t, const struct s3_config *c, const struct s3_presign *p,
    struct s3_presigned *out)
{
	struct sigv4_pair headers[3], query[3];
	struct sigv4_request r = {.method = p->method,
	    .path = str_fmt(t, "%.*s/%.*s", STR_ARG(c->base), STR_ARG(p->key)),
	    .query = query,
	    .headers = headers,
	    .at_s = clock_unix_s()};

	add(headers, &r.n_headers, STR("host"), c->host);
	if (!str_eq(str_from(p->method), STR("PUT"))) {
		add(query, &r.n_query, STR("response-content-type"), p->content_type);
		add(query, &r.n_query, STR("response-content-disposition"), p->content_disposition);
		add(query, &r.n_query, STR("response-cache-control"), p->cache_control);
	} else {
		if (p->size >= 0)
			add(headers, &r.n_headers, STR("content-length"),
			    str_fmt(t, "%lld", (long long)p->size));
		if (c->sse.n > 0)
			add(out->headers, &out->n_headers, STR("x-amz-server-side-encryption"),
			    c->sse);
	}
	for (size_t i = 0; i < out->n_headers; i++)
		headers[r.n_headers++] = out->headers[i];
	return str_fmt(t, "%s://%.*s%.*s?%.*s", c->https ? "https" : "http", STR_ARG(c->host),
	    STR_ARG(sigv4_path(t, r.path)), STR_ARG(sigv4_presign(t, &c->key, &r, p->expires_s)));
}

struct s3_presigned
s3_presign(struct arena *a, const struct s3_config *c, const struct s3_presign *p)
{
	struct s3_presigned out = {.n_headers = 0};
	struct arena *t = arena_new(1 << 20); /* many are made in one request */

	must(c->on && p->expires_s > 0 && p->expires_s <= WEEK_S);
	out.url = str_dup(a, presigned_url(t, c, p, &out));
	arena_free(t);
	return out;
}
