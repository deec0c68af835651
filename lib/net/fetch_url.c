/* The policy on URLs. libcurl's parser is the only one; what is looked at before it only narrows
 * what it gets. */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "net/fetch_guard.h"

enum { URL_MOST = 8192 };

static const int ports[] = {443, 80, 8443};

/* A part as text in the arena; STR_NONE when the URL has none. */
static struct str
part(struct arena *a, CURLU *u, CURLUPart what, unsigned flags)
{
	char *text;
	struct str copy;

	if (curl_url_get(u, what, &text, flags) != CURLUE_OK)
		return STR_NONE;
	copy = str_dup(a, str_from(text));
	curl_free(text);
	return copy;
}

/* Printable ASCII without what parsers disagree about. */
static bool
plain(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '\\')
			return false;
	}
	return true;
}

/* scheme://x, with just two slashes. */
static bool
scheme_ok(const struct fetch_rules *rules, struct str url, bool *http)
{
	struct str scheme = str_cut(&url, ':');

	*http = str_ieq(scheme, STR("http"));
	if (!*http && !str_ieq(scheme, STR("https")))
		return false;
	return (!*http || rules->http) && str_starts(url, STR("//")) && url.n > 2 &&
	    url.p[2] != '/';
}

static bool
has_any(struct arena *a, CURLU *u, const CURLUPart *parts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (part(a, u, parts[i], 0).p)
			return true;
	}
	return false;
}

static bool
port_ok(struct arena *a, CURLU *u, int *out)
{
	int64_t port;

	if (!str_to_i64(part(a, u, CURLUPART_PORT, CURLU_DEFAULT_PORT), &port))
		return false;
	for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++) {
		if (ports[i] == port) {
			*out = ports[i];
			return true;
		}
	}
	return false;
}

/* An address written as such; false when the host is a name. */
static bool
literal(struct str host, struct sockaddr_storage *out)
{
	char z[INET6_ADDRSTRLEN];
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
	bool is6 = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
	struct str s = is6 ? (struct str){host.p + 1, host.n - 2} : host;

	memset(out, 0, sizeof(*out));
	if (!s.n || s.n >= sizeof(z))
		return false;
	memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	out->ss_family = is6 ? AF_INET6 : AF_INET;
	return inet_pton(out->ss_family, z, is6 ? (void *)&v6->sin6_addr : &v4->sin_addr) == 1;
}

/* Letters, digits, hyphens and underscores between single dots, at least one dot, and a last label
 * that could not be a number: resolvers take "0x7f.1" and "127.1" for addresses. */
static bool
name_ok(struct str host)
{
	struct str label = STR_NONE;
	size_t n_labels = 0;

	if (host.n > 253)
		return false;
	while (host.p) {
		label = str_cut(&host, '.');
		n_labels++;
		if (!label.n || label.n > 63)
			return false;
		for (size_t i = 0; i < label.n; i++) {
			if (!isalnum((unsigned char)label.p[i]) && label.p[i] != '-' &&
			    label.p[i] != '_')
				return false;
		}
	}
	return n_labels > 1 && isalpha((unsigned char)label.p[0]);
}

/* Is it the host of the service's own URL? */
static bool
own_host(const struct fetch_rules *rules, struct arena *a, struct str host)
{
	CURLU *u;
	bool same;

	if (!rules->own_url || !*rules->own_url)
		return false;
	u = curl_url();
	same = u && curl_url_set(u, CURLUPART_URL, rules->own_url, 0) == CURLUE_OK &&
	    str_ieq(part(a, u, CURLUPART_HOST, 0), host);
	curl_url_cleanup(u);
	return same;
}

static bool
name_denied(const struct fetch_rules *rules, struct arena *a, struct str host)
{
	struct str rest = str_from(rules->deny);

	while (rest.n) {
		if (str_ieq(str_trim(str_cut(&rest, ',')), host))
			return true;
	}
	return own_host(rules, a, host);
}

static enum fetch_status
judge_host(const struct fetch_rules *rules, struct arena *a, struct str host)
{
	struct sockaddr_storage sa;

	if (name_denied(rules, a, host))
		return FETCH_BLOCKED;
	if (literal(host, &sa))
		return fetch_address_public(rules, (struct sockaddr *)&sa) ? FETCH_OK
									   : FETCH_BLOCKED;
	return name_ok(host) ? FETCH_OK : FETCH_BAD_URL;
}

static struct str
lower(struct str s, char *to)
{
	for (size_t i = 0; i < s.n; i++)
		to[i] = (char)tolower((unsigned char)s.p[i]);
	to[s.n] = '\0';
	return (struct str){to, s.n};
}

static struct str
last_segment(struct arena *a, CURLU *u)
{
	struct str path = part(a, u, CURLUPART_PATH, 0);
	const char *slash = path.n ? memrchr(path.p, '/', path.n) : NULL;
	char *text;
	int n;
	struct str name;

	if (!slash || slash + 1 == path.p + path.n)
		return STR_NONE;
	text = curl_easy_unescape(NULL, slash + 1, (int)(path.p + path.n - slash - 1), &n);
	if (!text)
		return STR_NONE;
	name = fetch_filename(a, (struct str){text, (size_t)n});
	curl_free(text);
	return name;
}

static enum fetch_status
examine(const struct fetch_rules *rules, struct arena *a, CURLU *u, struct fetch_url *out)
{
	static const CURLUPart refused[] = {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS,
	    CURLUPART_FRAGMENT, CURLUPART_ZONEID};
	struct str host = part(a, u, CURLUPART_HOST, 0);

	if (has_any(a, u, refused, sizeof(refused) / sizeof(refused[0])) || !host.n ||
	    !port_ok(a, u, &out->port))
		return FETCH_BAD_URL;
	out->host = lower(host, arena_alloc(a, host.n + 1));
	out->text = part(a, u, CURLUPART_URL, 0);
	out->filename = last_segment(a, u);
	return out->text.n ? judge_host(rules, a, out->host) : FETCH_BAD_URL;
}

enum fetch_status
fetch_url_check(
    const struct fetch_rules *rules, struct arena *a, struct str url, struct fetch_url *out)
{
	CURLU *u;
	enum fetch_status status = FETCH_BAD_URL;

	memset(out, 0, sizeof(*out));
	if (url.n > URL_MOST || !plain(url) || str_index(url, '#') >= 0 ||
	    !scheme_ok(rules, url, &out->http))
		return FETCH_BAD_URL;
	u = curl_url();
	if (u && curl_url_set(u, CURLUPART_URL, str_z(a, url), 0) == CURLUE_OK)
		status = examine(rules, a, u, out);
	curl_url_cleanup(u);
	return status;
}
