/* A PrusaLink printer's answers → its state. */
#include <limits.h>
#include <string.h>

#include "base/log.h"
#include "gateway/prusalink_state.h"
#include "gateway/reading.h"

enum {
	DEPTH_MOST = 12,
	STORAGES_MOST = 8,
	TENTHS_LEAST = -2730,
	TENTHS_MOST = 20000,
};

void
prusalink_state_init(struct prusalink_state *p)
{
	memset(p, 0, sizeof(*p));
	p->running = p->named = PRUSALINK_NO_JOB;
	p->last_remaining_s = REC_NONE;
	prusalink_state_forget(p);
}

static void
forget_status(struct prusalink_state *p)
{
	memset(p->word, 0, sizeof(p->word));
	memset(p->storage, 0, sizeof(p->storage));
	p->job = PRUSALINK_NO_JOB;
	p->progress = p->remaining_s = p->printing_s = REC_NONE;
	p->nozzle_dc = p->nozzle_target_dc = p->bed_dc = p->bed_target_dc = REC_NONE;
	p->speed_pct = REC_NONE;
	p->not_ok = p->has_storage = p->camera = false;
}

void
prusalink_state_forget(struct prusalink_state *p)
{
	forget_status(p);
	p->full = p->names_fresh = false;
}

struct json_object *
prusalink_parse(struct str body)
{
	struct json_tokener *t = reading_tokener(DEPTH_MOST);
	struct json_object *v = reading_object(t, body);

	json_tokener_free(t);
	return v;
}

/* --- numbers ---------------------------------------------------------------------------------- */

static int32_t
whole(struct json_object *v, int32_t least, int32_t most)
{
	int64_t n;

	return reading_i64(v, &n) && n >= least && n <= most ? (int32_t)n : REC_NONE;
}

static int32_t
tenths(struct json_object *v)
{
	double d;

	if (!reading_double(v, &d) || d * 10 < TENTHS_LEAST || d * 10 > TENTHS_MOST)
		return REC_NONE;
	return (int32_t)(d * 10 + (d < 0 ? -0.5 : 0.5));
}

static int64_t
job_id(struct json_object *v)
{
	int64_t n;

	return reading_i64(v, &n) && n >= 0 ? n : PRUSALINK_NO_JOB;
}

/* --- files ------------------------------------------------------------------------------------ */

/* A path without the slashes around it. */
static void
trimmed(struct json_object *v, char *out, size_t size)
{
	char text[160];
	struct str s;

	memset(out, 0, size);
	if (!reading_text(v, text, sizeof(text)))
		return;
	s = str_from(text);
	while (s.n && s.p[0] == '/')
		s = (struct str){s.p + 1, s.n - 1};
	while (s.n && s.p[s.n - 1] == '/')
		s.n--;
	reading_clean(s, out, size);
}

bool
prusalink_read_file(struct prusalink_file *f, struct json_object *v)
{
	struct prusalink_file got;

	memset(&got, 0, sizeof(got));
	if (!reading_text(reading_member(v, "name"), got.name, sizeof(got.name)) || !got.name[0])
		return false;
	if (!reading_text(reading_member(v, "display_name"), got.display, sizeof(got.display)) ||
	    !got.display[0])
		memcpy(got.display, got.name, sizeof(got.display));
	trimmed(reading_member(v, "path"), got.folder, sizeof(got.folder));
	*f = got;
	return true;
}

void
prusalink_path(const struct prusalink_file *f, char *out, size_t size)
{
	char text[sizeof(f->folder) + sizeof(f->name) + 1];
	size_t n = strlen(f->folder);

	memcpy(text, f->folder, n);
	if (n)
		text[n++] = '/';
	memcpy(text + n, f->name, strlen(f->name) + 1);
	reading_clean(str_from(text), out, size);
}

/* --- status ----------------------------------------------------------------------------------- */

/* The first segment of a storage's path, if it can be part of a URL as it is. */
static void
take_storage(struct prusalink_state *p, struct json_object *v)
{
	char path[64];
	bool flag = false;
	size_t n;

	if (!json_object_is_type(v, json_type_object))
		return;
	if (reading_bool(reading_member(v, "available"), &flag) && !flag)
		return;
	p->has_storage = true;
	flag = false;
	if (p->storage[0] || (reading_bool(reading_member(v, "read_only"), &flag) && flag))
		return;
	trimmed(reading_member(v, "path"), path, sizeof(path));
	n = strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
	if (n == 0 || n >= sizeof(p->storage) || (path[n] != '\0' && path[n] != '/'))
		return;
	memcpy(p->storage, path, n);
}

