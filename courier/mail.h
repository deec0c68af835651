/* Mails through the operator's server, by libcurl: plain text and HTML of the same. */
#ifndef COURIER_MAIL_H
#define COURIER_MAIL_H

#include <curl/curl.h>

#include "base/uuid.h"
#include "courier/message.h"

struct mail_config {
	const char *url;  /* smtp:// or smtps://, with user and password; "": no mail is sent */
	const char *ca;   /* PEM that the server's certificate must chain to; "": the system's */
	const char *from; /* "SoLoPrint <print@example.org>", or the address alone */
};

/* What the handle needs as long as it is in use. */
struct mail {
	struct curl_slist *headers, *recipients;
	curl_mime *mime;
};

/* Can mails be sent with this? False is logged. */
bool mail_config_ok(const struct mail_config *c);

/* Puts the mail on a handle fresh from curl_easy_init. id: the same in each attempt, so that
 * receivers can tell. False: there is nobody to send it to, or no sender. mail_fini in any case. */
bool mail_prepare(CURL *h, struct mail *mail, struct arena *a, const struct mail_config *c,
    struct uuid id, const struct message *m, const struct str *to, size_t n_to);
void mail_fini(struct mail *mail);

/* Why it was not taken, as a code; NULL: it was. *permanent: the server said that it never will. */
const char *mail_verdict(CURL *h, CURLcode code, bool *permanent);

/* An unstructured header's text (RFC 2047 when it is not ASCII), folded, in the arena. */
struct str mail_words(struct arena *a, struct str text);
/* Is it an address that can stand in SMTP and in a header as it is? */
bool mail_address_ok(struct str s);

#endif
