/* Webhooks: endpoints of the organization that events are sent to. Contract:
 * schema/api/webhooks.yaml; statements: webhooks.sql; the sending is the courier's. */
#include <string.h>
#include <strings.h>

#include "auth/webhook.h"
#include "faults.h"
#include "gen/routes.h"
#include "http/pointer.h"
#include "page.h"
#include "reply.h"
#include "secrets.h"
#include "state.h"

enum { HEADERS_MOST = 20 };

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listWebhooks_query *in = query_in;

	bind_contains(q, in->search);
	bind_list(q, &in->status);
}

static const struct list webhook_list = {
    LIST_ORDERS(webhooks_orders),
    .total = &SQL_webhooks_total,
    .bind_filters = bind_filters,
};

const struct err *
listWebhooks(struct req *r)
{
	const struct listWebhooks_query *in = r->query;

	return reply_list(r, &webhook_list, &PAGE_IN(in, LISTWEBHOOKS_Q));
}

static struct query *
select_webhook(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_webhook_get);

	bind_uuid(q, id);
	return q;
}

const struct err *
getWebhook(struct req *r)
{
	return reply_one(r, select_webhook(r, r->path_params.webhook_id), 200);
}

/* --- what a body brings ----------------------------------------------------------------------- */

/* Of a body: its URL as it will be requested, the names of its headers, and their values sealed. */
struct target {
	struct str url;
	struct str names[HEADERS_MOST];
	size_t n_names;
	struct str headers;
};

/* Whole names, and beginnings that end in '-': what HTTP, the signature or the sender need for
 * themselves. */
static bool
header_reserved(const char *name)
{
	static const char *const names[] = {"accept", "accept-encoding", "connection",
	    "content-encoding", "content-length", "content-type", "date", "expect", "forwarded",
	    "host", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "user-agent",
	    "via", "proxy-", "sec-", "webhook-", "x-forwarded-", "x-soloprint-"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		size_t n = strlen(names[i]);

		if (strncasecmp(name, names[i], n) == 0 && (names[i][n - 1] == '-' || !name[n]))
			return true;
	}
	return false;
}

static bool
header_ok(struct req *r, const struct target *so_far, const char *name)
{
	const struct pointer headers = {.up = NULL, .name = STR("headers")},
			     at = {.up = &headers, .name = str_from(name)};
	bool there = false;

	for (size_t i = 0; i < so_far->n_names; i++)
		there = there || str_ieq(so_far->names[i], str_from(name));
	if (header_reserved(name))
		violation_add(&r->violations, pointer_text(r->arena, &at), STR("reserved"),
		    STR("is set by the service itself, or belongs to the connection"));
	else if (there)
		violation_add(&r->violations, pointer_text(r->arena, &at), STR("duplicate"),
		    STR("is there twice"));
	else
		return true;
	return false;
}

/* The contract limits how many there are. */
static bool
headers_ok(struct req *r, struct json_object *headers, struct target *out)
{
	bool ok = true;

	if (!headers)
		return true;
	json_object_object_foreach(headers, name, value) {
		(void)value;
		ok = header_ok(r, out, name) && ok;
		must(out->n_names < HEADERS_MOST);
		out->names[out->n_names++] = str_dup(r->arena, str_from(name));
	}
	return ok;
}

/* Looks at both, NULL and STR_NONE being absent, and seals the headers: the body loses them. Before
 * any statement. */
static const struct err *
target_read(
    struct req *r, struct uuid id, struct str url, struct json_object *headers, struct target *out)
{
	struct str text = STR_NONE;
	struct fetch_url u;
	bool ok = true;

	*out = (struct target){.url = STR_NONE};
	if (url.p)
		ok = url_allowed(r, STR("/endpoint_url"), url, &u);
	ok = headers_ok(r, headers, out) && ok;
	if (!ok)
		return &err_validation_failed;
	out->url = url.p ? u.text : STR_NONE;
	if (out->n_names)
		text.p = json_object_to_json_string_length(
		    headers, JSON_C_TO_STRING_PLAIN, &text.n);
	return secret_seal(r, HEADERS_OF_WEBHOOK, id, text, &out->headers);
}

static void
bind_headers(struct query *q, const struct target *t)
{
	if (t->n_names)
		bind_str_array(q, t->names, t->n_names);
	else
		bind_null(q);
	bind_sealed(q, t->headers);
}

/* --- secrets ---------------------------------------------------------------------------------- */

struct fresh_secret {
	enum webhook_scheme scheme;
	struct uuid id;
	struct str text, sealed, public_key; /* public_key: STR_NONE for HMAC */
};

static const struct err *
make_secret(struct req *r, struct uuid id, enum webhook_scheme scheme, struct fresh_secret *out)
{
	*out = (struct fresh_secret){.scheme = scheme, .id = id};
	out->text = webhook_secret_generate(r->arena, scheme, &out->public_key);
	return secret_seal(r, SECRET_OF_WEBHOOK, id, out->text, &out->sealed);
}

/* Adds the secret to the webhook that was staged: the only time that it is shown. A private key
 * stays here. */
static void
show_secret(struct req *r, const struct fresh_secret *s)
{
	struct buf *b = &r->reply.body;

	must(b->n > 0 && b->p[b->n - 1] == '}');
	b->n--;
	buf_str(b, STR(",\"signing_secret\":"));
	if (s->scheme == WEBHOOK_HMAC)
		buf_json_str(b, s->text);
	else
		buf_str(b, STR("null"));
	buf_char(b, '}');
}

/* --- create, change, delete ------------------------------------------------------------------- */