/* An object on Buddy, a list on Prusa-Link. */
static void
take_storages(struct prusalink_state *p, struct json_object *v)
{
	size_t n;

	if (!json_object_is_type(v, json_type_array)) {
		take_storage(p, v);
		return;
	}
	n = json_object_array_length(v);
	for (size_t i = 0; i < n && i < STORAGES_MOST; i++)
		take_storage(p, json_object_array_get_idx(v, i));
}

static void
take_progress(struct prusalink_state *p, struct json_object *job)
{
	p->progress = whole(reading_member(job, "progress"), 0, 100);
	p->remaining_s = whole(reading_member(job, "time_remaining"), 0, 100000000);
	p->printing_s = whole(reading_member(job, "time_printing"), 0, 100000000);
}

bool
prusalink_read_status(struct prusalink_state *p, struct json_object *v)
{
	struct json_object *printer = reading_member(v, "printer"), *job = reading_member(v, "job");
	char word[sizeof(p->word)];
	bool ok = true;

	if (!reading_text(reading_member(printer, "state"), word, sizeof(word)))
		return false;
	forget_status(p);
	memcpy(p->word, word, sizeof(p->word));
	p->nozzle_dc = tenths(reading_member(printer, "temp_nozzle"));
	p->nozzle_target_dc = tenths(reading_member(printer, "target_nozzle"));
	p->bed_dc = tenths(reading_member(printer, "temp_bed"));
	p->bed_target_dc = tenths(reading_member(printer, "target_bed"));
	p->speed_pct = whole(reading_member(printer, "speed"), 0, 1000);
	reading_bool(reading_member(reading_member(printer, "status_printer"), "ok"), &ok);
	p->not_ok = !ok;
	p->job = job_id(reading_member(job, "id"));
	if (p->job != PRUSALINK_NO_JOB)
		take_progress(p, job);
	take_storages(p, reading_member(v, "storage"));
	p->camera = json_object_is_type(reading_member(v, "camera"), json_type_object);
	p->full = true;
	return true;
}

bool
prusalink_read_job(struct prusalink_state *p, struct json_object *v)
{
	int64_t id = job_id(reading_member(v, "id"));

	if (id == PRUSALINK_NO_JOB || !prusalink_read_file(&p->file, reading_member(v, "file")))
		return false;
	p->named = id;
	p->names_fresh = true;
	return true;
}

/* --- who it is -------------------------------------------------------------------------------- */

static void
module(struct rec_firmware *f, const char *name, const char *version)
{
	int32_t i = f->n++;

	reading_clean(str_from(name), f->module[i].name, sizeof(f->module[i].name));
	reading_clean(str_from(version), f->module[i].version, sizeof(f->module[i].version));
}

bool
prusalink_read_version(struct prusalink_state *p, struct json_object *v)
{
	static const char prefix[] = "PrusaLink ";
	char api[24], server[24] = "", product[sizeof(p->product)] = "";
	struct rec_firmware f;

	if (!reading_text(reading_member(v, "api"), api, sizeof(api)))
		return false;
	memset(&f, 0, sizeof(f));
	f.present = true;
	reading_text(reading_member(v, "firmware"), f.version, sizeof(f.version));
	if (reading_text(reading_member(v, "server"), server, sizeof(server)) ||
	    reading_text(reading_member(v, "version"), server, sizeof(server)))
		module(&f, "prusalink", server);
	module(&f, "api", api);
	p->firmware = f;
	reading_text(reading_member(v, "original"), product, sizeof(product));
	if (strncmp(product, prefix, sizeof(prefix) - 1) == 0)
		reading_clean(
		    str_from(product + sizeof(prefix) - 1), p->product, sizeof(p->product));
	return true;
}

bool
prusalink_read_serial(struct json_object *v, char *out, size_t size)
{
	return reading_text(reading_member(v, "serial"), out, size) && out[0];
}

void
prusalink_read_problem(struct str body, char *out, size_t size)
{
	struct json_object *v = prusalink_parse(body);

	memset(out, 0, size);
	if (!reading_text(reading_member(v, "message"), out, size) || !out[0])
		reading_text(reading_member(v, "title"), out, size);
	json_object_put(v);
}
