#include "courier/mail.h"

#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/fetch_guard.h"

enum {
	ADDRESS_MOST = 254,
	WORD_BYTES = 42, /* with "=?UTF-8?B?" and "?=" 68 of the 75 that a word may have */
	LINE_MOST = 200, /* of ASCII, far below the 998 of a line */
	CONNECT_MS = 5000,
};

/* --- addresses -------------------------------------------------------------------------------- */

/* Letters, digits and what else stands there without quotes (RFC 5321), and beyond ASCII. */
bool
mail_address_ok(struct str s)
{
	ptrdiff_t at = str_index(s, '@');

	if (at <= 0 || (size_t)at + 1 >= s.n || s.n > ADDRESS_MOST || !str_utf8(s))
		return false;
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c <= ' ' || c == 0x7f || strchr("()<>[],;:\\\"", c))
			return false;
		if (c == '@' && (ptrdiff_t)i != at)
			return false;
	}
	return s.p[0] != '-';
}

/* "Name <address>" or "address". */
static bool
split_from(struct str from, struct str *name, struct str *address)
{
	ptrdiff_t open = str_index(from, '<');

	*name = STR_NONE;
	*address = str_trim(from);
	if (open < 0)
		return mail_address_ok(*address);
	if (address->p[address->n - 1] != '>')
		return false;
	*name = str_trim((struct str){from.p, (size_t)open});
	from = *address;
	open = str_index(from, '<');
	*address = (struct str){from.p + open + 1, from.n - (size_t)open - 2};
	return mail_address_ok(*address) && str_index(*name, '\n') < 0 &&
	    str_index(*name, '\r') < 0;
}

bool
mail_config_ok(const struct mail_config *c)
{
	struct str name, address;

	if (!*c->url)
		return true;
	if (strncasecmp(c->url, "smtp://", 7) != 0 && strncasecmp(c->url, "smtps://", 8) != 0) {
		log_error("setting is malformed", LOG_Z("name", "SOLOPRINT_SMTP_URL"));
		return false;
	}
	if (!split_from(str_from(c->from), &name, &address)) {
		log_error("setting is malformed", LOG_Z("name", "SOLOPRINT_MAIL_FROM"));
		return false;
	}
	return true;
}

/* --- headers ---------------------------------------------------------------------------------- */

static bool
plain_ascii(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	}
	return s.n <= LINE_MOST && !memmem(s.p, s.n, "=?", 2);
}

/* One encoded word of whole characters; the bytes it took. */
static size_t
put_word(struct buf *b, struct str s)
{
	char text[(WORD_BYTES + 2) / 3 * 4 + 1];
	size_t n = 0, step;

	while (n < s.n && (step = str_utf8_at(s, n)) != 0 && n + step <= WORD_BYTES)
		n += step;
	EVP_EncodeBlock((unsigned char *)text, (const unsigned char *)s.p, (int)n);
	if (n)
		buf_fmt(b, "=?UTF-8?B?%s?=", text);
	return n;
}

struct str
mail_words(struct arena *a, struct str text)
{
	struct buf b;
	struct str out;
	size_t n;

	if (plain_ascii(text))
		return str_dup(a, text);
	buf_init(&b, 64 << 10);
	while (text.n && (n = put_word(&b, text)) > 0) {
		text = (struct str){text.p + n, text.n - n};
		if (text.n)
			buf_str(&b, STR("\r\n "));
	}
	out = str_dup(a, buf_view(&b));
	buf_fini(&b);
	return out;
}

static void
put_header(struct mail *mail, struct arena *a, const char *name, struct str value)
{
	struct str line = str_fmt(a, "%s: %.*s", name, STR_ARG(value));
	struct curl_slist *more = curl_slist_append(mail->headers, line.p);

	must(more != NULL);
	mail->headers = more;
}

