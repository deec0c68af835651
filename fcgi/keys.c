/* API keys. Contract: schema/api/keys.yaml; statements: keys.sql. */
#include <string.h>

#include "base/log.h"
#include "db/rows_json.h"
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listApiKeys_query *in = query_in;

	bind_list(q, &in->status);
}

static const struct list key_list = {
    LIST_ORDERS(keys_orders),
    .total = &SQL_keys_total,
    .bind_filters = bind_filters,
};

const struct err *
listApiKeys(struct req *r)
{
	const struct listApiKeys_query *in = r->query;

	return reply_list(r, &key_list, &PAGE_IN(in, LISTAPIKEYS_Q));
}

static struct query *
select_key(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_key_get);

	bind_uuid(q, id);
	return q;
}

/* A fresh key: the text for the client, its display prefix and its hash. */
struct fresh_key {
	struct str text, prefix;
	uint8_t hash[KEY_HASH_LEN];
};

static void
make_key(struct req *r, enum key_kind kind, struct fresh_key *out)
{
	out->text = key_generate(r->arena, kind);
	out->prefix = (struct str){out->text.p, KEY_PREFIX_LEN};
	key_hash(out->text, out->hash);
}

static void
bind_fresh(struct query *q, const struct fresh_key *key)
{
	bind_str(q, key->prefix);
	bind_bytes(q, key->hash, sizeof(key->hash));
}

/* Adds the key itself to the object that was staged: the only time that it is shown. */
static const struct err *
reply_with_key(struct req *r, struct query *q, const struct fresh_key *key)
{
	const struct err *e = reply_one(r, q, 201);
	struct buf *b = &r->reply.body;

	if (e || r->replayed)
		return e;
	must(b->n > 0 && b->p[b->n - 1] == '}');
	b->n--;
	buf_str(b, STR(",\"key\":"));
	buf_json_str(b, key->text);
	buf_char(b, '}');
	return NULL;
}

static void
check_restrictions(struct req *r, const struct uuid_list *printers, struct str expires_at)
{
	struct query *q;

	if (printers->n) {
		q = query(r, &SQL_printers_must_exist);
		bind_uuid_array(q, printers->v, printers->n);
	}
	if (expires_at.p) {
		q = query(r, &SQL_expiry_must_come);
		bind_str(q, expires_at);
	}
}

/* SLP26 is the database's clock speaking about one field. */
static const struct err *
name_field(struct req *r, const struct err *e)
{
	if (e == &err_validation_failed && !r->violations.n)
		violation_add(&r->violations, STR("/expires_at"), STR("in_the_past"),
		    STR("must be in the future"));
	else if (e == &err_unknown_reference && !r->violations.n)
		violation_add(&r->violations, STR("/printer_ids"), STR("unknown_reference"),
		    STR("names no printer"));
	return e;
}

const struct err *
createApiKey(struct req *r)
{
	const struct createApiKey_body *in = r->in;
	struct uuid id = uuid_v7();
	struct fresh_key key;
	struct query *q;

	make_key(r, str_eq(in->kind, STR("dev")) ? KEY_DEV : KEY_LIVE, &key);
	check_restrictions(r, &in->printer_ids, in->expires_at);
	q = query(r, &SQL_key_insert);
	bind_uuid(q, id);
	bind_fresh(q, &key);
	bind_body(q, r);
	return name_field(r, reply_with_key(r, select_key(r, id), &key));
}

/* The operations that a key's capabilities open, as a JSON array. */
static void
write_surfaces(struct buf *b, struct str capabilities)
{
	bool first = true;

	buf_char(b, '[');
	for (size_t i = 0; i < n_routes; i++) {
		const struct route *t = &routes[i];
		char quoted[64];
		int n = snprintf(quoted, sizeof(quoted), "\"%s\"", t->capability);

		if (t->flags & ROUTE_PUBLIC)
			continue;
		if (strcmp(t->capability, "any") != 0 &&
		    !memmem(capabilities.p, capabilities.n, quoted, (size_t)n))
			continue;
		buf_fmt(b,
		    "%s{\"operation\":\"%s\",\"method\":\"%s\",\"path\":\"%.*s\",\"capability\":\"%s\"}",
		    first ? "" : ",", t->operation, t->method, STR_ARG(t->path), t->capability);
		first = false;
	}
	buf_char(b, ']');
}

