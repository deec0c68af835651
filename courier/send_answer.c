/* What became of a request, and how it is told to the database. */
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/clock.h"
#include "courier/send.h"

enum { RETRY_AFTER_MOST = 24 * 3600, RESULT_MOST = 16 << 10, GONE = 410 };

int64_t
send_retry_after(struct str value, int64_t now_s)
{
	char z[64];
	struct str s = str_trim(value);
	int64_t seconds;

	if (!s.n || s.n >= sizeof(z))
		return -1;
	if (!str_to_i64(s, &seconds)) {
		time_t at;

		memcpy(z, s.p, s.n);
		z[s.n] = '\0';
		at = curl_getdate(z, NULL);
		if (at < 0)
			return -1;
		seconds = at > now_s ? at - now_s : 0;
	}
	if (seconds < 0)
		return -1;
	return seconds < RETRY_AFTER_MOST ? seconds : RETRY_AFTER_MOST;
}

/* text/…, JSON, XML and forms, whatever follows the semicolon. */
static bool
is_text(const char *content_type)
{
	static const char *const whole[] = {"application/json", "application/xml",
	    "application/javascript", "application/x-www-form-urlencoded"};
	struct str rest = str_from(content_type), type = str_trim(str_cut(&rest, ';'));

	if (type.n > 5 && strncasecmp(type.p, "text/", 5) == 0)
		return true;
	if (type.n > 5 &&
	    (strncasecmp(type.p + type.n - 5, "+json", 5) == 0 ||
		strncasecmp(type.p + type.n - 4, "+xml", 4) == 0))
		return true;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		if (str_ieq(type, str_from(whole[i])))
			return true;
	return false;
}

struct str
send_shown(const char *content_type, struct str bytes)
{
	size_t n = 0, step;

	if (!content_type || !is_text(content_type) || !bytes.n)
		return STR_NONE;
	while (n < bytes.n && (step = str_utf8_at(bytes, n)) != 0) {
		if (!bytes.p[n])
			return STR_NONE;
		n += step;
	}
	/* The last character may have been cut in two. */
	if (bytes.n - n > 3 || (n < bytes.n && bytes.n < SEND_HEAD))
		return STR_NONE;
	return n ? (struct str){bytes.p, n} : STR_NONE;
}

/* --- HTTP ------------------------------------------------------------------------------------- */

/* A header's first value; STR_NONE. Borrowed until the handle goes. */
static struct str
header(CURL *h, const char *name)
{
	struct curl_header *found;

	if (curl_easy_header(h, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
		return STR_NONE;
	return str_from(found->value);
}

/* Will no other attempt of the same end better? Receivers of webhooks may be mended; what a
 * messenger does not take once it will not take later. */
static bool
hopeless(const struct delivery *d, int status)
{
	if (!d->message)
		return status == GONE;
	return status / 100 == 4 && status != 408 && status != 425 && status != 429;
}

static void
judge_http(struct delivery *d, CURLcode code, struct send_end *end)
{
	struct fetch_result r = {.status = FETCH_OK};
	long status = 0;

	curl_easy_getinfo(d->easy, CURLINFO_RESPONSE_CODE, &status);
	end->status = status >= 200 ? (int)status : 0;
	if (end->status && end->status / 100 != 2) {
		r = (struct fetch_result){.status = FETCH_HTTP_ERROR, .http_status = end->status};
		end->permanent = hopeless(d, end->status);
	} else if (code != CURLE_OK && !d->enough) {
		r.status = fetch_verdict(&d->guard, code);
		end->permanent = r.status == FETCH_BLOCKED || r.status == FETCH_BAD_URL;
	} else if (!end->status) {
		r.status = FETCH_BROKEN;
	}
	if (r.status != FETCH_OK)
		end->error = fetch_reason(d->arena, &r);
}

static void
read_answer(struct delivery *d, struct send_end *end)
{
	struct str bytes = {d->head, d->head_n};
	char *type = NULL;

	end->retry_after_s = send_retry_after(header(d->easy, "Retry-After"), clock_unix_s());
	if (header(d->easy, "Content-Encoding").n)
		return;
	curl_easy_getinfo(d->easy, CURLINFO_CONTENT_TYPE, &type);
	end->head = str_dup(d->arena, send_shown(type, bytes));
	if (!end->head.n)
		end->head = STR_NONE;
}

void
send_ended(struct delivery *d, CURLcode code, struct send_end *end)
{
	const char *error;
	curl_off_t us = 0;

	*end = (struct send_end){.retry_after_s = -1, .error = STR_NONE, .head = STR_NONE};
	if (d->by_mail) {
		error = mail_verdict(d->easy, code, &end->permanent);
		end->error = error ? str_from(error) : STR_NONE;
	} else {
		judge_http(d, code, end);
		if (end->status)
			read_answer(d, end);
	}
	curl_easy_getinfo(d->easy, CURLINFO_TOTAL_TIME_T, &us);
	end->latency_ms = us / 1000;
}

/* --- the result ------------------------------------------------------------------------------- */

static void
put_text(struct buf *b, const char *name, struct str value)
{
	buf_fmt(b, ",\"%s\":", name);
	if (value.p)
		buf_json_str(b, value);
	else
		buf_str(b, STR("null"));
}

static void
put_number(struct buf *b, const char *name, int64_t value, bool known)
{
	buf_fmt(b, ",\"%s\":", name);
	if (known)
		buf_json_i64(b, value);
	else
		buf_str(b, STR("null"));
}

struct str
send_result(const struct delivery *d, const struct send_end *end)
{
	struct buf b;
	struct str out;

	buf_init(&b, RESULT_MOST);
	buf_fmt(&b, "{\"kind\":\"%s\"", d->message ? "message" : "webhook");
	put_text(&b, "id", uuid_str(d->arena, d->id));
	put_text(&b, "org_id", uuid_str(d->arena, d->org_id));
	put_number(&b, "fencing", d->fencing, true);
	put_number(&b, "status", end->status, end->status > 0);
	put_text(&b, "error", end->error);
	put_number(&b, "latency_ms", end->latency_ms, true);
	put_text(&b, "response_head", end->head);
	put_number(&b, "retry_after_s", end->retry_after_s, end->retry_after_s >= 0);
	buf_fmt(&b, ",\"permanent\":%s", end->permanent ? "true" : "false");
	put_number(&b, "signatures", d->signatures, true);
	buf_char(&b, '}');
	out = str_dup(d->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}
