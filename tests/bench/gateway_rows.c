/*
 * What Postgres takes of a gateway: the latest state of printers by the gateway's own statement, in
 * batches of 200 and of one; rows of history by COPY and by INSERT. One connection, every
 * transaction waits for its answer. Rounds alternate.
 *
 * gateway_rows CONNINFO ORG GATEWAY PRINTERS SECONDS
 *   CONNINFO  as role soloprint_gateway
 *   ORG       id of the organisation; GATEWAY holds the lease of its printers under fencing token 1
 *   PRINTERS  file with one id per line
 *   SECONDS   how long each of the four runs in a round
 *
 * Prints one line of JSON per round: rows per second.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "gateway/notes.h"
#include "gateway/status.h"
#include "gen/gateway_sql.h"

enum { BATCH = 200, COPY_BATCH = 500, LINE_MOST = 64, ROUNDS = 3, JSON_MOST = 1024 * 1024 };

struct bench {
	PGconn *db;
	const char *org, *gateway;
	struct status *printers;
	size_t n, at;
	int64_t round;
	struct buf text;
};

static double
now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

__attribute__((noreturn)) static void
give_up(struct bench *b, const char *what)
{
	fprintf(stderr, "%s: %s\n", what, PQerrorMessage(b->db));
	exit(1);
}

static void
expect(struct bench *b, PGresult *res, const char *what)
{
	if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK)
		give_up(b, what);
	PQclear(res);
}

/* What a printer says every second or so: temperatures, progress, fans. */
static void
change(struct status *s, int64_t round)
{
	struct record *r = &s->record;

	r->state = PRINTER_PRINTING;
	r->job.present = r->temperatures.present = r->fans.present = true;
	snprintf(r->job.file, sizeof(r->job.file), "plate_1.gcode.3mf");
	r->job.layer = (int32_t)(round % 1000);
	r->job.total_layers = 1000;
	r->job.progress = (int32_t)(round % 100);
	r->job.remaining_s = 3600;
	r->temperatures.n_nozzles = 1;
	r->temperatures.nozzles[0].t = (struct rec_temp){2200 + (int32_t)(round % 10), 2200};
	r->temperatures.bed = (struct rec_temp){600 + (int32_t)(round % 7), 600};
	r->fans.part_cooling_pct = (int32_t)(round % 100);
	r->fans.auxiliary_pct = r->fans.chamber_pct = r->fans.heatbreak_pct = REC_NONE;
	s->seen_ms = 1700000000000 + round;
}

/* --- the latest state --------------------------------------------------------------------------
 */

static void
fill(struct bench *b, int n)
{
	buf_clear(&b->text);
	for (int i = 0; i < n; i++) {
		struct status *s = &b->printers[b->at];

		b->at = (b->at + 1) % b->n;
		b->round += b->at == 0;
		change(s, b->round);
		buf_char(&b->text, i ? ',' : '[');
		status_row_json(
		    &b->text, s, REC_JOB | REC_TEMPERATURES | REC_FANS | REC_WIFI | REC_SEEN, 0);
	}
	buf_add(&b->text, "]", 2);
	must(!b->text.overflow);
}

/* Rows of the last statement of the transaction that was sent. */
static int
await(struct bench *b)
{
	int rows = 0;

	for (;;) {
		PGresult *res = PQgetResult(b->db); /* NULL ends a statement's results */
		ExecStatusType s = PQresultStatus(res);

		if (PQstatus(b->db) != CONNECTION_OK || (res && s == PGRES_FATAL_ERROR))
			give_up(b, "writing");
		if (s == PGRES_TUPLES_OK)
			rows = PQntuples(res);
		PQclear(res);
		if (s == PGRES_PIPELINE_SYNC)
			return rows;
	}
}

/* One transaction as the gateway sends it. */
static int
write_batch(struct bench *b, int n)
{
	const char *for_org[] = {b->org, "off"};
	const char *values[] = {b->org, b->gateway, NULL};

	fill(b, n);
	values[2] = b->text.p;
	if (!PQsendQueryPrepared(b->db, SQL_gw_org.name, 2, for_org, NULL, NULL, 0) ||
	    !PQsendQueryPrepared(b->db, SQL_gw_write.name, 3, values, NULL, NULL, 0) ||
	    !PQpipelineSync(b->db))
		give_up(b, "sending");
	if (await(b) != n)
		give_up(b, "not all rows were written");
	return n;
}

static int
write_200(struct bench *b)
{
	return write_batch(b, BATCH);
}

