/* From a claimed delivery to a request: secrets, signatures, headers. */
#include <json-c/json.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "auth/seal.h"
#include "auth/webhook.h"
#include "auth/wipe.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "courier/channel.h"
#include "courier/send.h"

enum {
	JSON_DEPTH = 8,
	BODY_MOST = 1 << 20,
	SIGNATURES_MOST = 4096,
	VALUE_MOST = 8192,
	COMPLAIN_MS = 60000
};

/* --- ends before there is a request ----------------------------------------------------------- */

static bool
refuse(struct send_end *end, const char *error, bool permanent)
{
	end->error = str_from(error);
	end->permanent = permanent;
	return false;
}

/* The log is told of one a minute: there may be thousands. */
static bool
misconfigured(
    struct send_tools *t, const struct delivery *d, struct send_end *end, const char *what)
{
	int64_t now = clock_mono_ms();
	char id[UUID_TEXT_LEN + 1];

	uuid_text(d->endpoint_id, id);
	if (now >= t->complain_at_ms) {
		log_warn("what a delivery needs cannot be used", LOG_Z("what", what),
		    LOG_Z("endpoint", id));
		t->complain_at_ms = now + COMPLAIN_MS;
	}
	return refuse(end, "misconfigured", false);
}

/* --- what is sealed --------------------------------------------------------------------------- */

static bool
open_sealed(const struct send_tools *t, struct delivery *d, const struct seal_place *at,
    struct str sealed, struct str *plain)
{
	return t->key && seal_open(d->arena, t->key, at, sealed, plain);
}

static void
put_json(void *p)
{
	json_object_put(p);
}

/* NULL when it is none of that type. Until the arena's reset. */
static struct json_object *
parse(struct arena *a, struct str text, enum json_type type)
{
	struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
	struct json_object *o;

	json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
	o = json_tokener_parse_ex(tokener, text.n ? text.p : "", (int)text.n);
	json_tokener_free(tokener);
	if (o)
		arena_defer(a, put_json, o);
	return o && json_object_is_type(o, type) ? o : NULL;
}

static struct str
text_of(struct json_object *v)
{
	if (!json_object_is_type(v, json_type_string))
		return STR_NONE;
	return (struct str){json_object_get_string(v), (size_t)json_object_get_string_len(v)};
}

/* Base64 as Postgres writes it, in lines. */
static bool
unbase64(struct arena *a, struct str text, struct str *out)
{
	EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
	uint8_t *to = arena_alloc(a, text.n / 4 * 3 + 4);
	int n = 0, rest = 0;
	bool ok;

	must(ctx != NULL);
	EVP_DecodeInit(ctx);
	ok = EVP_DecodeUpdate(ctx, to, &n, (const uint8_t *)text.p, (int)text.n) >= 0 &&
	    EVP_DecodeFinal(ctx, to + n, &rest) == 1;
	EVP_ENCODE_CTX_free(ctx);
	*out = (struct str){(const char *)to, (size_t)(n + rest)};
	return ok;
}

/* The text of one signing secret, {"id", "sealed"}. */
static bool
open_secret(const struct send_tools *t, struct delivery *d, struct json_object *o, struct str *out)
{
	struct json_object *id_v, *sealed_v;
	struct seal_place place;
	struct str sealed;
	struct uuid id;

	if (!json_object_object_get_ex(o, "id", &id_v) ||
	    !json_object_object_get_ex(o, "sealed", &sealed_v) || !uuid_parse(text_of(id_v), &id) ||
	    !unbase64(d->arena, text_of(sealed_v), &sealed))
		return false;
	place = SEAL_WEBHOOK_SECRET(d->org_id, id);
	return open_sealed(t, d, &place, sealed, out);
}

/* --- headers ---------------------------------------------------------------------------------- */

