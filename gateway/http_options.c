/* What libcurl is told of a call. */
#include <openssl/x509_vfy.h>
#include <string.h>

#include "gateway/http_body.h"
#include "gateway/http_call.h"

enum {
	CONNECT_MS = 10000,
	TOTAL_MS = 30000,
	STALL_MS = 30000,
	SMALL_BUFFER = 8 * 1024, /* per running call; there may be thousands */
	STREAM_BUFFER = 64 * 1024
};

/* The same for every call. A handle may have served another call, so nothing is left as it is. */
static const struct {
	CURLoption option;
	long value;
} fixed[] = {
    {CURLOPT_NOSIGNAL, 1},
    {CURLOPT_FOLLOWLOCATION, 0},
    {CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1},
    {CURLOPT_NETRC, CURL_NETRC_IGNORED},
    {CURLOPT_TCP_KEEPALIVE, 1},
    {CURLOPT_TCP_KEEPIDLE, 30},
    {CURLOPT_TCP_KEEPINTVL, 10},
    {CURLOPT_SSL_VERIFYPEER, 1},
    {CURLOPT_SSL_VERIFYHOST, 2},
    {CURLOPT_LOW_SPEED_LIMIT, 1},
    {CURLOPT_UPLOAD_BUFFERSIZE, 64 * 1024},
};

static bool
set_fixed(CURL *h)
{
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		if (curl_easy_setopt(h, fixed[i].option, fixed[i].value) != CURLE_OK)
			return false;
	return curl_easy_setopt(h, CURLOPT_PROXY, "") == CURLE_OK &&
	    curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
}

static long
limit(int given, int usual)
{
	return given == HTTP_NEVER ? 0 : given > 0 ? given : usual;
}

static void
set_times(const struct http_call *call)
{
	const struct http_request *r = &call->request;
	bool open_end = r->file || call->connect_only;

	curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, limit(r->connect_ms, CONNECT_MS));
	curl_easy_setopt(
	    call->easy, CURLOPT_TIMEOUT_MS, limit(r->total_ms, open_end ? 0 : TOTAL_MS));
	curl_easy_setopt(
	    call->easy, CURLOPT_LOW_SPEED_TIME, (limit(r->stall_ms, STALL_MS) + 999) / 1000);
}

static void
set_client(const struct http_call *call)
{
	struct http_client *c = call->client;

	curl_easy_setopt(call->easy, CURLOPT_USERAGENT, c->agent);
	curl_easy_setopt(call->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, c->no_reuse ? 1L : 0L);
	curl_easy_setopt(
	    call->easy, CURLOPT_FRESH_CONNECT, c->no_reuse || call->request.fresh ? 1L : 0L);
	curl_easy_setopt(call->easy, CURLOPT_UNIX_SOCKET_PATH, c->unix_socket);
	if (c->ca_file) {
		curl_easy_setopt(call->easy, CURLOPT_CAINFO, c->ca_file);
		curl_easy_setopt(call->easy, CURLOPT_CAPATH, NULL);
	}
	if (c->user) {
		curl_easy_setopt(call->easy, CURLOPT_HTTPAUTH, CURLAUTH_DIGEST);
		curl_easy_setopt(call->easy, CURLOPT_USERNAME, c->user);
		curl_easy_setopt(call->easy, CURLOPT_PASSWORD, c->secret ? c->secret : "");
	}
	curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETFUNCTION, http_open_socket);
	curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETDATA, c);
	curl_easy_setopt(call->easy, CURLOPT_CLOSESOCKETFUNCTION, http_close_socket);
	curl_easy_setopt(call->easy, CURLOPT_CLOSESOCKETDATA, c);
}

static bool
is(const char *method, const char *what)
{
	return strcmp(method, what) == 0;
}

/* A request with a body of known length, empty ones included. */
static void
set_bytes(const struct http_call *call)
{
	const struct http_request *r = &call->request;

	curl_easy_setopt(call->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.n);
	curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, r->body.n > 0 ? r->body.p : "");
	if (!is(r->method, "POST"))
		curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, r->method);
}

static bool
set_form(struct http_call *call)
{
	call->mime = http_form_new(call);
	if (!call->mime)
		return false;
	if (curl_easy_setopt(call->easy, CURLOPT_MIMEPOST, call->mime) != CURLE_OK)
		return false;
	if (!is(call->request.method, "POST"))
		curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, call->request.method);
	return true;
}

static bool
set_body(struct http_call *call)
{
	const struct http_request *r = &call->request;
	CURL *h = call->easy;

	curl_easy_setopt(h, CURLOPT_MIMEPOST, NULL);
	curl_easy_setopt(h, CURLOPT_POSTFIELDS, NULL);
	curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, NULL);
	curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)-1);
	curl_easy_setopt(h, CURLOPT_HTTPGET, 1L);
	if (r->file_field || r->n_fields > 0)
		return set_form(call);
	if (r->file) {
		curl_easy_setopt(h, CURLOPT_UPLOAD, 1L);
		curl_easy_setopt(h, CURLOPT_INFILESIZE_LARGE, (curl_off_t)r->file_size);
		if (!is(r->method, "PUT"))
			curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
		return true;
	}
	if (is(r->method, "GET"))
		return true;
	if (is(r->method, "HEAD"))
		curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
	else if (r->body.n > 0 || is(r->method, "POST") || is(r->method, "PUT") ||
	    is(r->method, "PATCH"))
		set_bytes(call);
	else
		curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, r->method);
	return true;
}