static struct query *
find_faults(struct req *r)
{
	struct query *q = query(r, &SQL_webhook_faults);

	bind_body(q, r);
	return q;
}

static void
insert(struct req *r, struct uuid id, const struct target *t, const struct fresh_secret *s)
{
	struct query *q = query(r, &SQL_webhook_insert);

	bind_body(q, r);
	bind_uuid(q, id);
	bind_str(q, t->url);
	bind_headers(q, t);
	bind_str(q, s->public_key);
	q = query(r, &SQL_webhook_secret_insert);
	bind_uuid(q, id);
	bind_uuid(q, s->id);
	bind_sealed(q, s->sealed);
}

/* What is nobody's fault but ours has a name of its own here. */
static const struct err *
create_failure(struct req *r, const struct err *e)
{
	if (e != &err_internal_error)
		return e;
	req_detail(r, "The webhook could not be stored. Nothing was changed; try again.");
	return &err_webhook_create_failed;
}

static const struct err *
create(struct req *r, struct uuid id, const struct target *t, const struct fresh_secret *s)
{
	struct query *faults = find_faults(r), *q;
	const struct err *e;

	insert(r, id, t, s);
	q = select_webhook(r, id);
	e = create_failure(r, query_run(r));
	if (e || r->replayed)
		return e;
	e = faults_found(r, faults);
	if (!e)
		e = reply_one(r, q, 201);
	if (!e)
		show_secret(r, s);
	return e;
}

const struct err *
createWebhook(struct req *r)
{
	const struct createWebhook_body *in = r->in;
	struct uuid id = uuid_v7();
	enum webhook_scheme scheme;
	struct fresh_secret secret;
	struct target target;
	const struct err *e;

	must(webhook_scheme_parse(in->signature, &scheme));
	e = target_read(r, id, in->endpoint_url, in->headers, &target);
	if (!e)
		e = make_secret(r, uuid_v7(), scheme, &secret);
	if (e)
		return create_failure(r, refuse(r, e));
	return create(r, id, &target, &secret);
}

/* A webhook that is not there comes before what is wrong with the patch. */
const struct err *
updateWebhook(struct req *r)
{
	const struct updateWebhook_body *in = r->in;
	struct uuid id = r->path_params.webhook_id;
	bool headers = FIELD_SET(in, UPDATEWEBHOOK_B_HEADERS);
	struct query *known, *faults, *q;
	struct target target;
	const struct err *e = target_read(r, id, in->endpoint_url, in->headers, &target);

	if (e)
		return refuse(r, e);
	known = query(r, &SQL_webhook_known);
	bind_uuid(known, id);
	faults = find_faults(r);
	q = query(r, headers ? &SQL_webhook_update_headers : &SQL_webhook_update);
	bind_body(q, r);
	bind_uuid(q, id);
	bind_str(q, target.url);
	bind_if_match(q, r);
	if (headers)
		bind_headers(q, &target);
	q = select_webhook(r, id);
	e = query_run(r);
	if (!e && rows_count(known) > 0)
		e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 200);
}

const struct err *
deleteWebhook(struct req *r)
{
	struct query *q = query(r, &SQL_webhook_delete);

	bind_uuid(q, r->path_params.webhook_id);
	bind_if_match(q, r);
	return reply_gone(r, q);
}

/* Only the database knows how the webhook signs: one secret of each sort is made, the statement
 * takes the one that fits. */
const struct err *
rotateWebhookSecret(struct req *r)
{
	const struct rotateWebhookSecret_body *in = r->in;
	struct uuid id = r->path_params.webhook_id, secret_id = uuid_v7();
	struct fresh_secret hmac, ed25519;
	struct query *q;
	const struct err *e = make_secret(r, secret_id, WEBHOOK_HMAC, &hmac);

	if (!e)
		e = make_secret(r, secret_id, WEBHOOK_ED25519, &ed25519);
	if (e)
		return refuse(r, e);
	q = query(r, &SQL_webhook_rotate);
	bind_uuid(q, id);
	bind_uuid(q, secret_id);
	bind_sealed(q, hmac.sealed);
	bind_sealed(q, ed25519.sealed);
	bind_str(q, ed25519.public_key);
	bind_i64(q, in->overlap_seconds);
	q = select_webhook(r, id);
	e = reply_one(r, q, 200);
	if (!e && !r->replayed)
		show_secret(r, str_eq(rows_get(q, 0, "signature"), STR("hmac")) ? &hmac : &ed25519);
	return e;
}

/* --- trying it, and again what has failed ----------------------------------------------------- */

const struct err *
testWebhook(struct req *r)
{
	const struct testWebhook_body *in = r->in;
	struct uuid delivery = uuid_v7();
	struct query *q = query(r, &SQL_webhook_test);
	const struct err *e;

	bind_uuid(q, r->path_params.webhook_id);
	bind_uuid(q, delivery);
	bind_str(q, in->event_type);
	q = query(r, &SQL_webhook_delivery_get);
	bind_uuid(q, delivery);
	e = reply_one(r, q, 202);
	if (e == &err_unknown_reference)
		violation_add(&r->violations, STR("/event_type"), STR("unknown_event_type"),
		    STR("there is no such type of event"));
	return e;
}

const struct err *
recoverWebhook(struct req *r)
{
	const struct recoverWebhook_body *in = r->in;
	struct query *q = query(r, &SQL_webhook_recover);

	bind_uuid(q, r->path_params.webhook_id);
	bind_str(q, in->since);
	return reply_one(r, q, 202);
}
