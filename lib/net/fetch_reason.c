/* What a fetch's end is called. */
#include "base/arena.h"
#include "net/fetch.h"

static const struct {
	struct str code, sentence;
	bool transient;
} reasons[] = {
    [FETCH_OK] = {STR_INIT("ok"), STR_INIT("It was fetched."), false},
    [FETCH_BAD_URL] = {STR_INIT("bad_url"),
	STR_INIT(
	    "The URL, or one that it redirects to, is not an https URL as it is allowed here."),
	false},
    [FETCH_BLOCKED] = {STR_INIT("blocked_address"),
	STR_INIT("The URL, or one that it redirects to, does not lead to a public address."),
	false},
    [FETCH_DNS_FAILED] = {STR_INIT("dns_failed"),
	STR_INIT("The host's name could not be resolved."), true},
    [FETCH_CONNECT_FAILED] = {STR_INIT("connect_failed"),
	STR_INIT("The server could not be connected to."), true},
    [FETCH_TLS_FAILED] = {STR_INIT("tls_failed"),
	STR_INIT("The server's certificate or encryption is not acceptable."), false},
    [FETCH_TIMEOUT] = {STR_INIT("timeout"), STR_INIT("The server took too long."), true},
    [FETCH_TOO_LARGE] = {STR_INIT("too_large"), STR_INIT("The file is larger than allowed."),
	false},
    [FETCH_TOO_MANY_REDIRECTS] = {STR_INIT("too_many_redirects"),
	STR_INIT("The server redirected too often."), false},
    [FETCH_ENCODED] = {STR_INIT("encoded_answer"),
	STR_INIT("The server sent a compressed answer although none was asked for."), false},
    [FETCH_BROKEN] = {STR_INIT("broken_answer"),
	STR_INIT("The server's answer broke off or was not HTTP."), true},
    [FETCH_CANCELLED] = {STR_INIT("cancelled"), STR_INIT("It was cancelled."), false},
};

struct str
fetch_reason(struct arena *a, const struct fetch_result *r)
{
	if (r->status == FETCH_HTTP_ERROR)
		return str_fmt(a, "http_%03d", r->http_status);
	return reasons[r->status].code;
}

struct str
fetch_sentence(struct arena *a, const struct fetch_result *r)
{
	if (r->status == FETCH_HTTP_ERROR)
		return str_fmt(a, "The server answered with status %d.", r->http_status);
	return reasons[r->status].sentence;
}

bool
fetch_transient(const struct fetch_result *r)
{
	if (r->status == FETCH_HTTP_ERROR)
		return r->http_status >= 500 || r->http_status == 408 || r->http_status == 429;
	return reasons[r->status].transient;
}
