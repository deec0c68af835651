/* The start of an uploaded file as a message, and recognizing the job that comes of it. */
#include <stdio.h>
#include <string.h>

#include "gateway/bambu_command.h"

enum {
	QOS_ONCE = 1,
	NAME_MOST = 64, /* bytes of the owner's name that are kept */
	EXTERNAL_LEFT = 254,
	EXTERNAL_SPOOL = 255,
	HOT_UNITS = 128,
	BEDS = 4,
};

/* --- names ------------------------------------------------------------------------------------ */

static const char *
extension(const struct transfer *t)
{
	if (strcmp(t->kind, "gcode_3mf") == 0)
		return ".gcode.3mf";
	return strcmp(t->kind, "gcode") == 0 ? ".gcode" : NULL;
}

/* The name before its extensions. */
static struct str
stem(const char *filename)
{
	static const struct str ends[] = {
	    STR_INIT(".3mf"), STR_INIT(".gcode"), STR_INIT(".gco"), STR_INIT(".g")};
	struct str s = str_from(filename);

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		if (s.n > ends[i].n &&
		    str_ieq((struct str){s.p + s.n - ends[i].n, ends[i].n}, ends[i]))
			s.n -= ends[i].n;
	return s;
}

static bool
plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	    c == '-';
}

bool
bambu_remote_name(const struct transfer *t, char *out, size_t size)
{
	const char *end = extension(t);
	struct str from = stem(t->filename);
	char name[NAME_MOST + 1];
	size_t n = 0;

	if (!end)
		return false;
	for (size_t i = 0; i < from.n && n < NAME_MOST; i++) {
		if (plain(from.p[i]))
			name[n++] = from.p[i];
		else if (n > 0 && name[n - 1] != '_')
			name[n++] = '_';
	}
	while (n > 0 && name[n - 1] == '_')
		n--;
	name[n] = '\0';
	return snprintf(out, size, "%s-%d%s", n ? name : "print", (int)t->task_id, end) < (int)size;
}

/* As the printer is told to call the job: the file's name without its extensions. */
static struct str
job_name(const char *remote)
{
	return stem(remote);
}

/* --- filaments -------------------------------------------------------------------------------- */

struct filaments {
	bool use_ams;
	int32_t n;
	struct {
		int32_t tray, unit, slot;
	} f[sizeof(((struct transfer *)0)->slots) / sizeof(struct transfer_slot)];
};

static void
add_unused(struct filaments *f)
{
	f->f[f->n].tray = -1;
	f->f[f->n].unit = f->f[f->n].slot = EXTERNAL_SPOOL;
	f->n++;
}

/* -1 in the first list, whatever the spool: its own number there is taken for a missing one. */
static void
add_external(struct filaments *f, bool dual, int32_t id)
{
	f->f[f->n].tray = -1;
	f->f[f->n].unit = dual && id == EXTERNAL_LEFT ? EXTERNAL_LEFT : EXTERNAL_SPOOL;
	f->f[f->n].slot = 0;
	f->n++;
}

static void
add_tray(struct filaments *f, int32_t unit, int32_t slot)
{
	f->use_ams = true;
	f->f[f->n].tray = unit >= HOT_UNITS ? unit : unit * BEDS + slot;
	f->f[f->n].unit = unit;
	f->f[f->n].slot = slot;
	f->n++;
}

static void
as_mapped(const struct transfer *t, bool dual, struct filaments *f)
{
	int32_t most = (int32_t)(sizeof(f->f) / sizeof(f->f[0]));

	for (int32_t i = 0; i < t->n_slots && f->n < most; i++) {
		const struct transfer_slot *s = &t->slots[i];

		if (s->slot == REC_NONE)
			add_unused(f);
		else if (s->unit == REC_NONE)
			add_external(f, dual, s->slot);
		else
			add_tray(f, s->unit, s->slot);
	}
}

/* Nobody has said where the filaments are: what is loaded; else the slots in their order. */
static void
as_loaded(const struct transfer *t, bool dual, const struct rec_ams *a, struct filaments *f)
{
	int32_t n = t->n_slots > 0 ? t->n_slots : 1;

	if (a->n_units == 0 || (a->has_active && a->active_unit == REC_NONE)) {
		add_external(f, dual, a->has_active ? a->active_slot : EXTERNAL_SPOOL);
		return;
	}
	if (n == 1 && a->has_active) {
		add_tray(f, a->active_unit, a->active_slot);
		return;
	}
	for (int32_t i = 0; i < n && i / BEDS < a->n_units && f->n < REC_UNITS; i++)
		add_tray(f, a->units[i / BEDS].id, i % BEDS);
}

static void
filaments_of(const struct transfer *t, const struct bambu_about *about, struct filaments *f)
{
	bool dual = about->state->n_extruders > 1;

	memset(f, 0, sizeof(*f));
	if (t->has_mapping && t->n_slots > 0)
		as_mapped(t, dual, f);
	else
		as_loaded(t, dual, &about->record->ams, f);
}

