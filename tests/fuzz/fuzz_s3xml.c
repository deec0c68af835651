/* Any bytes as an S3 service's answer. */
#include "base/arena.h"
#include "fuzz.h"
#include "store/s3_xml.h"

static struct arena *arena;

static void
check_text(struct str s)
{
	must(s.n <= S3_TEXT_MOST && str_utf8(s));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct s3_answer x;

	if (!arena)
		arena = arena_new(1 << 28);
	if (s3_xml_parse(arena, (struct str){(const char *)data, size}, &x)) {
		must(x.root.n > 0 && x.n <= S3_ITEMS_MOST);
		check_text(x.code);
		check_text(x.message);
		check_text(x.upload_id);
		check_text(x.next_token);
		for (size_t i = 0; i < x.n; i++) {
			check_text(x.items[i].key);
			check_text(x.items[i].upload_id);
			must(x.items[i].size >= 0);
		}
	}
	arena_reset(arena);
	return 0;
}
