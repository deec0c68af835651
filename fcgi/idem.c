#include "idem.h"

#include <openssl/evp.h>

#include "auth/box.h"
#include "query.h"
#include "reply.h"
#include "state.h"

static bool
takes_key(const struct req *r)
{
	return (r->route->flags & ROUTE_IDEMPOTENT) && r->in_headers.idempotency_key.p;
}

const struct err *
idem_check(struct req *r)
{
	struct str *key = &r->in_headers.idempotency_key;

	if (!takes_key(r))
		return NULL;
	if (key->n >= 2 && key->p[0] == '"' && key->p[key->n - 1] == '"')
		*key = (struct str){key->p + 1, key->n - 2};
	for (size_t i = 0; i < key->n; i++)
		if (key->p[i] < 0x20 || key->p[i] > 0x7E)
			return &err_idempotency_key_invalid;
	return key->n < 1 || key->n > 255 ? &err_idempotency_key_invalid : NULL;
}

/* What must be equal for a repeated request to be the same one: method, target and body. */
static void
fingerprint(const struct req *r, uint8_t out[32])
{
	const struct str parts[] = {r->method, r->path, r->query_string, r->body};
	EVP_MD_CTX *md = EVP_MD_CTX_new();

	must(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		uint64_t n = parts[i].n;

		must(EVP_DigestUpdate(md, &n, sizeof(n)) == 1);
		must(n == 0 || EVP_DigestUpdate(md, parts[i].p, n) == 1);
	}
	must(EVP_DigestFinal_ex(md, out, NULL) == 1);
	EVP_MD_CTX_free(md);
}

void
idem_claim(struct req *r)
{
	struct query *q, *rest = r->tx.first;
	uint8_t *print;

	if (!takes_key(r) || r->refused)
		return;
	print = arena_alloc(r->arena, 32);
	fingerprint(r, print);
	q = pg_query(r->arena, &SQL_idem_claim);
	bind_str(q, str_from(r->route->operation));
	bind_str(q, r->in_headers.idempotency_key);
	bind_bytes(q, print, 32);
	q->next = rest;
	r->tx.first = q;
	r->tx.keep_open = true;
}

/* The headers that belong to the reply itself, as a JSON object. */
static struct str
stored_headers(struct req *r)
{
	struct buf b;
	struct str out;

	buf_init(&b, 8192);
	buf_char(&b, '{');
	for (const struct header_out *h = r->reply.headers; h; h = h->next) {
		if (b.n > 1)
			buf_char(&b, ',');
		buf_json_str(&b, str_from(h->name));
		buf_char(&b, ':');
		buf_json_str(&b, h->value);
	}
	buf_char(&b, '}');
	must(!b.overflow);
	out = str_dup(r->arena, buf_view(&b));
	buf_fini(&b);
	return out;
}

static struct query *
store_query(struct req *r)
{
	bool secret = (r->route->flags & ROUTE_SECRET_RESPONSE) != 0;
	struct str body = buf_view(&r->reply.body);
	struct query *q = pg_query(r->arena, &SQL_idem_store);

	if (secret)
		body = box_seal(r->arena, r->credential, r->in_headers.idempotency_key, body);
	bind_str(q, str_from(r->route->operation));
	bind_str(q, r->in_headers.idempotency_key);
	bind_i64(q, r->reply.status);
	bind_str(q, stored_headers(r));
	bind_bytes(q, body.n ? body.p : "", body.n);
	bind_bool(q, secret);
	return q;
}

const struct err *
idem_finish(struct req *r)
{
	struct pg_failure f;

	if (!pg_in_transaction(r->w->pg))
		return NULL;
	return pg_run(r->w->pg, r->arena, store_query(r), PG_COMMIT, &f);
}

static void
replay_headers(struct req *r, struct str text)
{
	struct json_object *all = json_tokener_parse(str_z(r->arena, text));
	struct json_object_iterator it = json_object_iter_begin(all),
				    end = json_object_iter_end(all);

	for (; !json_object_iter_equal(&it, &end); json_object_iter_next(&it))
		reply_header(r, str_z(r->arena, str_from(json_object_iter_peek_name(&it))),
		    str_dup(r->arena,
			str_from(json_object_get_string(json_object_iter_peek_value(&it)))));
	json_object_put(all);
}

static const struct err *
stage_stored(struct req *r, const struct query *q)
{
	struct str body, hex = rows_get(q, 0, "body_hex");
	uint8_t *raw = arena_alloc(r->arena, hex.n / 2 + 1);

	must(str_unhex(hex, raw, hex.n / 2));
	body = (struct str){(char *)raw, hex.n / 2};
	if (str_eq(rows_get(q, 0, "sealed"), STR("t")))
		body = box_open(r->arena, r->credential, r->in_headers.idempotency_key, body);
	if (!body.p)
		return &err_internal_error;
	replay_headers(r, rows_get(q, 0, "headers"));
	reply_header(r, "Idempotent-Replayed", STR("true"));
	reply_raw(r, (int)rows_i64(q, 0, "status"), body);
	return NULL;
}

const struct err *
idem_replay(struct req *r)
{
	struct query *q = pg_query(r->arena, &SQL_idem_fetch);
	struct query *begin = r->tx.begin_request;
	struct pg_failure f;
	const struct err *e;

	bind_str(q, str_from(r->route->operation));
	bind_str(q, r->in_headers.idempotency_key);
	begin->result = NULL;
	begin->next = q;
	e = pg_ready(r->w->pg);
	if (!e)
		e = pg_run(r->w->pg, r->arena, begin, PG_IMPLICIT, &f);
	if (e)
		return e;
	r->replayed = true;
	return rows_count(q) ? stage_stored(r, q) : &err_idempotency_request_in_progress;
}