/* Ours, the connection's, and those that only say where a request came from. */
bool
send_header_ok(struct str name, struct str value)
{
	static const struct str taken[] = {STR_INIT("accept-encoding"), STR_INIT("connection"),
	    STR_INIT("content-length"), STR_INIT("content-type"), STR_INIT("expect"),
	    STR_INIT("host"), STR_INIT("keep-alive"), STR_INIT("proxy-authorization"),
	    STR_INIT("proxy-connection"), STR_INIT("te"), STR_INIT("trailer"),
	    STR_INIT("transfer-encoding"), STR_INIT("upgrade"), STR_INIT("user-agent")};
	static const struct str ours = STR_INIT("webhook-");

	if (!name.n || name.n > 128 || value.n > VALUE_MOST ||
	    (name.n >= ours.n && str_ieq((struct str){name.p, ours.n}, ours)))
		return false;
	for (size_t i = 0; i < name.n; i++) {
		if (name.p[i] <= ' ' || name.p[i] > '~' || strchr("()<>@,;:\\\"/[]?={}", name.p[i]))
			return false;
	}
	for (size_t i = 0; i < value.n; i++) {
		if ((unsigned char)value.p[i] < ' ' || value.p[i] == 0x7f)
			return false;
	}
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++) {
		if (str_ieq(name, taken[i]))
			return false;
	}
	return true;
}

static void
put_header(struct delivery *d, const char *line)
{
	struct curl_slist *more = curl_slist_append(d->headers, line);

	must(more != NULL);
	d->headers = more;
}

/* Those of the webhook's owner; they may hold a password. */
static bool
put_own_headers(const struct send_tools *t, struct delivery *d)
{
	struct seal_place place = SEAL_WEBHOOK_HEADERS(d->org_id, d->endpoint_id);
	struct json_object *o;
	struct str plain;

	if (!d->headers_sealed.n)
		return true;
	if (!open_sealed(t, d, &place, d->headers_sealed, &plain))
		return false;
	o = parse(d->arena, plain, json_type_object);
	if (!o)
		return false;
	json_object_object_foreach(o, key, v) {
		struct str name = str_from(key), value = text_of(v);
		char *line;
		size_t room = name.n + value.n + 3;

		if (!value.p || !send_header_ok(name, value))
			continue;
		line = wipe_alloc(d->arena, room);
		snprintf(line, room, value.n ? "%s: %.*s" : "%s;", key, STR_ARG(value));
		put_header(d, line);
	}
	return true;
}

