#include "gateway/ws_upgrade.h"

#include <curl/curl.h>
#include <http_parser.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"
#include "base/log.h"
#include "gateway/http_url.h"

enum {
	REQUEST_MOST = 16 * 1024,
	ANSWER_MOST = 16 * 1024,
	KEY = 16,
	KEY_TEXT = 25,
	ACCEPT_TEXT = 29
};

struct ws_upgrade {
	struct buf request;
	size_t written, n_in;
	http_parser parser;
	char accept[ACCEPT_TEXT]; /* what the answer must say */
	char name[32], value[64]; /* of the header at hand, cut when longer */
	bool in_value, complete;
	bool upgrades, accepted;
	char in[ANSWER_MOST];
};

/* --- the request ------------------------------------------------------------------------------ */

/* base64(SHA-1(key + the protocol's constant)) */
static void
accept_of(const char *key, char out[ACCEPT_TEXT])
{
	char text[KEY_TEXT + 40];
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	snprintf(text, sizeof(text), "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
	must(EVP_Digest(text, strlen(text), hash, &n, EVP_sha1(), NULL) == 1 && n == 20);
	EVP_EncodeBlock((unsigned char *)out, hash, (int)n);
}

/* Host and the path with its query, as the URL has them. */
static bool
write_target(struct buf *b, const char *url)
{
	CURLU *u = curl_url();
	char *host = NULL, *port = NULL, *path = NULL, *query = NULL;
	bool good;

	must(u != NULL);
	good = curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_PATH, &path, 0) == CURLUE_OK;
	if (good) {
		curl_url_get(u, CURLUPART_PORT, &port, CURLU_NO_DEFAULT_PORT);
		curl_url_get(u, CURLUPART_QUERY, &query, 0);
		buf_fmt(b, "GET %s%s%s HTTP/1.1\r\nHost: %s%s%s\r\n", path, query ? "?" : "",
		    query ? query : "", host, port ? ":" : "", port ? port : "");
	}
	curl_free(host);
	curl_free(port);
	curl_free(path);
	curl_free(query);
	curl_url_cleanup(u);
	return good;
}

static bool
is_clean(const char *z)
{
	for (; *z; z++)
		if ((unsigned char)*z < 0x20 || *z == 0x7f)
			return false;
	return true;
}

static bool
write_request(struct ws_upgrade *u, const char *agent, const struct ws_options *o)
{
	unsigned char bytes[KEY];
	char key[KEY_TEXT];

	if (!http_url_is_good(o->url, o->address != NULL) || !write_target(&u->request, o->url))
		return false;
	must(getrandom(bytes, sizeof(bytes), 0) == sizeof(bytes));
	EVP_EncodeBlock((unsigned char *)key, bytes, sizeof(bytes));
	accept_of(key, u->accept);
	buf_fmt(&u->request,
	    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
	    "Sec-WebSocket-Key: %s\r\nUser-Agent: %s\r\n",
	    key, agent);
	for (size_t i = 0; i < o->n_headers; i++) {
		if (!is_clean(o->headers[i].name) || !is_clean(o->headers[i].value))
			return false;
		buf_fmt(&u->request, "%s: %s\r\n", o->headers[i].name, o->headers[i].value);
	}
	buf_str(&u->request, STR("\r\n"));
	return !u->request.overflow;
}

struct ws_upgrade *
ws_upgrade_new(const char *agent, const struct ws_options *o)
{
	struct ws_upgrade *u = calloc(1, sizeof(*u));

	must(u != NULL);
	buf_init(&u->request, REQUEST_MOST);
	http_parser_init(&u->parser, HTTP_RESPONSE);
	u->parser.data = u;
	if (write_request(u, agent, o))
		return u;
	ws_upgrade_free(u);
	return NULL;
}

void
ws_upgrade_free(struct ws_upgrade *u)
{
	if (!u)
		return;
	if (u->request.p)
		explicit_bzero(u->request.p, u->request.n);
	buf_fini(&u->request);
	free(u);
}

/* --- the answer ------------------------------------------------------------------------------- */

static void
add(char *out, size_t size, const char *p, size_t n)
{
	size_t have = strlen(out);

	snprintf(out + have, size - have, "%.*s", (int)n, p);
}

static void
end_header(struct ws_upgrade *u)
{
	struct str name = str_from(u->name), value = str_from(u->value);

	if (u->in_value && str_ieq(name, STR("Upgrade")))
		u->upgrades = str_ieq(value, STR("websocket"));
	else if (u->in_value && str_ieq(name, STR("Sec-WebSocket-Accept")))
		u->accepted = str_eq(value, str_from(u->accept));
	u->in_value = false;
	u->name[0] = u->value[0] = '\0';
}

static int
on_field(http_parser *p, const char *at, size_t n)
{
	struct ws_upgrade *u = p->data;

	if (u->in_value)
		end_header(u);
	add(u->name, sizeof(u->name), at, n);
	return 0;
}

static int
on_value(http_parser *p, const char *at, size_t n)
{
	struct ws_upgrade *u = p->data;

	u->in_value = true;
	add(u->value, sizeof(u->value), at, n);
	return 0;
}

/* 1: there is no body to be read, whatever it says. */
static int
on_headers(http_parser *p)
{
	struct ws_upgrade *u = p->data;

	end_header(u);
	u->complete = true;
	return 1;
}

static const http_parser_settings settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers,
};

static enum upgrade_step
judge(const struct ws_upgrade *u)
{
	if (u->parser.status_code != 101)
		return UPGRADE_REFUSED;
	return u->parser.upgrade && u->upgrades && u->accepted ? UPGRADE_DONE : UPGRADE_BROKEN;
}

static enum upgrade_step
read_answer(struct ws_upgrade *u, struct http_call *call, struct str *left)
{
	for (;;) {
		ptrdiff_t got = http_read(call, u->in, sizeof(u->in));
		size_t parsed;

		if (got == HTTP_AGAIN)
			return UPGRADE_READ;
		if (got == HTTP_CLOSED)
			return UPGRADE_BROKEN;
		parsed = http_parser_execute(&u->parser, &settings, u->in, (size_t)got);
		if (u->complete) {
			*left = (struct str){u->in + parsed, (size_t)got - parsed};
			return judge(u);
		}
		u->n_in += parsed;
		if (HTTP_PARSER_ERRNO(&u->parser) != HPE_OK || u->n_in > ANSWER_MOST)
			return UPGRADE_BROKEN;
	}
}

enum upgrade_step
ws_upgrade_step(struct ws_upgrade *u, struct http_call *call, struct str *left)
{
	while (u->written < u->request.n) {
		ptrdiff_t put = http_write(
		    call, u->request.p + u->written, u->request.n - u->written);

		if (put == HTTP_AGAIN)
			return UPGRADE_WRITE;
		if (put == HTTP_CLOSED)
			return UPGRADE_BROKEN;
		u->written += (size_t)put;
	}
	return read_answer(u, call, left);
}

int
ws_upgrade_status(const struct ws_upgrade *u)
{
	return (int)u->parser.status_code;
}