const struct err *
getApiKey(struct req *r)
{
	struct query *q = select_key(r, r->path_params.api_key_id);
	const struct err *e = reply_one(r, q, 200);
	struct buf *b = &r->reply.body;

	if (e || r->reply.status != 200)
		return e;
	b->n--;
	buf_str(b, STR(",\"surfaces\":"));
	write_surfaces(b, rows_get(q, 0, "capabilities"));
	buf_char(b, '}');
	return NULL;
}

const struct err *
updateApiKey(struct req *r)
{
	const struct updateApiKey_body *in = r->in;
	struct query *q;

	check_restrictions(r, &in->printer_ids, in->expires_at);
	q = query(r, &SQL_key_update);
	bind_uuid(q, r->path_params.api_key_id);
	bind_body(q, r);
	bind_if_match(q, r);
	return name_field(r, reply_one(r, select_key(r, r->path_params.api_key_id), 200));
}

const struct err *
deleteApiKey(struct req *r)
{
	struct query *q = query(r, &SQL_key_revoke);

	bind_uuid(q, r->path_params.api_key_id);
	bind_if_match(q, r);
	return reply_gone(r, q);
}

static bool
has_kind(const struct query *q, const char *kind)
{
	return rows_count(q) == 1 && str_eq(rows_get(q, 0, "kind"), str_from(kind));
}

/* The key's kind is part of its text and only the database knows it: one of each is made, the
 * statement takes the one that fits. */
const struct err *
rotateApiKey(struct req *r)
{
	const struct rotateApiKey_body *in = r->in;
	struct uuid old_id = r->path_params.api_key_id, id = uuid_v7();
	struct fresh_key live, dev;
	struct query *insert = query(r, &SQL_key_rotate_insert),
		     *retire = query(r, &SQL_key_rotate_retire);
	struct query *select = select_key(r, id);
	const struct err *e;

	make_key(r, KEY_LIVE, &live);
	make_key(r, KEY_DEV, &dev);
	bind_uuid(insert, old_id);
	bind_uuid(insert, id);
	bind_fresh(insert, &live);
	bind_fresh(insert, &dev);
	bind_uuid(retire, old_id);
	bind_uuid(retire, id);
	bind_i64(retire, in->grace_seconds);
	e = query_run(r);
	if (e)
		return e;
	return reply_with_key(r, select, !r->replayed && has_kind(insert, "dev") ? &dev : &live);
}

static const struct route *
route_of(struct str operation)
{
	for (size_t i = 0; i < n_routes; i++)
		if (str_eq(operation, str_from(routes[i].operation)))
			return &routes[i];
	return NULL;
}

/* One row per operation; one that the contract no longer has keeps its name, without method and
 * path. */
static void
write_usage(struct buf *b, const struct query *q)
{
	buf_str(b, STR("{\"data\":["));
	for (int i = 0; i < rows_count(q); i++) {
		const struct route *t = route_of(rows_get(q, i, "operation"));

		if (i)
			buf_char(b, ',');
		rows_json_row(b, q, i);
		b->n--;
		if (t)
			buf_fmt(b, ",\"method\":\"%s\",\"path\":\"%.*s\"}", t->method,
			    STR_ARG(t->path));
		else
			buf_str(b, STR(",\"method\":null,\"path\":null}"));
	}
	buf_str(b, STR("]}"));
}

const struct err *
getApiKeyUsage(struct req *r)
{
	struct query *key = select_key(r, r->path_params.api_key_id), *q = query(r, &SQL_key_usage);
	const struct err *e;

	bind_uuid(q, r->path_params.api_key_id);
	e = query_run(r);
	if (e)
		return e;
	if (rows_count(key) == 0)
		return &err_resource_not_found;
	write_usage(reply_json(r, 200), q);
	return NULL;
}
