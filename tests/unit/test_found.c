/* What scans find, on its way into store and database; and scans that are broken off. */
#include "media/found.h"

#include <fcntl.h>
#include <ftw.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/digest.h"
#include "store/store.h"
#include "tap.h"

static struct arena *a;
static struct store *store;
static char folder[] = "/tmp/slp-found.XXXXXX";

static struct str
text_of(struct json_object *o, const char *name)
{
	return str_from(json_object_get_string(json_object_object_get(o, name)));
}

static int
pictures_fd(struct str bytes)
{
	int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, bytes.p, bytes.n) == (ssize_t)bytes.n);
	return fd;
}

static bool
stored_is(struct uuid id, struct str want)
{
	char got[64];
	int fd = store_blob(store, id);
	ssize_t n = fd < 0 ? -1 : read(fd, got, sizeof(got));

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)want.n && memcmp(got, want.p, want.n) == 0;
}

static struct scan_result
two_pictures(int fd)
{
	return (struct scan_result){
	    .kind = STR("gcode"),
	    .thumbnails =
		{
		    {.offset = 0,
			.length = 5,
			.width = 2,
			.height = 3,
			.content_type = "image/png"},
		    {.offset = 5,
			.length = 6,
			.plate = 1,
			.width = 4,
			.height = 5,
			.content_type = "image/jpeg"},
		},
	    .n_thumbnails = 2,
	    .thumbnails_fd = fd,
	};
}

static void
test_pictures(void)
{
	int fd = pictures_fd(STR("firstsecond"));
	struct scan_result scan = two_pictures(fd);
	struct found found;
	struct json_object *o, *list, *second;
	uint8_t sha256[DIGEST_LEN];

	ok(found_keep(a, store, &scan, &found), "kept");
	is_int((int)found.n_pictures, 2, "both pictures");
	ok(stored_is(found.pictures[0], STR("first")), "the first is stored");
	ok(stored_is(found.pictures[1], STR("second")), "the second is stored");
	o = json_tokener_parse(str_z(a, found.json));
	list = json_object_object_get(o, "thumbnails");
	second = json_object_array_get_idx(list, 1);
	is_str(text_of(o, "kind"), STR("gcode"), "the kind");
	is_str(text_of(second, "blob_id"), uuid_str(a, found.pictures[1]), "where the second is");
	must(digest_range(fd, 5, 6, sha256, NULL, NULL));
	is_str(text_of(second, "sha256"), str_hex(a, sha256, sizeof(sha256)), "its digest");
	is_str(text_of(second, "content_type"), STR("image/jpeg"), "its type");
	is_int(json_object_get_int(json_object_object_get(second, "size_bytes")), 6, "its size");
	is_int(json_object_get_int(json_object_object_get(second, "n")), 1, "its number");
	json_object_put(o);
	found_drop(store, &found);
	ok(store_blob(store, found.pictures[0]) < 0 && store_blob(store, found.pictures[1]) < 0,
	    "dropped");
	close(fd);
}

static void
test_a_picture_that_is_not_there(void)
{
	int fd = pictures_fd(STR("firstsec"));
	struct scan_result scan = two_pictures(fd);
	struct found found;

	ok(!found_keep(a, store, &scan, &found), "a picture that ends early");
	ok(store_blob(store, found.pictures[0]) < 0, "the one before it is not left behind");
	close(fd);
}

static void
test_spare(void)
{
	int fd = pictures_fd(STR("firstsecond"));
	struct scan_result scan = two_pictures(fd);
	struct found found;

	must(found_keep(a, store, &scan, &found));
	found_drop_spare(store, STR_NONE);
	found_drop_spare(store, STR("nonsense"));
	found_drop_spare(store,
	    str_fmt(a, "x,%.*s,%.*s", STR_ARG(uuid_str(a, uuid_v7())),
		STR_ARG(uuid_str(a, found.pictures[1]))));
	ok(stored_is(found.pictures[0], STR("first")), "what is needed stays");
	ok(store_blob(store, found.pictures[1]) < 0, "what is spare goes");
	close(fd);
}

