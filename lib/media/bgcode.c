/* Binary G-code, as its publisher specifies it (libbgcode, "Specifications"): a header, then blocks
 * of metadata (INI), thumbnails and G-code, each with a checksum. */
#include <ini.h>
#include <string.h>
#include <zlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "media/formats.h"
#include "media/gcode.h"

enum {
	FILE_HEADER = 10,
	BLOCK_HEADER = 12,
	PARAMS_MOST = 6,
	CRC_SIZE = 4,
	BLOCKS_MOST = 1 << 20,
	BLOCK_MOST = MEDIA_PICTURE_MOST, /* bytes of one that is read; slicers write 64 KiB */
	METADATA_MOST = 16 << 20,        /* of all blocks of metadata, inflated */
	INI_LINE = 150, /* what inih takes at once, with room for the blank in front */
	BUDGET_MS = 4000
};

enum { FILE_METADATA, GCODE, SLICER_METADATA, PRINTER_METADATA, PRINT_METADATA, THUMBNAIL };
enum { PLAIN, DEFLATE, HEATSHRINK_11_4, HEATSHRINK_12_4, COMPRESSIONS };

struct block {
	int type, compression;
	int64_t at, params_size, data_size, plain_size; /* data_size: as stored */
};

struct reader {
	struct media *m;
	struct gcode *g;
	bool checksums;
	int64_t deadline;
	int64_t metadata;     /* bytes read so far */
	bool skipped;         /* G-code that cannot be read here */
	char *stored, *plain; /* the block at hand */
};

static uint32_t
le(const char *p, int n)
{
	uint32_t v = 0;

	for (int i = n; i > 0; i--)
		v = v << 8 | (uint8_t)p[i - 1];
	return v;
}

/* The header and where the next block starts; false at the end or when it cannot be. */
static bool
block_at(struct reader *r, int64_t at, struct block *b, int64_t *next)
{
	char head[BLOCK_HEADER];
	struct str s = media_read_at(r->m, at, head, sizeof(head));
	int64_t header;

	if (s.n < 8)
		return media_fail(r->m, "truncated", "The file ends within a block.");
	b->type = (int)le(head, 2);
	b->compression = (int)le(head + 2, 2);
	b->plain_size = le(head + 4, 4);
	header = b->compression == PLAIN ? 8 : BLOCK_HEADER;
	if (b->type > THUMBNAIL || b->compression >= COMPRESSIONS || (int64_t)s.n < header)
		return media_fail(r->m, "unparsable", "There is a block of an unknown type.");
	b->data_size = b->compression == PLAIN ? b->plain_size : le(head + 8, 4);
	b->params_size = b->type == THUMBNAIL ? PARAMS_MOST : 2;
	b->at = at + header;
	*next = b->at + b->params_size + b->data_size + (r->checksums ? CRC_SIZE : 0);
	if (*next > r->m->size)
		return media_fail(r->m, "truncated", "The file ends within a block.");
	return true;
}

/* The checksum is over the block's header, parameters and data. */
static bool
checked(struct reader *r, const struct block *b, struct str content)
{
	int64_t header = b->compression == PLAIN ? 8 : BLOCK_HEADER;
	char head[BLOCK_HEADER];
	struct str s = media_read_at(r->m, b->at - header, head, (size_t)header);
	size_t n = (size_t)(b->params_size + b->data_size);
	uLong crc;

	if (!r->checksums)
		return content.n == n;
	if (s.n != (size_t)header || content.n != n + CRC_SIZE)
		return false;
	crc = crc32(0, (const Bytef *)s.p, (uInt)s.n);
	crc = crc32(crc, (const Bytef *)content.p, (uInt)n);
	return crc == le(content.p + n, 4);
}

/* Inflates to exactly the size that was announced. */
static bool
inflate_into(struct str data, char *out, size_t size)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)data.p,
	    .avail_in = (uInt)data.n,
	    .next_out = (Bytef *)out,
	    .avail_out = (uInt)size};
	bool good;

	if (inflateInit(&z) != Z_OK)
		return false;
	good = inflate(&z, Z_FINISH) == Z_STREAM_END && z.total_out == size;
	inflateEnd(&z);
	return good;
}

static bool
is_readable(const struct block *b)
{
	return b->compression <= DEFLATE && b->data_size <= BLOCK_MOST &&
	    b->plain_size <= BLOCK_MOST;
}

/* Parameters and data of a readable block, inflated if need be. */
static bool
content_of(struct reader *r, const struct block *b, struct str *params, struct str *data)
{
	size_t n = (size_t)(b->params_size + b->data_size) + (r->checksums ? CRC_SIZE : 0);
	struct str s = media_read_at(r->m, b->at, r->stored, n);

	if (!checked(r, b, s)) {
		media_fail(r->m, "bad_checksum", "A block's checksum is wrong.");
		return false;
	}
	*params = (struct str){s.p, (size_t)b->params_size};
	*data = (struct str){s.p + b->params_size, (size_t)b->data_size};
	if (b->compression == PLAIN)
		return true;
	if (!inflate_into(*data, r->plain, (size_t)b->plain_size)) {
		media_fail(r->m, "unparsable", "A block cannot be inflated.");
		return false;
	}
	*data = (struct str){r->plain, (size_t)b->plain_size};
	return true;
}