/* --- the messages ----------------------------------------------------------------------------- */

static void
put_bool(struct buf *b, const char *name, bool v)
{
	buf_fmt(b, ",\"%s\":%s", name, v ? "true" : "false");
}

static void
put_filaments(struct buf *b, const struct filaments *f)
{
	put_bool(b, "use_ams", f->use_ams);
	buf_str(b, STR(",\"ams_mapping\":["));
	for (int32_t i = 0; i < f->n; i++)
		buf_fmt(b, "%s%d", i ? "," : "", (int)f->f[i].tray);
	buf_str(b, STR("],\"ams_mapping2\":["));
	for (int32_t i = 0; i < f->n; i++)
		buf_fmt(b, "%s{\"ams_id\":%d,\"slot_id\":%d}", i ? "," : "", (int)f->f[i].unit,
		    (int)f->f[i].slot);
	buf_char(b, ']');
}

/* Numbers that identify the job: unique, positive and below 2^31, where some models clamp. */
static void
put_ids(struct buf *b, const struct transfer *t)
{
	static const char *const names[] = {"subtask_id", "task_id", "project_id"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		buf_fmt(b, ",\"%s\":\"%d\"", names[i], (int)t->task_id);
	buf_str(b, STR(",\"profile_id\":\"0\""));
}

/* Booleans are JSON's: some models take a number for something else. */
static void
put_project(const struct transfer *t, const struct bambu_about *about, struct bambu_messages *out)
{
	struct bambu_message *m = bambu_message_begin(
	    out, about, "print", "project_file", QOS_ONCE);
	struct buf *b = &m->json;
	struct filaments f;

	filaments_of(t, about, &f);
	buf_fmt(b, ",\"param\":\"Metadata/plate_%d.gcode\"", t->plate > 0 ? (int)t->plate : 1);
	buf_fmt(b, ",\"url\":\"%s%s\",\"file\":\"%s\",\"md5\":\"\"", about->model->url, t->remote,
	    t->remote);
	buf_str(b, STR(",\"subtask_name\":"));
	buf_json_str(b, job_name(t->remote));
	put_ids(b, t);
	buf_str(b, STR(",\"bed_type\":\"auto\""));
	put_bool(b, "timelapse", t->timelapse);
	put_bool(b, "bed_leveling", t->bed_leveling);
	put_bool(b, "flow_cali", t->flow_calibration);
	put_bool(b, "vibration_cali", t->vibration_calibration);
	put_bool(b, "layer_inspect", false);
	put_filaments(b, &f);
	bambu_message_end(m);
}

static void
put_gcode_file(
    const struct transfer *t, const struct bambu_about *about, struct bambu_messages *out)
{
	struct bambu_message *m = bambu_message_begin(out, about, "print", "gcode_file", QOS_ONCE);

	buf_fmt(&m->json, ",\"param\":\"/%s\",\"subtask_name\":", t->remote);
	buf_json_str(&m->json, job_name(t->remote));
	put_ids(&m->json, t);
	bambu_message_end(m);
}

enum answer
bambu_start_messages(const struct transfer *t, const struct bambu_about *about,
    struct bambu_messages *out, const char **words)
{
	memset(out, 0, sizeof(*out));
	*words = NULL;
	if (strcmp(t->kind, "gcode_3mf") == 0) {
		put_project(t, about, out);
		return ANSWER_ACCEPTED;
	}
	if (strcmp(t->kind, "gcode") == 0 && about->model->plain_gcode) {
		put_gcode_file(t, about, out);
		return ANSWER_ACCEPTED;
	}
	*words = "the model prints sliced 3MF files only";
	return ANSWER_UNSUPPORTED;
}

/* --- the job that came of it ------------------------------------------------------------------ */

static bool
is_id(const char *said, int32_t id)
{
	int64_t n;

	return str_to_i64(str_from(said), &n) && n > 0 && n == id;
}

static bool
has_id(const char *said)
{
	return *said && strcmp(said, "0") != 0;
}

/* By the numbers that the start has given it; by its name, which is unique too, where the printer
 * does not repeat them. */
bool
bambu_is_job(const struct bambu_state *b, const struct transfer *t, const struct record *r)
{
	struct str file = str_from(r->job.file);
	char remote[sizeof(t->remote)];

	if (!r->job.present)
		return false;
	if (is_id(b->task_id, t->task_id) || is_id(b->subtask_id, t->task_id))
		return true;
	if (has_id(b->task_id) || has_id(b->subtask_id) ||
	    !bambu_remote_name(t, remote, sizeof(remote)))
		return false;
	while (str_index(file, '/') >= 0)
		str_cut(&file, '/');
	return str_eq(str_from(r->job.name), job_name(remote)) || str_eq(file, str_from(remote));
}