static int
write_one(struct bench *b)
{
	return write_batch(b, 1);
}

/* --- history -----------------------------------------------------------------------------------
 */

static void
lines(struct bench *b, int n)
{
	buf_clear(&b->text);
	for (int i = 0; i < n; i++) {
		struct status *s = &b->printers[b->at];

		b->at = (b->at + 1) % b->n;
		note_connection(&s->notes, "disconnected", "unreachable");
		note_line(&b->text, s->org, s->printer, s->notes.list);
		s->notes.sending = 1;
		notes_sent(&s->notes);
		s->notes.pace.next_us = 0;
	}
}

static int
copy_500(struct bench *b)
{
	PGresult *res = PQexec(b->db, SQL_gw_history.text);

	if (PQresultStatus(res) != PGRES_COPY_IN)
		give_up(b, "COPY");
	PQclear(res);
	lines(b, COPY_BATCH);
	if (PQputCopyData(b->db, b->text.p, (int)b->text.n) != 1 || PQputCopyEnd(b->db, NULL) != 1)
		give_up(b, "COPY");
	while ((res = PQgetResult(b->db)) != NULL)
		expect(b, res, "COPY");
	return COPY_BATCH;
}

static int
insert_one(struct bench *b)
{
	const char *values[6];
	char *rest;

	lines(b, 1);
	b->text.p[b->text.n - 1] = '\0';
	rest = b->text.p;
	for (int i = 0; i < 6; i++)
		values[i] = strsep(&rest, "\t");
	expect(b, PQexecPrepared(b->db, "insert", 6, values, NULL, NULL, 0), "INSERT");
	return 1;
}

/* ------------------------------------------------------------------------------------------------
 */

static double
rate(struct bench *b, int (*step)(struct bench *b), double seconds)
{
	double began = now_s(), now;
	int64_t rows = 0;

	do {
		rows += step(b);
		now = now_s();
	} while (now - began < seconds);
	return (double)rows / (now - began);
}

static void
prepare(struct bench *b)
{
	static const struct sql *const used[] = {&SQL_gw_org, &SQL_gw_write};

	for (size_t i = 0; i < 2; i++)
		expect(b,
		    PQprepare(b->db, used[i]->name, used[i]->text, used[i]->nparams, used[i]->oids),
		    used[i]->name);
	expect(b,
	    PQprepare(b->db, "insert",
		"INSERT INTO sec.printer_history (org_id, printer_id, at, id, kind, detail) VALUES ($1, $2, $3, $4, $5, $6)",
		6, NULL),
	    "insert");
}

static bool
read_printers(struct bench *b, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[LINE_MOST];
	struct uuid id, org;
	size_t room = 0;

	if (!file || !uuid_parse(str_from(b->org), &org))
		return false;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (!uuid_parse(str_from(line), &id))
			return false;
		if (b->n == room) {
			room = room * 2 + 64;
			b->printers = realloc(b->printers, room * sizeof(*b->printers));
			must(b->printers != NULL);
		}
		status_init(&b->printers[b->n], NULL, org, id);
		b->printers[b->n++].fencing = 1;
	}
	fclose(file);
	return b->n >= BATCH;
}

static void
one_round(struct bench *b, double seconds)
{
	double batched, single, copied, inserted;

	must(PQenterPipelineMode(b->db) == 1);
	batched = rate(b, write_200, seconds);
	single = rate(b, write_one, seconds);
	must(PQexitPipelineMode(b->db) == 1);
	copied = rate(b, copy_500, seconds);
	inserted = rate(b, insert_one, seconds);
	printf(
	    "{\"state_batched\": %.0f, \"state_single\": %.0f, \"history_copy\": %.0f, \"history_insert\": %.0f}\n",
	    batched, single, copied, inserted);
	fflush(stdout);
}

int
main(int argc, char **argv)
{
	struct bench b = {0};

	if (argc != 6) {
		fputs("usage: gateway_rows CONNINFO ORG GATEWAY PRINTERS SECONDS\n", stderr);
		return 2;
	}
	b.org = argv[2];
	b.gateway = argv[3];
	buf_init(&b.text, JSON_MOST);
	b.db = PQconnectdb(argv[1]);
	if (PQstatus(b.db) != CONNECTION_OK)
		give_up(&b, "connecting");
	if (!read_printers(&b, argv[4]))
		give_up(&b, "the file of printers is of no use");
	prepare(&b);
	for (int i = 0; i < ROUNDS; i++)
		one_round(&b, strtod(argv[5], NULL));
	PQfinish(b.db);
	return 0;
}
