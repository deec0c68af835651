/* What the gateway does with a report besides parsing it, as a share of the json-c parse: merge,
 * map, diff and render. Reports: the recorded full one of an A1 mini, changes as an A1 sends them,
 * full ones with a few changes as an X1C or H2D does. The render goes into the batch as it would
 * for the database.
 *
 *     gateway_cpu [rounds]      prints one line per kind; exit 1 when a ratio is over 1
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/config.h"
#include "gateway/bambu_report.h"
#include "gateway/reading.h"
#include "gateway/status.h"

enum { VARIANTS = 16 };

struct bench {
	struct json_tokener *tokener;
	struct bambu_state state;
	struct status status;
	struct buf row;
	int64_t parse_ns, rest_ns, bytes, rendered;
	int64_t reports, rows;
};

static int64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* One report; a batch of the changed row follows every second one, which is more than there are at
 * one report a second. */
static void
report(struct bench *b, struct str text)
{
	struct bambu_when when = {b->reports * 1000, 1700000000000 + b->reports, true};
	int64_t t0 = now_ns(), t1, t2;
	struct json_object *message = reading_object(b->tokener, text);
	uint32_t parts = 0;

	t1 = now_ns();
	if (message && bambu_take(&b->state, message, &parts))
		b->status.changed |= bambu_map(&b->state, parts, &when, &b->status.record);
	if (b->status.changed & ~(uint32_t)REC_WIFI) {
		buf_clear(&b->row);
		status_row_json(&b->row, &b->status, b->status.changed, 0);
		b->status.changed = 0;
		b->rendered += (int64_t)b->row.n;
		b->rows++;
	}
	t2 = now_ns();
	json_object_put(message);
	b->parse_ns += t1 - t0;
	b->rest_ns += t2 - t1;
	b->bytes += (int64_t)text.n;
	b->reports++;
}

static struct str
variant(struct arena *a, struct json_object *print, bool full, int i)
{
	char text[512];
	struct json_object *v = NULL, *root = json_object_new_object();
	struct str out;

	if (full) {
		json_object_deep_copy(print, &v, NULL);
		json_object_object_add(v, "nozzle_temper", json_object_new_double(220 + i / 4.0));
		json_object_object_add(v, "bed_temper", json_object_new_double(55 + i / 32.0));
		json_object_object_add(v, "wifi_signal", json_object_new_string("-60dBm"));
	} else {
		snprintf(text, sizeof(text),
		    "{\"bed_temper\":%g,\"nozzle_temper\":%g,\"wifi_signal\":\"-%ddBm\",\"command\":\"push_status\",\"msg\":1,"
		    "\"sequence_id\":\"%d\",\"mc_percent\":%d,\"layer_num\":%d,\"cooling_fan_speed\":\"%d\",\"upload\":{"
		    "\"status\":\"idle\",\"progress\":0,\"message\":\"\"},\"mc_print_line_number\":\"%d\",\"net\":{\"conf\":16}}",
		    55 + i / 32.0, 220 + i / 4.0, 50 + i, 2000 + i, i, i, i % 16, i * 100);
		v = json_tokener_parse(text);
	}
	json_object_object_add(root, "print", v);
	out = str_dup(a, str_from(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN)));
	json_object_put(root);
	return out;
}

static double
run(const char *name, struct arena *a, struct json_object *print, bool full, int rounds)
{
	struct bench b = {.tokener = reading_tokener(BAMBU_DEPTH)};
	struct str texts[VARIANTS];
	double ratio;

	bambu_state_init(&b.state);
	status_init(&b.status, NULL, uuid_v7(), uuid_v7());
	buf_init(&b.row, 65536);
	report(&b, variant(a, print, true, 0));
	b.parse_ns = b.rest_ns = b.bytes = b.rendered = b.reports = b.rows = 0;
	for (int i = 0; i < VARIANTS; i++)
		texts[i] = variant(a, print, full, i);
	for (int i = 0; i < rounds; i++)
		report(&b, texts[i % VARIANTS]);
	ratio = (double)b.rest_ns / (double)b.parse_ns;
	printf(
	    "%-8s bytes %5lld  parse %6.2f us  merge+map+diff+render %6.2f us  rows/report %.2f  row bytes %lld  ratio %.2f\n",
	    name, (long long)(b.bytes / b.reports), (double)b.parse_ns / (double)b.reports / 1000,
	    (double)b.rest_ns / (double)b.reports / 1000, (double)b.rows / (double)b.reports,
	    (long long)(b.rows ? b.rendered / b.rows : 0), ratio);
	buf_fini(&b.row);
	status_fini(&b.status);
	bambu_state_fini(&b.state);
	json_tokener_free(b.tokener);
	return ratio;
}

int
main(int argc, char **argv)
{
	int64_t rounds = 20000;
	struct arena *a = arena_new(1 << 20);
	struct str text = config_file(
	    a, "tests/printers/recordings/bambu-a1mini/pushall-n1-idle.json", 65536);
	struct json_object *whole, *print;
	double worst, full;

	if (argc > 1 &&
	    (!str_to_i64(str_from(argv[1]), &rounds) || rounds < 1 || rounds > 10000000))
		return 2;
	if (!text.p) {
		fprintf(stderr, "run it from the top of the repository\n");
		return 2;
	}
	whole = json_tokener_parse(str_z(a, text));
	print = reading_member(reading_member(whole, "message"), "print");
	worst = run("delta", a, print, false, (int)rounds);
	full = run("full", a, print, true, (int)rounds);
	json_object_put(whole);
	arena_free(a);
	return worst > 1 || full > 1;
}