static void
set_callbacks(struct http_call *call)
{
	CURL *h = call->easy;

	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, call->words);
	curl_easy_setopt(h, CURLOPT_PRIVATE, call);
	curl_easy_setopt(h, CURLOPT_READFUNCTION, http_on_read);
	curl_easy_setopt(h, CURLOPT_READDATA, call);
	curl_easy_setopt(h, CURLOPT_SEEKFUNCTION, http_on_seek);
	curl_easy_setopt(h, CURLOPT_SEEKDATA, call);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, http_on_body);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(h, CURLOPT_PREREQFUNCTION, http_on_request);
	curl_easy_setopt(h, CURLOPT_PREREQDATA, call);
	curl_easy_setopt(h, CURLOPT_HEADERFUNCTION, http_on_header);
	curl_easy_setopt(h, CURLOPT_HEADERDATA, call);
	curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, http_on_progress);
	curl_easy_setopt(h, CURLOPT_XFERINFODATA, call);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, call->request.sent ? 0L : 1L);
	curl_easy_setopt(
	    h, CURLOPT_BUFFERSIZE, call->request.chunk ? (long)STREAM_BUFFER : (long)SMALL_BUFFER);
}

bool
http_call_options(struct http_call *call)
{
	CURL *h = call->easy;

	if (!set_fixed(h) || curl_easy_setopt(h, CURLOPT_URL, call->url) != CURLE_OK ||
	    !set_body(call))
		return false;
	set_callbacks(call);
	set_times(call);
	set_client(call);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, call->headers);
	curl_easy_setopt(h, CURLOPT_CONNECT_TO, call->connect_to);
	curl_easy_setopt(h, CURLOPT_CONNECT_ONLY, call->connect_only ? 1L : 0L);
	return true;
}

/* --- faults ----------------------------------------------------------------------------------- */

static const struct {
	CURLcode code;
	enum http_fault fault;
} faults[] = {
    {CURLE_OK, HTTP_OK},
    {CURLE_COULDNT_CONNECT, HTTP_UNREACHABLE},
    {CURLE_SSL_CONNECT_ERROR, HTTP_TLS},
    {CURLE_USE_SSL_FAILED, HTTP_TLS},
    {CURLE_SSL_CACERT_BADFILE, HTTP_UNTRUSTED},
    {CURLE_SSL_ISSUER_ERROR, HTTP_UNTRUSTED},
    {CURLE_FILESIZE_EXCEEDED, HTTP_TOO_LARGE},
    {CURLE_URL_MALFORMAT, HTTP_UNUSABLE},
    {CURLE_COULDNT_RESOLVE_HOST, HTTP_UNUSABLE},
};

/* The chain was good: then it was the name. */
static enum http_fault
untrusted(CURL *h)
{
	long verdict = 0;

	curl_easy_getinfo(h, CURLINFO_SSL_VERIFYRESULT, &verdict);
	return verdict <= X509_V_ERR_UNSPECIFIED ? HTTP_OTHER_HOST : HTTP_UNTRUSTED;
}

static enum http_fault
timed_out(const struct http_call *call)
{
	curl_off_t tcp = 0, ready = 0;

	curl_easy_getinfo(call->easy, CURLINFO_CONNECT_TIME_T, &tcp);
	curl_easy_getinfo(call->easy, CURLINFO_PRETRANSFER_TIME_T, &ready);
	return tcp == 0 || (ready == 0 && call->connect_only) ? HTTP_UNREACHABLE : HTTP_TIMEOUT;
}

enum http_fault
http_call_fault(const struct http_call *call, CURLcode rc)
{
	if (call->early != HTTP_OK)
		return call->early;
	if (rc == CURLE_PEER_FAILED_VERIFICATION)
		return untrusted(call->easy);
	if (rc == CURLE_OPERATION_TIMEDOUT)
		return timed_out(call);
	for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		if (faults[i].code == rc)
			return faults[i].fault;
	return HTTP_BROKEN;
}

const char *
http_fault_name(enum http_fault f)
{
	static const char *const names[] = {
	    [HTTP_OK] = "ok",
	    [HTTP_UNREACHABLE] = "unreachable",
	    [HTTP_TLS] = "tls",
	    [HTTP_UNTRUSTED] = "untrusted",
	    [HTTP_OTHER_HOST] = "other_host",
	    [HTTP_TIMEOUT] = "timeout",
	    [HTTP_BROKEN] = "broken",
	    [HTTP_TOO_LARGE] = "too_large",
	    [HTTP_FILE] = "file",
	    [HTTP_STOPPED] = "stopped",
	    [HTTP_UNUSABLE] = "unusable",
	};

	return names[f];
}
