#include "gateway/camera_cut.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

bool
picture_is_whole(const uint8_t *p, size_t n)
{
	return n >= 4 && n <= PICTURE_MOST && p[0] == 0xFF && p[1] == 0xD8 && p[n - 2] == 0xFF &&
	    p[n - 1] == 0xD9;
}

static const uint8_t *
find_marker(const uint8_t *p, size_t n, uint8_t second)
{
	const uint8_t *at = p, *end = p + n;

	while (end - at >= 2) {
		at = memchr(at, 0xFF, (size_t)(end - at) - 1);
		if (!at)
			return NULL;
		if (at[1] == second)
			return at;
		at++;
	}
	return NULL;
}

static void
keep(struct picture_cutter *c, const uint8_t *bytes, size_t n)
{
	if (c->n + n > c->room) {
		c->room = c->n + n > c->room * 2 ? c->n + n : c->room * 2;
		c->p = realloc(c->p, c->room);
		must(c->p != NULL);
	}
	memcpy(c->p + c->n, bytes, n);
	c->n += n;
}

static void
drop_front(struct picture_cutter *c, size_t n)
{
	memmove(c->p, c->p + n, c->n - n);
	c->n -= n;
	c->seen = 0;
}

/* Leaves a picture's beginning, or what may become one, at the front. */
static void
skip_to_start(struct picture_cutter *c)
{
	const uint8_t *start = find_marker(c->p, c->n, 0xD8);

	if (start)
		drop_front(c, (size_t)(start - c->p));
	else
		drop_front(c, c->n && c->p[c->n - 1] == 0xFF ? c->n - 1 : c->n);
}

bool
picture_cut(struct picture_cutter *c, const uint8_t *bytes, size_t n,
    void (*picture)(void *ctx, const uint8_t *jpeg, size_t n), void *ctx)
{
	const uint8_t *end;
	size_t size;

	if (n > PICTURE_MOST)
		return false;
	keep(c, bytes, n);
	for (;;) {
		if (!c->seen)
			skip_to_start(c);
		if (c->n < 4)
			return true;
		c->seen = c->seen < 2 ? 2 : c->seen;
		end = find_marker(c->p + c->seen, c->n - c->seen, 0xD9);
		if (!end) {
			c->seen = c->n - 1;
			return c->n <= PICTURE_MOST;
		}
		size = (size_t)(end - c->p) + 2;
		if (size > PICTURE_MOST)
			return false;
		picture(ctx, c->p, size);
		drop_front(c, size);
	}
}

void
picture_cutter_fini(struct picture_cutter *c)
{
	free(c->p);
	memset(c, 0, sizeof(*c));
}

/* --- frames ----------------------------------------------------------------------------------- */

static uint32_t
le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* False when the announced size is none. */
static bool
begin_picture(struct frame_reader *f)
{
	f->size = le32(f->head);
	f->n = 0;
	if (f->size < 4 || f->size > PICTURE_MOST)
		return false;
	if (f->size <= f->room)
		return true;
	free(f->picture);
	f->room = f->size;
	f->picture = malloc(f->room);
	must(f->picture != NULL);
	return true;
}

uint8_t *
frame_place(struct frame_reader *f, size_t *most)
{
	if (f->n_head < FRAME_HEAD) {
		*most = FRAME_HEAD - f->n_head;
		return f->head + f->n_head;
	}
	*most = f->size - f->n;
	return f->picture + f->n;
}

enum frame_step
frame_take(struct frame_reader *f, size_t n)
{
	if (f->n_head < FRAME_HEAD) {
		f->n_head += n;
		return f->n_head < FRAME_HEAD || begin_picture(f) ? FRAME_MORE : FRAME_BAD;
	}
	f->n += n;
	if (f->n < f->size)
		return FRAME_MORE;
	f->n_head = 0;
	return picture_is_whole(f->picture, f->size) ? FRAME_PICTURE : FRAME_BAD;
}

void
frame_reader_fini(struct frame_reader *f)
{
	free(f->picture);
	memset(f, 0, sizeof(*f));
}
