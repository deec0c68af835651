#include "gateway/http_url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "gateway/resolve.h"

enum { LINE_MOST = 8192 };

static bool
is_clean(const char *z)
{
	size_t n = 0;

	for (; z && z[n]; n++)
		if ((unsigned char)z[n] < 0x20 || z[n] == 0x7f || n > LINE_MOST)
			return false;
	return true;
}

static bool
part_is_set(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool there = curl_url_get(u, part, &text, 0) == CURLUE_OK && text;

	curl_free(text);
	return there;
}

static bool
part_is_one_of(CURLU *u, CURLUPart part, const char *const *list)
{
	char *text = NULL;
	bool found = false;

	if (curl_url_get(u, part, &text, 0) != CURLUE_OK)
		return false;
	for (; *list && !found; list++)
		found = strcmp(text, *list) == 0;
	curl_free(text);
	return found;
}

static bool
host_is_literal(CURLU *u)
{
	char *host = NULL, bare[RESOLVE_TEXT], out[RESOLVE_TEXT];
	bool literal = false;
	size_t n;

	if (curl_url_get(u, CURLUPART_HOST, &host, 0) != CURLUE_OK)
		return false;
	n = strlen(host);
	if (n > 2 && host[0] == '[' && n - 2 < sizeof(bare)) {
		snprintf(bare, sizeof(bare), "%.*s", (int)(n - 2), host + 1);
		literal = resolve_literal(bare, out);
	} else {
		literal = resolve_literal(host, out);
	}
	curl_free(host);
	return literal;
}

bool
http_url_is_good(const char *url, bool has_address)
{
	static const char *const schemes[] = {"http", "https", NULL};
	CURLU *u = curl_url();
	bool good;

	must(u != NULL);
	good = url && is_clean(url) && curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    part_is_one_of(u, CURLUPART_SCHEME, schemes) && !part_is_set(u, CURLUPART_USER) &&
	    !part_is_set(u, CURLUPART_PASSWORD) && (has_address || host_is_literal(u));
	curl_url_cleanup(u);
	return good;
}

/* An IPv6 address's zone follows a '%', which is "%25" in a URL (RFC 6874). */
static bool
bracketed(char *out, size_t size, const char *host)
{
	const char *zone = strchr(host, '%');
	int n;

	if (!strchr(host, ':') || host[0] == '[')
		n = snprintf(out, size, "%s", host);
	else if (zone)
		n = snprintf(out, size, "[%.*s%%25%s]", (int)(zone - host), host, zone + 1);
	else
		n = snprintf(out, size, "[%s]", host);
	return n > 0 && (size_t)n < size;
}

static bool
set_place(CURLU *u, const char *scheme, const char *host, int port)
{
	char text[300], number[16];

	snprintf(number, sizeof(number), "%d", port);
	return bracketed(text, sizeof(text), host) && strcspn(text, "/?#@\\ ") == strlen(text) &&
	    curl_url_set(u, CURLUPART_SCHEME, scheme, 0) == CURLUE_OK &&
	    curl_url_set(u, CURLUPART_HOST, text, 0) == CURLUE_OK &&
	    (port == 0 || curl_url_set(u, CURLUPART_PORT, number, 0) == CURLUE_OK);
}

static bool
set_path(CURLU *u, const char *prefix, const char *path)
{
	struct str p = str_from(prefix ? prefix : "");
	char text[2048];
	int n;

	while (p.n > 0 && p.p[0] == '/')
		p = (struct str){p.p + 1, p.n - 1};
	while (p.n > 0 && p.p[p.n - 1] == '/')
		p.n--;
	n = snprintf(text, sizeof(text), "%s%.*s%s", p.n > 0 ? "/" : "", STR_ARG(p), path);
	return n > 0 && (size_t)n < sizeof(text) && is_clean(text) && !strchr(text, '#') &&
	    curl_url_set(u, CURLUPART_PATH, text, 0) == CURLUE_OK;
}

bool
http_url(char *out, size_t size, const char *scheme, const char *host, int port, const char *prefix,
    const char *path)
{
	CURLU *u = curl_url();
	char *text = NULL;
	bool ok;

	must(u != NULL);
	ok = path[0] == '/' && is_clean(host) && set_place(u, scheme, host, port) &&
	    set_path(u, prefix, path) && curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK &&
	    strlen(text) < size && http_url_is_good(text, true);
	if (ok)
		snprintf(out, size, "%s", text);
	curl_free(text);
	curl_url_cleanup(u);
	return ok;
}

bool
http_escape(char *out, size_t size, struct str text)
{
	char *escaped;
	bool fits;

	if (text.n == 0 || text.n > LINE_MOST) {
		out[0] = '\0';
		return text.n == 0;
	}
	escaped = curl_easy_escape(NULL, text.p, (int)text.n);
	must(escaped != NULL);
	fits = strlen(escaped) < size;
	snprintf(out, size, "%s", fits ? escaped : "");
	curl_free(escaped);
	return fits;
}

bool
http_escape_path(char *out, size_t size, struct str path)
{
	size_t n = 0;
	bool more = true;

	while (more) {
		more = str_index(path, '/') >= 0;
		if (n + 2 > size || !http_escape(out + n, size - n, str_cut(&path, '/')))
			return false;
		n += strlen(out + n);
		if (!more)
			break;
		out[n++] = '/';
		out[n] = '\0';
	}
	return true;
}
