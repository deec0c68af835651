#include "net/fetch_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

static bool
allowed(struct fetch_guard *g, const struct sockaddr *sa)
{
	bool yes = fetch_address_allowed(g->rules, sa);

	g->blocked |= !yes;
	return yes;
}

/* The authority: sees every address that is about to be connected to. */
static curl_socket_t
open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *to)
{
	(void)purpose;
	if (!allowed(ctx, &to->addr))
		return CURL_SOCKET_BAD;
	return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

/* A connection that was there already did not pass open_socket. */
static int
before_request(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct sockaddr_storage sa = {0};
	bool is6 = strchr(ip, ':') != NULL;
	void *to = is6 ? (void *)&((struct sockaddr_in6 *)(void *)&sa)->sin6_addr
		       : (void *)&((struct sockaddr_in *)(void *)&sa)->sin_addr;

	(void)local_ip;
	(void)port;
	(void)local_port;
	sa.ss_family = is6 ? AF_INET6 : AF_INET;
	if (inet_pton(sa.ss_family, ip, to) == 1 && allowed(ctx, (struct sockaddr *)&sa))
		return CURL_PREREQFUNC_OK;
	return CURL_PREREQFUNC_ABORT;
}

static void
set_alone(CURL *h)
{
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(h, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(h, CURLOPT_UNRESTRICTED_AUTH, 0L);
	curl_easy_setopt(h, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(h, CURLOPT_ACCEPT_ENCODING, NULL);
	curl_easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(h, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(h, CURLOPT_USERAGENT, "SoLoPrint");
}

/* The certificates in one file: libcurl reads those once for many connections, but a folder of them
 * anew for each. */
static void
set_tls(CURL *h, const struct fetch_rules *rules)
{
	const curl_version_info_data *libcurl = curl_version_info(CURLVERSION_NOW);

	curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 2L);
	if (rules->ca_file && *rules->ca_file)
		curl_easy_setopt(h, CURLOPT_CAINFO, rules->ca_file);
	else if (!libcurl->cainfo)
		return;
	curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
}

static void
set_limits(CURL *h)
{
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)FETCH_CONNECT_MS);
	curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, (long)FETCH_SLOW_BYTES);
	curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)FETCH_SLOW_S);
}

void
fetch_prepare(
    CURL *h, struct fetch_guard *g, const struct fetch_rules *rules, const struct fetch_url *url)
{
	const char *protocols = url->http ? "http" : "https";

	*g = (struct fetch_guard){.rules = rules};
	curl_easy_setopt(h, CURLOPT_URL, url->text.p);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, protocols);
	curl_easy_setopt(h, CURLOPT_REDIR_PROTOCOLS_STR, protocols);
	set_alone(h);
	set_tls(h, rules);
	set_limits(h);
	curl_easy_setopt(h, CURLOPT_OPENSOCKETFUNCTION, open_socket);
	curl_easy_setopt(h, CURLOPT_OPENSOCKETDATA, g);
	curl_easy_setopt(h, CURLOPT_PREREQFUNCTION, before_request);
	curl_easy_setopt(h, CURLOPT_PREREQDATA, g);
}

enum fetch_status
fetch_verdict(const struct fetch_guard *g, CURLcode code)
{
	static const struct {
		CURLcode code;
		enum fetch_status status;
	} known[] = {
	    {CURLE_OK, FETCH_OK},
	    {CURLE_URL_MALFORMAT, FETCH_BAD_URL},
	    {CURLE_COULDNT_RESOLVE_HOST, FETCH_DNS_FAILED},
	    {CURLE_COULDNT_CONNECT, FETCH_CONNECT_FAILED},
	    {CURLE_OPERATION_TIMEDOUT, FETCH_TIMEOUT},
	    {CURLE_SSL_CONNECT_ERROR, FETCH_TLS_FAILED},
	    {CURLE_PEER_FAILED_VERIFICATION, FETCH_TLS_FAILED},
	    {CURLE_SSL_CIPHER, FETCH_TLS_FAILED},
	    {CURLE_SSL_CACERT_BADFILE, FETCH_TLS_FAILED},
	    {CURLE_SSL_ISSUER_ERROR, FETCH_TLS_FAILED},
	    {CURLE_SSL_INVALIDCERTSTATUS, FETCH_TLS_FAILED},
	    {CURLE_FILESIZE_EXCEEDED, FETCH_TOO_LARGE},
	    {CURLE_ABORTED_BY_CALLBACK, FETCH_CANCELLED},
	};

	if (code != CURLE_OK && g->blocked)
		return FETCH_BLOCKED;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].code == code)
			return known[i].status;
	}
	return FETCH_BROKEN;
}
