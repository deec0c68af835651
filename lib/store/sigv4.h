/* AWS Signature Version 4 for S3: requests signed in a header or in their query. No network, no
 * state. Names and values are given as they are; encoding is done here, and what is signed is what
 * has to be sent, byte for byte. */
#ifndef STORE_SIGV4_H
#define STORE_SIGV4_H

#include "base/str.h"

struct arena;

struct sigv4_key {
	struct str id, secret, region;
};

struct sigv4_pair {
	struct str name, value;
};

enum { SIGV4_PAIRS_MOST = 24 };

struct sigv4_request {
	const char *method;
	struct str path; /* from the slash on, not encoded */
	const struct sigv4_pair *query;
	size_t n_query;
	/* Lower-case names, values without runs of blanks; all are signed, host must be there. */
	const struct sigv4_pair *headers;
	size_t n_headers;
	struct str payload; /* SHA-256 in hexadecimal; STR_NONE: the body is not signed */
	int64_t at_s;       /* Unix time */
};

/* The path with everything encoded but unreserved characters and slashes. */
struct str sigv4_path(struct arena *a, struct str path);
/* "a=1&b=2", sorted and encoded; "" when there is none. */
struct str sigv4_query(struct arena *a, const struct sigv4_pair *query, size_t n);
/* "20130524T000000Z", the value of x-amz-date. */
struct str sigv4_date(struct arena *a, int64_t at_s);

/* The Authorization header's value. x-amz-date and x-amz-content-sha256 must be among the headers.
 */
struct str sigv4_authorization(
    struct arena *a, const struct sigv4_key *key, const struct sigv4_request *r);
/* The whole query string, the signature last: good until at_s + expires_s. */
struct str sigv4_presign(
    struct arena *a, const struct sigv4_key *key, const struct sigv4_request *r, int64_t expires_s);

#endif
