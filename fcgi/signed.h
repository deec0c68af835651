/* URLs that this server signs and later is asked with. A URL is good only as it was given out, to
 * the byte. */
#ifndef FCGI_SIGNED_H
#define FCGI_SIGNED_H

#include "auth/sign.h"
#include "req.h"

/* The whole URL, in the arena. */
struct str signed_url(const struct req *r, const struct sign_claim *c);

/* What a request to a signed URL carries, as text; STR_NONE when absent. extra: size, disposition,
 * fps or what a stream is of, by purpose. */
struct signed_query {
	struct str org, exp, extra, sig;
	struct str key, after; /* SIGN_CAMERA, SIGN_STREAM; SIGN_STREAM */
};
/* Judges the request and adds the statement that lets its transaction speak for the organisation,
 * or for the key that the URL stands for; *c is what may be done. err_invalid_signature,
 * err_signature_expired. */
const struct err *signed_enter(
    struct req *r, enum sign_purpose purpose, const struct signed_query *in, struct sign_claim *c);
/* That statement once more, for another transaction of the same request (query_again). */
void signed_enter_again(struct req *r, const struct sign_claim *c);

#endif
