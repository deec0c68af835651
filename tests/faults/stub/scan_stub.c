/* lib/media/scan.c at a keyboard: what scan_file says of a file, as JSON.
 *   scan_stub FILE FILENAME; the child is what SOLOPRINT_SCAN names. */
#include <fcntl.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "media/scan.h"

static struct json_object *
text(struct str s)
{
	return s.p ? json_object_new_string_len(s.p, (int)s.n) : NULL;
}

int
main(int argc, char **argv)
{
	struct arena *a = arena_new(64 << 20);
	struct json_object *o = json_object_new_object();
	struct scan_result r;
	int64_t start = clock_mono_ms();
	int fd = argc == 3 ? open(argv[1], O_RDONLY | O_CLOEXEC) : -1;

	log_init("stub", LOG_INFO);
	must(fd >= 0);
	/* A descriptor that a child must not have, on one of the numbers it has. */
	must(open("/dev/null", O_RDONLY) >= 0);
	scan_file(a, fd, str_from(argv[2]), &r);
	json_object_object_add(o, "kind", text(r.kind));
	json_object_object_add(o, "reason_code", text(r.reason_code));
	json_object_object_add(o, "reason", text(r.reason));
	json_object_object_add(o, "metadata", json_object_get(r.metadata));
	json_object_object_add(o, "n_keys", json_object_new_int((int)r.n_keys));
	json_object_object_add(o, "n_thumbnails", json_object_new_int((int)r.n_thumbnails));
	json_object_object_add(o, "ms", json_object_new_int64(clock_mono_ms() - start));
	printf("%s\n", json_object_to_json_string(o));
	json_object_put(o);
	arena_free(a);
	return 0;
}
