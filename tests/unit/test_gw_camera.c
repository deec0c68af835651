/* Pictures cut out of what cameras send. */
#include <stdlib.h>
#include <string.h>

#include "gateway/camera_cut.h"

#include "tap.h"

struct seen {
	int n;
	size_t sizes[8];
};

static void
on_picture(void *ctx, const uint8_t *jpeg, size_t n)
{
	struct seen *s = ctx;

	(void)jpeg;
	if (s->n < 8)
		s->sizes[s->n] = n;
	s->n++;
}

static const struct {
	const char *what, *bytes;
	size_t n;
	int pictures;
	size_t first;
} cuts[] = {
    {"one", "\xff\xd8 abc\xff\xd9", 8, 1, 8},
    {"two with text between",
	"--x\r\n\r\n\xff\xd8"
	"1\xff\xd9\r\n--x\r\n\xff\xd8"
	"22\xff\xd9",
	25, 2, 5},
    {"none", "hello", 5, 0, 0},
    {"a beginning", "\xff\xd8 abc", 6, 0, 0},
    {"an end without beginning", "abc\xff\xd9", 5, 0, 0},
    {"empty picture", "\xff\xd8\xff\xd9", 4, 1, 4},
    {"filled with ff", "\xff\xff\xff\xd8\xff\xff\xd9", 7, 1, 5},
    {"restart markers are no end", "\xff\xd8\xff\xd0\xff\xd7\xff\xd9", 8, 1, 8},
};

static void
test_cuts(size_t step)
{
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct picture_cutter c = {0};
		struct seen s = {0};
		bool good = true;

		for (size_t at = 0; at < cuts[i].n; at += step) {
			size_t n = cuts[i].n - at < step ? cuts[i].n - at : step;

			good = good &&
			    picture_cut(&c, (const uint8_t *)cuts[i].bytes + at, n, on_picture, &s);
		}
		ok(good && s.n == cuts[i].pictures && (s.n == 0 || s.sizes[0] == cuts[i].first),
		    "cut: %s, %zu bytes at a time: %d", cuts[i].what, step, s.n);
		picture_cutter_fini(&c);
	}
}

static void
test_cap(void)
{
	static const uint8_t start[] = {0xFF, 0xD8};
	struct picture_cutter c = {0};
	struct seen s = {0};
	uint8_t *zeros = calloc(1, 65536);
	size_t given = 0;

	picture_cut(&c, start, 2, on_picture, &s);
	while (given < 2 * PICTURE_MOST && picture_cut(&c, zeros, 65536, on_picture, &s))
		given += 65536;
	ok(given < PICTURE_MOST + 65536 && c.room <= 2 * PICTURE_MOST + 131072,
	    "an endless picture is given up after %zu bytes", given);
	picture_cutter_fini(&c);
	for (given = 0; given < 4 * PICTURE_MOST && picture_cut(&c, zeros, 65536, on_picture, &s);)
		given += 65536;
	ok(given >= 4 * PICTURE_MOST && c.room <= 131072, "what is no picture is not kept");
	picture_cutter_fini(&c);
	free(zeros);
}

static enum frame_step
feed(struct frame_reader *f, const char *bytes, size_t n)
{
	enum frame_step step = FRAME_MORE;

	while (n > 0 && step == FRAME_MORE) {
		size_t most;
		uint8_t *place = frame_place(f, &most);

		most = n < most ? n : most;
		memcpy(place, bytes, most);
		step = frame_take(f, most);
		bytes += most;
		n -= most;
	}
	return step;
}

static void
test_frames(void)
{
	static const struct {
		const char *what, *head, *body;
		size_t n;
		enum frame_step step;
	} table[] = {
	    {"a picture", "\5\0\0\0", "\xff\xd8 \xff\xd9", 5, FRAME_PICTURE},
	    {"not yet whole", "\5\0\0\0", "\xff\xd8 \xff", 4, FRAME_MORE},
	    {"no picture", "\5\0\0\0", "hello", 5, FRAME_BAD},
	    {"no size", "\0\0\0\0", "", 0, FRAME_BAD},
	    {"a huge size", "\xff\xff\xff\xff", "", 0, FRAME_BAD},
	    {"a byte too much", "\1\0\x20\0", "", 0, FRAME_BAD},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct frame_reader f = {0};
		char bytes[FRAME_HEAD + 8] = {0};

		memcpy(bytes, table[i].head, 4);
		memcpy(bytes + FRAME_HEAD, table[i].body, table[i].n);
		ok(feed(&f, bytes, FRAME_HEAD + table[i].n) == table[i].step, "frame: %s",
		    table[i].what);
		frame_reader_fini(&f);
	}
}

int
main(void)
{
	test_cuts(1);
	test_cuts(3);
	test_cuts(64);
	test_cap();
	test_frames();
	return tap_done();
}
