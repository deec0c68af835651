/* The Postgres sink: what is wanted of cameras, and what is told of them. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "gateway/sink_pg.h"
#include "gen/gateway_sql.h"

enum { ASK_MOST = 200, CHANNELS_MOST = 64, NEWS_BYTES = 256 * 1024 };

/* --- wanted ----------------------------------------------------------------------------------- */

/* Hands over the rows of one printer, which begin at `row`; the next printer's first row. */
static int
hand_over(struct sink_pg *k, const PGresult *res, int row)
{
	struct camera_channel v[CHANNELS_MOST];
	struct str printer = pgq_text(res, row, "printer_id");
	struct uuid id;
	size_t n = 0;

	must(uuid_parse(printer, &id));
	for (; row < PQntuples(res) && str_eq(pgq_text(res, row, "printer_id"), printer); row++)
		if (n < CHANNELS_MOST)
			v[n++] = (struct camera_channel){pgq_i64(res, row, "id"),
			    (int32_t)pgq_i64(res, row, "fps"), pgq_i64(res, row, "left_ms")};
	if (leases_get(k->leases, id))
		k->client.camera(k->client.ctx, id, v, n);
	return row;
}

static void
on_rows(void *ctx, size_t statement, const PGresult *res)
{
	int row = 0;

	(void)statement;
	while (row < PQntuples(res))
		row = hand_over(ctx, res, row);
}

void
sink_pg_cameras(struct sink_pg *k, const struct uuid *printers, size_t n)
{
	char list[ASK_MOST * (UUID_TEXT_LEN + 1) + 3];
	size_t at = 0;
	const char *values[] = {list};

	if (!pgq_is_up(k->q))
		return;
	list[at++] = '{';
	for (size_t i = 0; i < n && i < ASK_MOST; i++) {
		if (!leases_get(k->leases, printers[i]))
			continue;
		if (at > 1)
			list[at++] = ',';
		uuid_text(printers[i], list + at);
		at += UUID_TEXT_LEN;
	}
	if (at == 1)
		return;
	list[at++] = '}';
	list[at] = '\0';
	pgq_add(k->q, &SQL_gw_cameras, values);
	pgq_commit(k->q, on_rows, NULL, k);
}

/* --- told ------------------------------------------------------------------------------------- */

struct telling {
	void (*told)(void *ctx, struct uuid printer);
	void *ctx;
	size_t n;
	struct uuid printers[];
};

static void
on_done(void *ctx, bool ok, const char *sqlstate)
{
	struct telling *t = ctx;

	if (!ok)
		log_warn("news of cameras cannot be written",
		    LOG_Z("sqlstate", sqlstate ? sqlstate : ""));
	for (size_t i = 0; i < t->n && t->told; i++)
		t->told(t->ctx, t->printers[i]);
	free(t);
}

static void
add_text(struct buf *b, const char *name, const char *text)
{
	if (!text)
		return;
	buf_fmt(b, ",\"%s\":", name);
	buf_json_str(b, str_from(text));
}

static void
add_news(struct buf *b, const struct camera_news *news)
{
	char id[UUID_TEXT_LEN + 1];

	uuid_text(news->printer, id);
	buf_fmt(b, "%s{\"id\":\"%s\"", b->n ? "," : "[", id);
	add_text(b, "source", news->source);
	add_text(b, "trouble", news->trouble);
	add_text(b, "message", news->words);
	buf_char(b, '}');
}

void
sink_pg_camera(struct sink *base, const struct camera_news *news, size_t n,
    void (*told)(void *ctx, struct uuid printer), void *ctx)
{
	struct sink_pg *k = (struct sink_pg *)base;
	struct telling *t = calloc(1, sizeof(*t) + n * sizeof(t->printers[0]));
	char gateway[UUID_TEXT_LEN + 1];
	const char *values[] = {gateway, NULL};
	struct buf json;

	must(t != NULL);
	*t = (struct telling){.told = told, .ctx = ctx, .n = n};
	for (size_t i = 0; i < n; i++)
		t->printers[i] = news[i].printer;
	if (!pgq_is_up(k->q)) {
		on_done(t, false, NULL);
		return;
	}
	buf_init(&json, NEWS_BYTES);
	for (size_t i = 0; i < n; i++)
		add_news(&json, &news[i]);
	buf_add(&json, "]", 2); /* with its NUL */
	must(!json.overflow);
	values[1] = json.p;
	uuid_text(leases_gateway_id(k->leases), gateway);
	pgq_add(k->q, &SQL_gw_camera_news, values);
	pgq_commit(k->q, NULL, on_done, t);
	buf_fini(&json);
}