/* RFC 5322, 3.3. */
static struct str
date_now(struct arena *a)
{
	time_t now = (time_t)clock_unix_s();
	char text[64];
	struct tm tm;

	must(gmtime_r(&now, &tm) != NULL);
	must(strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S +0000", &tm) > 0);
	return str_dup(a, str_from(text));
}

/* Those that can be sent to, a line each. */
static struct str
list_of(struct arena *a, const struct curl_slist *recipients)
{
	struct str out = STR("");

	for (; recipients; recipients = recipients->next)
		out = str_fmt(a, "%.*s%s%s", STR_ARG(out), out.n ? ",\r\n " : "", recipients->data);
	return out;
}

static struct str
from_header(struct arena *a, struct str name, struct str address)
{
	if (!name.n)
		return address;
	return str_fmt(a, "%.*s <%.*s>", STR_ARG(mail_words(a, name)), STR_ARG(address));
}

static void
put_headers(struct mail *mail, struct arena *a, struct str from, struct str address, struct uuid id,
    const struct message *m)
{
	char text[UUID_TEXT_LEN + 1];
	struct str domain = address;

	str_cut(&domain, '@');
	uuid_text(id, text);
	put_header(mail, a, "From", from);
	put_header(mail, a, "To", list_of(a, mail->recipients));
	put_header(mail, a, "Subject", mail_words(a, m->subject));
	put_header(mail, a, "Date", date_now(a));
	put_header(mail, a, "Message-ID", str_fmt(a, "<%s@%.*s>", text, STR_ARG(domain)));
	put_header(mail, a, "Auto-Submitted", STR("auto-generated"));
	put_header(mail, a, "Content-Type", STR("multipart/alternative"));
}

/* --- the mail --------------------------------------------------------------------------------- */

static void
add_part(curl_mime *mime, struct str text, const char *type)
{
	curl_mimepart *part = curl_mime_addpart(mime);

	must(part && curl_mime_data(part, text.p, text.n) == CURLE_OK);
	must(curl_mime_type(part, type) == CURLE_OK);
	must(curl_mime_encoder(part, "quoted-printable") == CURLE_OK);
}

/* Who has a password goes on with TLS only. */
static void
set_server(CURL *h, const struct mail_config *c)
{
	const char *at = strrchr(c->url, '@');

	curl_easy_setopt(h, CURLOPT_URL, c->url);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(h, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	curl_easy_setopt(h, CURLOPT_USE_SSL, (long)(at ? CURLUSESSL_ALL : CURLUSESSL_TRY));
	curl_easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (*c->ca) {
		curl_easy_setopt(h, CURLOPT_CAINFO, c->ca);
		curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
	}
}

static void
add_recipients(struct mail *mail, struct arena *a, const struct str *to, size_t n_to)
{
	for (size_t i = 0; i < n_to; i++) {
		struct curl_slist *more;

		if (!mail_address_ok(to[i]))
			continue;
		more = curl_slist_append(mail->recipients, str_z(a, to[i]));
		must(more != NULL);
		mail->recipients = more;
	}
}

bool
mail_prepare(CURL *h, struct mail *mail, struct arena *a, const struct mail_config *c,
    struct uuid id, const struct message *m, const struct str *to, size_t n_to)
{
	struct str name, address;

	*mail = (struct mail){0};
	add_recipients(mail, a, to, n_to);
	if (!mail->recipients || !split_from(str_from(c->from), &name, &address))
		return false;
	set_server(h, c);
	put_headers(mail, a, from_header(a, name, address), address, id, m);
	mail->mime = curl_mime_init(h);
	must(mail->mime != NULL);
	add_part(mail->mime, message_text(a, m), "text/plain; charset=utf-8");
	add_part(mail->mime, message_html(a, m), "text/html; charset=utf-8");
	curl_easy_setopt(h, CURLOPT_MAIL_FROM, str_fmt(a, "<%.*s>", STR_ARG(address)).p);
	curl_easy_setopt(h, CURLOPT_MAIL_RCPT, mail->recipients);
	curl_easy_setopt(h, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
	curl_easy_setopt(h, CURLOPT_HTTPHEADER, mail->headers);
	curl_easy_setopt(h, CURLOPT_MIMEPOST, mail->mime);
	return true;
}

void
mail_fini(struct mail *mail)
{
	curl_slist_free_all(mail->headers);
	curl_slist_free_all(mail->recipients);
	curl_mime_free(mail->mime);
	*mail = (struct mail){0};
}

const char *
mail_verdict(CURL *h, CURLcode code, bool *permanent)
{
	static const char *const reasons[] = {
	    [FETCH_DNS_FAILED] = "dns_failed",
	    [FETCH_CONNECT_FAILED] = "connect_failed",
	    [FETCH_TLS_FAILED] = "tls_failed",
	    [FETCH_TIMEOUT] = "timeout",
	};
	const struct fetch_guard none = {0};
	enum fetch_status status = fetch_verdict(&none, code);
	long reply = 0;

	*permanent = false;
	if (code == CURLE_OK)
		return NULL;
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &reply);
	if (code == CURLE_USE_SSL_FAILED)
		return "tls_failed";
	if (status < sizeof(reasons) / sizeof(reasons[0]) && reasons[status])
		return reasons[status];
	if (code == CURLE_LOGIN_DENIED)
		return "mail_login_failed";
	*permanent = reply / 100 == 5;
	return reply / 100 == 5 ? "mail_refused"
	    : reply / 100 == 4  ? "mail_deferred"
				: "broken_answer";
}