/* inih takes lines of up to 199 bytes. A longer one is given to it in pieces, each but the first
 * after a blank, which makes it go on with the setting before; `take` joins them again. */
struct ini {
	struct gcode *g;
	struct str rest, line;
	bool going_on; /* the line being read continues one */
	bool begun;    /* which was a setting */
	struct buf key, value;
};

static size_t
piece_of(struct str s)
{
	size_t n = s.n < INI_LINE ? s.n : INI_LINE;

	/* Neither side of the cut may be blank or start a comment. */
	while (n > 1 && n < s.n && (strchr(" \t;", s.p[n]) || strchr(" \t", s.p[n - 1])))
		n--;
	return n;
}

static char *
next_line(char *out, int size, void *ctx)
{
	struct ini *i = ctx;
	size_t n, at = 0;

	i->going_on = i->line.n > 0;
	if (!i->going_on) {
		if (!i->rest.p || i->rest.n == 0)
			return NULL;
		i->line = str_cut(&i->rest, '\n');
		i->begun = false;
	}
	n = piece_of(i->line);
	must(size > INI_LINE + 2);
	if (i->going_on)
		out[at++] = ' ';
	memcpy(out + at, i->line.p, n);
	out[at + n] = '\n';
	out[at + n + 1] = '\0';
	i->line = (struct str){i->line.p + n, i->line.n - n};
	return out;
}

static void
setting_done(struct ini *i)
{
	struct str key = buf_view(&i->key);

	if (key.n && str_eq(key, STR("Producer")))
		gcode_producer(i->g, buf_view(&i->value));
	else if (key.n)
		gcode_setting(i->g, key, buf_view(&i->value));
	buf_clear(&i->key);
	buf_clear(&i->value);
}

static int
take(void *ctx, const char *section, const char *name, const char *value)
{
	struct ini *i = ctx;

	(void)section;
	if (!i->going_on) {
		setting_done(i);
		buf_str(&i->key, str_from(name));
		i->begun = true;
	}
	if (i->begun)
		buf_str(&i->value, str_from(value));
	return 1;
}

static void
settings(struct reader *r, struct str text)
{
	struct ini i = {.g = r->g, .rest = text};

	buf_init(&i.key, 1024);
	buf_init(&i.value, 65536);
	ini_parse_stream(next_line, &i, take, &i);
	setting_done(&i);
	buf_fini(&i.key);
	buf_fini(&i.value);
}

static bool
metadata(struct reader *r, const struct block *b)
{
	struct str params, data;

	if (b->compression > DEFLATE)
		return true; /* as no slicer stores it */
	r->metadata += b->plain_size;
	if (!is_readable(b) || r->metadata > METADATA_MOST)
		return media_fail(r->m, "too_complex", "There is too much metadata.");
	if (!content_of(r, b, &params, &data))
		return false;
	if (le(params.p, 2) == 0)
		settings(r, data);
	return true;
}

static bool
thumbnail(struct reader *r, const struct block *b)
{
	struct str params, data;

	if (!is_readable(b))
		return true;
	if (!content_of(r, b, &params, &data))
		return false;
	media_picture(r->m, 0, data);
	return true;
}

/* Commands that are stored as text are read like any G-code; packed ones are passed over. */
static bool
commands(struct reader *r, const struct block *b)
{
	struct str params, data;

	if (r->skipped)
		return true;
	r->skipped = !is_readable(b) || clock_mono_ms() > r->deadline;
	if (!r->skipped && !content_of(r, b, &params, &data))
		return false;
	r->skipped = r->skipped || le(params.p, 2) != 0;
	if (r->skipped)
		gcode_gap(r->g);
	else
		gcode_feed(r->g, data);
	return true;
}

static bool (*const takes[])(struct reader *r, const struct block *b) = {
    [FILE_METADATA] = metadata,
    [GCODE] = commands,
    [SLICER_METADATA] = metadata,
    [PRINTER_METADATA] = metadata,
    [PRINT_METADATA] = metadata,
    [THUMBNAIL] = thumbnail,
};

static bool
is(const struct media *m, struct str head)
{
	(void)m;
	return head.n >= FILE_HEADER && str_starts(head, STR("GCDE"));
}

static void
read_all(struct media *m)
{
	struct reader r = {.m = m, .g = gcode_new(m, 0), .deadline = clock_mono_ms() + BUDGET_MS};
	struct str head = media_bytes(m, 0, FILE_HEADER);
	int64_t at = FILE_HEADER, next = 0;
	struct block b = {.type = 0};
	int n = 0;

	if (head.n < FILE_HEADER || le(head.p + 4, 4) != 1 || le(head.p + 8, 2) > 1) {
		media_fail(m, "unparsable", "The version of the binary format is not known.");
		return;
	}
	r.checksums = le(head.p + 8, 2) == 1;
	r.stored = arena_alloc(m->arena, BLOCK_MOST + PARAMS_MOST + CRC_SIZE);
	r.plain = arena_alloc(m->arena, BLOCK_MOST);
	while (at < m->size && n++ < BLOCKS_MOST && block_at(&r, at, &b, &next) &&
	    takes[b.type](&r, &b))
		at = next;
	if (!gcode_end(r.g, media_meta(m)))
		media_fail(m, "unparsable", "There is neither metadata nor G-code in the file.");
}

const struct media_format format_bgcode = {"bgcode", is, read_all};