/* One signature per secret, over the same second. */
static bool
put_signatures(const struct send_tools *t, struct delivery *d, struct str id, int64_t now_s)
{
	struct json_object *list = parse(d->arena, d->secrets, json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;
	struct str line = STR("webhook-signature:");

	for (size_t i = 0; i < n; i++) {
		struct str secret, signature;

		if (!open_secret(t, d, json_object_array_get_idx(list, i), &secret))
			return false;
		signature = webhook_sign(d->arena, secret, id, now_s, d->body);
		if (!signature.p || line.n > SIGNATURES_MOST)
			return false;
		line = str_fmt(d->arena, "%.*s %.*s", STR_ARG(line), STR_ARG(signature));
		d->signatures++;
	}
	if (n)
		put_header(d, line.p);
	return n > 0;
}

static struct str
put_common_headers(struct delivery *d, struct uuid id, int64_t now_s)
{
	struct str text = uuid_str(d->arena, id);

	put_header(d, str_fmt(d->arena, "webhook-id: %.*s", STR_ARG(text)).p);
	put_header(d, str_fmt(d->arena, "webhook-timestamp: %lld", (long long)now_s).p);
	put_header(d, "content-type: application/json");
	put_header(d, "user-agent: SoLoPrint-Webhooks/1");
	put_header(d, "Expect:");
	return text;
}

/* --- requests --------------------------------------------------------------------------------- */

static size_t
on_bytes(char *p, size_t size, size_t n, void *ctx)
{
	struct delivery *d = ctx;
	size_t room = SEND_HEAD - d->head_n;

	n *= size;
	if (room > n)
		room = n;
	memcpy(d->head + d->head_n, p, room);
	d->head_n += room;
	d->read += n;
	d->enough = d->read > SEND_READ_MOST;
	return d->enough ? CURL_WRITEFUNC_ERROR : n;
}

/* The handle, by the rules for addresses that others chose. */
static bool
make_handle(struct send_tools *t, struct delivery *d, struct send_end *end)
{
	struct fetch_url url;
	struct fetch_result judged = {0};

	if (!t->rules)
		return misconfigured(t, d, end, "rules of addresses");
	judged.status = fetch_url_check(t->rules, d->arena, d->url, &url);
	if (judged.status != FETCH_OK) {
		end->error = fetch_reason(d->arena, &judged);
		end->permanent = true;
		return false;
	}
	d->easy = curl_easy_init();
	must(d->easy != NULL);
	fetch_prepare(d->easy, &d->guard, t->rules, &url);
	curl_easy_setopt(d->easy, CURLOPT_TIMEOUT_MS, (long)SEND_TIMEOUT_MS);
	curl_easy_setopt(d->easy, CURLOPT_POST, 1L);
	curl_easy_setopt(d->easy, CURLOPT_POSTFIELDS, d->body.n ? d->body.p : "");
	curl_easy_setopt(d->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)d->body.n);
	curl_easy_setopt(d->easy, CURLOPT_HTTPHEADER, d->headers);
	curl_easy_setopt(d->easy, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(d->easy, CURLOPT_WRITEDATA, d);
	return true;
}

static bool
prepare_webhook(struct send_tools *t, struct delivery *d, struct send_end *end)
{
	int64_t now_s = clock_unix_s();
	struct str id = put_common_headers(d, d->event_id, now_s);

	if (!put_signatures(t, d, id, now_s))
		return misconfigured(t, d, end, "signing secret");
	if (!put_own_headers(t, d))
		return misconfigured(t, d, end, "headers");
	return make_handle(t, d, end);
}

/* --- messages --------------------------------------------------------------------------------- */

static bool
prepare_post(
    struct send_tools *t, struct delivery *d, const struct message *m, struct send_end *end)
{
	const struct channel *channel = channel_find(d->channel);
	struct seal_place place = SEAL_RULE_TARGET(d->org_id, d->endpoint_id);
	struct buf body;
	bool ok;

	if (!channel)
		return misconfigured(t, d, end, "channel");
	if (!open_sealed(t, d, &place, d->target_sealed, &d->url))
		return misconfigured(t, d, end, "target");
	buf_init(&body, BODY_MOST);
	ok = channel->body(d->arena, m, &d->url, &body) && !body.overflow;
	d->body = str_dup(d->arena, buf_view(&body));
	buf_fini(&body);
	if (!ok)
		return refuse(end, "bad_url", true);
	put_common_headers(d, d->id, clock_unix_s());
	return make_handle(t, d, end);
}

static bool
prepare_mail(
    struct send_tools *t, struct delivery *d, const struct message *m, struct send_end *end)
{
	struct json_object *list = parse(d->arena, d->recipients, json_type_array);
	size_t n = list ? json_object_array_length(list) : 0;
	struct str *to = arena_array(d->arena, n + 1, sizeof(*to));

	d->by_mail = true;
	if (!*t->mail.url)
		return refuse(end, "mail_not_configured", false);
	for (size_t i = 0; i < n; i++)
		to[i] = text_of(json_object_array_get_idx(list, i));
	d->easy = curl_easy_init();
	must(d->easy != NULL);
	if (!mail_prepare(d->easy, &d->mail, d->arena, &t->mail, d->id, m, to, n))
		return refuse(end, "no_recipients", true);
	curl_easy_setopt(d->easy, CURLOPT_TIMEOUT_MS, (long)SEND_TIMEOUT_MS);
	return true;
}

static bool
prepare_message(struct send_tools *t, struct delivery *d, struct send_end *end)
{
	struct message m;

	if (!message_parse(d->arena, d->content, &m))
		return misconfigured(t, d, end, "content");
	if (str_eq(d->channel, STR("email")))
		return prepare_mail(t, d, &m, end);
	return prepare_post(t, d, &m, end);
}

bool
send_prepare(struct send_tools *t, struct delivery *d, struct send_end *end)
{
	*end = (struct send_end){.retry_after_s = -1, .error = STR_NONE, .head = STR_NONE};
	d->began_ms = clock_mono_ms();
	return d->message ? prepare_message(t, d, end) : prepare_webhook(t, d, end);
}

void
send_release(struct delivery *d)
{
	if (d->easy)
		curl_easy_cleanup(d->easy);
	d->easy = NULL;
	mail_fini(&d->mail);
	for (struct curl_slist *h = d->headers; h; h = h->next)
		OPENSSL_cleanse(h->data, strlen(h->data));
	curl_slist_free_all(d->headers);
	d->headers = NULL;
}
