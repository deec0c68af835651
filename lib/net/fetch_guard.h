/* The rules of fetch.h applied to a libcurl handle, for those who run their transfers themselves.
 */
#ifndef NET_FETCH_GUARD_H
#define NET_FETCH_GUARD_H

#include <curl/curl.h>

#include "net/fetch.h"

/* Of one transfer; must live as long as its handle is in use. */
struct fetch_guard {
	const struct fetch_rules *rules;
	bool blocked; /* an address was refused */
};

enum { FETCH_CONNECT_MS = 5000, FETCH_SLOW_BYTES = 1000, FETCH_SLOW_S = 20 };

/* Puts the URL and the rules on a handle fresh from curl_easy_init: https alone, no proxy, no
 * redirects, no cookies, no credentials, no decompression, a connection of its own, every address
 * checked before it is connected to and again before the request is sent. What it sets must not be
 * changed afterwards; method, body, headers, callbacks and limits of size and time are the
 * caller's. Redirects are the caller's loop: fetch_url_check, a new handle, fetch_prepare. */
void fetch_prepare(
    CURL *h, struct fetch_guard *g, const struct fetch_rules *rules, const struct fetch_url *url);

/* What libcurl's answer means under the guard; FETCH_OK says nothing about the HTTP status. */
enum fetch_status fetch_verdict(const struct fetch_guard *g, CURLcode code);

/* fetch_address_public, and none of this machine's own addresses. */
bool fetch_address_allowed(const struct fetch_rules *rules, const struct sockaddr *sa);
/* Networks of a list "192.0.2.0/24,2001:db8::1,name": is the address in one of them? */
bool fetch_networks_hold(const char *list, const struct sockaddr *sa);
/* Is every entry a network, or a name where those may stand? */
bool fetch_networks_ok(const char *list, bool names);

#endif