/* The analysis' state and reason that metadata leads to. */
static void
check_metadata(struct json_object *metadata, struct str state, struct str code, const char *name)
{
	struct scan_result scan = {.kind = STR("stl"), .metadata = metadata, .thumbnails_fd = -1};
	struct found found;
	struct json_object *o, *analysis, *reason;

	must(found_keep(a, store, &scan, &found));
	o = json_tokener_parse(str_z(a, found.json));
	analysis = json_object_object_get(o, "analysis");
	reason = json_object_object_get(analysis, "reason");
	is_str(text_of(analysis, "state"), state, name);
	is_str(reason ? text_of(reason, "code") : STR(""), code, name);
	ok((json_object_object_get(o, "metadata") != NULL) == (code.n == 0 && metadata != NULL),
	    "%s: kept or not", name);
	json_object_put(o);
	json_object_put(metadata);
}

static struct json_object *
one_member(const char *p, size_t n)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "x", json_object_new_string_len(p, (int)n));
	return o;
}

static void
test_metadata(void)
{
	enum { BIG = 1 << 20 };
	char *big = arena_alloc(a, BIG);

	memset(big, 'x', BIG);
	check_metadata(NULL, STR("parsed"), STR(""), "no metadata");
	check_metadata(one_member("y", 1), STR("parsed"), STR(""), "some metadata");
	check_metadata(
	    one_member(big, BIG), STR("unparsable"), STR("metadata_unusable"), "too much");
	check_metadata(one_member("a\0b", 3), STR("unparsable"), STR("metadata_unusable"),
	    "what the database cannot hold");
}

static void
test_reason_and_keys(void)
{
	struct str keys[] = {STR("mesh:1"), STR("mesh:2")};
	struct scan_result scan = {.kind = STR("3mf"),
	    .reason_code = STR("zip_bomb"),
	    .reason = STR("A \"bomb\"."),
	    .keys = keys,
	    .n_keys = 2,
	    .thumbnails_fd = -1};
	struct found found;

	must(found_keep(a, store, &scan, &found));
	is_str(found.json,
	    STR("{\"kind\":\"3mf\",\"metadata\":null,\"analysis\":{\"state\":\"unparsable\","
		"\"reason\":{\"code\":\"zip_bomb\",\"message\":\"A \\\"bomb\\\".\"}},"
		"\"keys\":[\"mesh:1\",\"mesh:2\"],\"thumbnails\":[]}"),
	    "what could be said of it");
}

/* --- scans that are broken off ------------------------------------------------------------------
 */

static bool
beat(void *ctx)
{
	return --*(int *)ctx > 0;
}

/* In place of soloprint-scan: a program that does not end. */
static void
slow_scanner(void)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/scan", folder);
	f = fopen(path, "w");
	must(f != NULL);
	fputs("#!/bin/sh\nexec sleep 60\n", f);
	fclose(f);
	must(chmod(path, 0755) == 0 && setenv("SOLOPRINT_SCAN", path, 1) == 0);
}

static void
test_beating(void)
{
	int fd = pictures_fd(STR("G1 X1")), beats = 2;
	struct scan_result scan;
	int64_t at = clock_mono_ms();

	slow_scanner();
	ok(!scan_file_beating(a, fd, STR("a.gcode"), beat, &beats, &scan), "broken off");
	is_int(beats, 0, "asked until it said stop");
	ok(clock_mono_ms() - at < SCAN_DEADLINE_MS / 2, "long before the deadline");
	ok(scan.reason_code.p != NULL, "with a reason all the same");
	is_str(scan.kind, STR("gcode"), "and a kind, by name");
	close(fd);
}

static int
remove_one(const char *path, const struct stat *st, int flag, struct FTW *at)
{
	(void)st;
	(void)flag;
	(void)at;
	return remove(path);
}

int
main(void)
{
	log_init("test", LOG_ERROR);
	a = arena_new(64 << 20);
	must(mkdtemp(folder) != NULL);
	store = store_open(folder);
	must(store != NULL);
	test_pictures();
	test_a_picture_that_is_not_there();
	test_spare();
	test_metadata();
	test_reason_and_keys();
	test_beating();
	store_close(store);
	arena_free(a);
	nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return tap_done();
}
