#include "media/lines.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

struct splitter {
	lines_fn fn;
	void *ctx;
	char line[LINES_LONGEST]; /* the beginning of a line that a chunk ended in */
	size_t n;
};

static void
keep(struct splitter *s, struct str part)
{
	size_t room = sizeof(s->line) - s->n, n = part.n < room ? part.n : room;

	memcpy(s->line + s->n, part.p, n);
	s->n += n;
}

static bool
give(struct splitter *s, struct str line)
{
	if (s->n) {
		keep(s, line);
		line = (struct str){s->line, s->n};
		s->n = 0;
	}
	if (line.n > LINES_LONGEST)
		line.n = LINES_LONGEST;
	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	return s->fn(s->ctx, line);
}

static bool
split(void *ctx, struct str chunk)
{
	struct splitter *s = ctx;

	while (chunk.n) {
		const char *end = memchr(chunk.p, '\n', chunk.n);
		struct str line = {chunk.p, end ? (size_t)(end - chunk.p) : chunk.n};

		if (!end) {
			keep(s, line);
			return true;
		}
		if (!give(s, line))
			return false;
		chunk = (struct str){end + 1, chunk.n - line.n - 1};
	}
	return true;
}

bool
lines_chunks(const struct media *m, lines_fn fn, void *ctx)
{
	char *p = arena_alloc(m->arena, LINES_CHUNK);
	struct str chunk;

	for (int64_t at = 0; at < m->size; at += (int64_t)chunk.n) {
		chunk = media_read_at(m, at, p, LINES_CHUNK);
		if (!chunk.n)
			return false;
		if (!fn(ctx, chunk))
			return false;
	}
	return true;
}

bool
lines_each(const struct media *m, lines_fn fn, void *ctx)
{
	struct splitter *s = ARENA_NEW(m->arena, struct splitter);

	s->fn = fn;
	s->ctx = ctx;
	return lines_chunks(m, split, s) && (s->n == 0 || give(s, STR("")));
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct str
next_word(struct str *s)
{
	struct str word;

	while (s->n && is_blank(*s->p))
		s->p++, s->n--;
	word = (struct str){s->p, 0};
	while (s->n && !is_blank(*s->p))
		s->p++, s->n--, word.n++;
	return word;
}

bool
lines_numbers(struct str s, double *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct str word = next_word(&s);
		char text[64], *end;

		if (!word.n || word.n >= sizeof(text))
			return false;
		memcpy(text, word.p, word.n);
		text[word.n] = '\0';
		out[i] = strtod(text, &end);
		if (end != text + word.n)
			return false;
	}
	return true;
}
