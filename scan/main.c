/* soloprint-scan: reads one file that nobody vouches for, with nothing in its hands but the
 * descriptors of media/scan_wire.h. Started by lib/media/scan.c. */
#include <errno.h>
#include <json-c/json.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "media/media.h"
#include "media/scan_wire.h"
#include "scan/form.h"
#include "scan/sandbox.h"
#include "store/digest.h"

enum { ARENA_MOST = 160 << 20 };

struct input {
	struct arena *arena;
	const char *hint; /* filename or content type */
	int64_t size;
};

struct mode {
	const char *name;
	struct sandbox_limits (*limits)(const struct input *in);
	void (*init)(void);
	void (*run)(const struct input *in, struct json_object *out);
};

#if defined(__SANITIZE_ADDRESS__)
/* Looking for leaks wants another process; in here none can be had. */
const char *__asan_default_options(void);
const char *
__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

static struct json_object *
text_or_null(struct str s)
{
	return s.p ? json_object_new_string_len(s.p, (int)s.n) : NULL;
}

static struct json_object *
keys_json(const struct media *m)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < m->n_keys; i++)
		json_object_array_add(list, text_or_null(m->keys[i]));
	return list;
}

static struct json_object *
thumbnails_json(const struct media *m)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < m->n_thumbnails; i++) {
		const struct scan_thumbnail *t = &m->thumbnails[i];
		struct json_object *o = json_object_new_object();

		json_object_object_add(o, "offset", json_object_new_int64(t->offset));
		json_object_object_add(o, "length", json_object_new_int64(t->length));
		json_object_object_add(o, "plate", json_object_new_int(t->plate));
		json_object_object_add(o, "width", json_object_new_int(t->width));
		json_object_object_add(o, "height", json_object_new_int(t->height));
		json_object_object_add(o, "content_type", json_object_new_string(t->content_type));
		json_object_array_add(list, o);
	}
	return list;
}

static const char *
text_of(struct json_object *out, size_t *n)
{
	return json_object_to_json_string_length(
	    out, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, n);
}

static struct sandbox_limits
file_limits(const struct input *in)
{
	(void)in;
	return (struct sandbox_limits){.file_bytes = SCAN_PICTURES_MOST, .cpu_s = SCAN_CPU_S};
}

static void
run_file(const struct input *in, struct json_object *out)
{
	struct media m = {.arena = in->arena,
	    .fd = SCAN_FD_IN,
	    .size = in->size,
	    .filename = str_from(in->hint),
	    .thumbnails_fd = SCAN_FD_OUT};
	size_t n;

	media_read(&m);
	json_object_object_add(out, "kind", json_object_new_string(m.kind));
	json_object_object_add(out, "reason_code", text_or_null(str_from(m.reason_code)));
	json_object_object_add(out, "reason", text_or_null(m.reason));
	json_object_object_add(out, "metadata", json_object_get(m.metadata));
	json_object_object_add(out, "keys", keys_json(&m));
	json_object_object_add(out, "thumbnails", thumbnails_json(&m));
	text_of(out, &n);
	if (n <= SCAN_ANSWER_MOST)
		return;
	json_object_object_add(out, "metadata", NULL);
	json_object_object_add(out, "reason_code", json_object_new_string("too_complex"));
	json_object_object_add(
	    out, "reason", json_object_new_string("There is too much metadata in the file."));
}

/* The file is a part of the body. */
static struct sandbox_limits
form_limits(const struct input *in)
{
	return (struct sandbox_limits){
	    .file_bytes = in->size, .cpu_s = SCAN_CPU_S + in->size / SCAN_FORM_BYTES_PER_S};
}

static void
run_form(const struct input *in, struct json_object *out)
{
	form_main(in->arena, SCAN_FD_IN, in->hint, SCAN_FD_OUT, out);
}

static void
nothing(void)
{
}

static const struct mode modes[] = {
    {"file", file_limits, nothing, run_file},
    {"form", form_limits, form_init, run_form},
};

static const struct mode *
mode_named(const char *name)
{
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (strcmp(modes[i].name, name) == 0)
			return &modes[i];
	return NULL;
}

/* What libraries would otherwise open files for at their first use. */
static void
warm_up(void)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "seed", json_object_new_double(0.5));
	json_object_to_json_string(o);
	json_object_put(o);
	digest_free(digest_new());
	setenv("TZ", "UTC0", 1);
	tzset();
}

static bool
send_answer(struct json_object *out)
{
	size_t n, done = 0;
	const char *text = text_of(out, &n);

	if (n > SCAN_ANSWER_MOST)
		return false;
	while (done < n) {
		ssize_t sent = write(SCAN_FD_ANSWER, text + done, n - done);

		if (sent < 0 && errno != EINTR)
			return false;
		done += sent > 0 ? (size_t)sent : 0;
	}
	return true;
}

int
main(int argc, char **argv)
{
	const struct mode *mode = argc == 3 ? mode_named(argv[1]) : NULL;
	struct input in = {.hint = argc == 3 ? argv[2] : ""};
	struct json_object *out;
	struct sandbox_limits limits;
	struct stat st;

	if (!mode || fstat(SCAN_FD_IN, &st) != 0) {
		fprintf(stderr, "soloprint-scan is started by other programs of SoLoPrint\n");
		return 2;
	}
	log_init("scan", LOG_ERROR);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	in.size = st.st_size;
	in.arena = arena_new(ARENA_MOST);
	out = json_object_new_object();
	warm_up();
	mode->init();
	limits = mode->limits(&in);
	if (!sandbox_enter(&limits))
		_exit(3);
	mode->run(&in, out);
	_exit(send_answer(out) ? 0 : 4);
}
