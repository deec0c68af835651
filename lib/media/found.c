#include "media/found.h"

#include <json-c/json.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "store/digest.h"
#include "store/store.h"

enum { METADATA_MOST = 1 << 20, PIECE = 64 << 10 };

static struct json_object *
json_str(struct str s)
{
	return s.p ? json_object_new_string_len(s.p, (int)s.n) : NULL;
}

/* --- pictures --------------------------------------------------------------------------------- */

static bool
copy_piece(int from, int64_t offset, char *piece, size_t n, int to)
{
	ssize_t got = pread(from, piece, n, (off_t)offset);

	return got == (ssize_t)n && write(to, piece, n) == (ssize_t)n;
}

/* One picture out of the file of all. */
static bool
copy_picture(struct arena *a, int from, const struct scan_thumbnail *t, int to)
{
	char *piece = arena_alloc(a, PIECE);

	for (int64_t done = 0; done < t->length;) {
		int64_t left = t->length - done;
		size_t n = left < PIECE ? (size_t)left : PIECE;

		if (!copy_piece(from, t->offset + done, piece, n, to))
			return false;
		done += (int64_t)n;
	}
	return true;
}

static bool
keep_picture(
    struct arena *a, struct store *s, int from, const struct scan_thumbnail *t, struct uuid id)
{
	int fd = store_temp(s);
	bool good = fd >= 0 && copy_picture(a, from, t, fd) && store_keep(s, fd, id);

	if (fd >= 0)
		close(fd);
	if (!good)
		log_error("a picture could not be stored", LOG_I("bytes", t->length));
	return good;
}

static struct json_object *
describe_picture(struct arena *a, const struct scan_thumbnail *t, int n, struct uuid id,
    const uint8_t sha256[DIGEST_LEN])
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "n", json_object_new_int(n));
	json_object_object_add(o, "blob_id", json_str(uuid_str(a, id)));
	json_object_object_add(o, "sha256", json_str(str_hex(a, sha256, DIGEST_LEN)));
	json_object_object_add(o, "plate", json_object_new_int(t->plate));
	json_object_object_add(o, "width", json_object_new_int(t->width));
	json_object_object_add(o, "height", json_object_new_int(t->height));
	json_object_object_add(o, "content_type", json_str(str_from(t->content_type)));
	json_object_object_add(o, "size_bytes", json_object_new_int64(t->length));
	return o;
}

static bool
keep_pictures(struct arena *a, struct store *s, const struct scan_result *scan, struct found *out,
    struct json_object *list)
{
	uint8_t sha256[DIGEST_LEN];

	for (size_t i = 0; i < scan->n_thumbnails; i++) {
		const struct scan_thumbnail *t = &scan->thumbnails[i];
		struct uuid id = uuid_v7();

		if (!digest_range(scan->thumbnails_fd, t->offset, t->length, sha256, NULL, NULL) ||
		    !keep_picture(a, s, scan->thumbnails_fd, t, id))
			return false;
		out->pictures[out->n_pictures++] = id;
		json_object_array_add(list, describe_picture(a, t, (int)i, id, sha256));
	}
	return true;
}

/* --- the rest --------------------------------------------------------------------------------- */

/* Metadata comes from a child that was in a stranger's hands: only what fits and what the database
 * can hold is kept. */
static bool
storable(struct json_object *metadata)
{
	size_t n;
	const char *text = json_object_to_json_string_length(metadata, JSON_C_TO_STRING_PLAIN, &n);

	return n <= METADATA_MOST && !memmem(text, n, "\\u0000", 6);
}

static struct json_object *
analysis_of(struct str code, struct str sentence)
{
	struct json_object *o = json_object_new_object(), *reason = NULL;

	if (code.p) {
		reason = json_object_new_object();
		json_object_object_add(reason, "code", json_str(code));
		json_object_object_add(
		    reason, "message", json_str(sentence.p ? sentence : STR("")));
	}
	json_object_object_add(
	    o, "state", json_object_new_string(code.p ? "unparsable" : "parsed"));
	json_object_object_add(o, "reason", reason);
	return o;
}

static void
describe(struct json_object *o, const struct scan_result *scan)
{
	struct json_object *keys = json_object_new_array();
	struct str code = scan->reason_code, sentence = scan->reason;
	bool good = !scan->metadata || storable(scan->metadata);

	if (!good) {
		code = STR("metadata_unusable");
		sentence = STR("What the file says of itself cannot be kept.");
	}
	for (size_t i = 0; i < scan->n_keys; i++)
		json_object_array_add(keys, json_str(scan->keys[i]));
	json_object_object_add(o, "kind", json_str(scan->kind));
	json_object_object_add(o, "metadata", good ? json_object_get(scan->metadata) : NULL);
	json_object_object_add(o, "analysis", analysis_of(code, sentence));
	json_object_object_add(o, "keys", keys);
}

bool
found_keep(struct arena *a, struct store *s, const struct scan_result *scan, struct found *out)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();
	const char *text;
	size_t n;
	bool good;

	*out = (struct found){.n_pictures = 0};
	describe(o, scan);
	json_object_object_add(o, "thumbnails", list);
	good = keep_pictures(a, s, scan, out, list);
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN, &n);
	out->json = str_dup(a, (struct str){text, n});
	json_object_put(o);
	if (!good)
		found_drop(s, out);
	return good;
}

void
found_drop(struct store *s, const struct found *f)
{
	for (size_t i = 0; i < f->n_pictures; i++)
		(void)store_drop(s, f->pictures[i]);
}

void
found_drop_spare(struct store *s, struct str spare)
{
	struct uuid id;

	while (spare.n)
		if (uuid_parse(str_cut(&spare, ','), &id))
			(void)store_drop(s, id);
}
