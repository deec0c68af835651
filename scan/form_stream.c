#include "scan/form_stream.h"

#include <malloc.h>
#include <unistd.h>

/* With a sanitizer its allocator is asked, which mallinfo2 knows nothing of. */
extern size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

typedef struct {
	GMimeStream parent;
	struct form_source *source;
} FormStream;

typedef struct {
	GMimeStreamClass parent;
} FormStreamClass;

GType form_stream_get_type(void);
G_DEFINE_TYPE(FormStream, form_stream, GMIME_TYPE_STREAM)

size_t
form_heap(void)
{
	struct mallinfo2 m;

	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

static FormStream *
self(GMimeStream *stream)
{
	return (FormStream *)(void *)stream;
}

/* One past the stream's last byte, in its own coordinates. */
static gint64
end_of(const GMimeStream *stream, const struct form_source *s)
{
	gint64 all = (gint64)s->head.n + s->size;

	return stream->bound_end == -1 || stream->bound_end > all ? all : stream->bound_end;
}

static ssize_t
read_head(const struct form_source *s, gint64 at, char *buf, size_t n)
{
	size_t left = s->head.n - (size_t)at;

	n = n < left ? n : left;
	for (size_t i = 0; i < n; i++)
		buf[i] = s->head.p[(size_t)at + i];
	return (ssize_t)n;
}

/* The parser keeps contents as substreams; whatever else it keeps grows the heap. */
static bool
may_read(struct form_source *s)
{
	s->heap_full = s->heap_full || form_heap() > s->heap_most;
	return !s->heap_full && !s->failed;
}

static ssize_t
stream_read(GMimeStream *stream, char *buf, size_t n)
{
	struct form_source *s = self(stream)->source;
	gint64 left = end_of(stream, s) - stream->position;
	ssize_t got;

	if (!may_read(s))
		return -1;
	if (left <= 0)
		return 0;
	n = n < (size_t)left ? n : (size_t)left;
	if (stream->position < (gint64)s->head.n)
		got = read_head(s, stream->position, buf, n);
	else
		got = pread(s->fd, buf, n, (off_t)(stream->position - (gint64)s->head.n));
	if (got > 0)
		stream->position += got;
	s->failed = s->failed || got < 0;
	return got;
}

static ssize_t
stream_write(
    G_GNUC_UNUSED GMimeStream *stream, G_GNUC_UNUSED const char *buf, G_GNUC_UNUSED size_t n)
{
	return -1;
}

static int
stream_nothing(G_GNUC_UNUSED GMimeStream *stream)
{
	return 0;
}

static gboolean
stream_eos(GMimeStream *stream)
{
	struct form_source *s = self(stream)->source;

	return s->heap_full || s->failed || stream->position >= end_of(stream, s);
}

static int
stream_reset(GMimeStream *stream)
{
	stream->position = stream->bound_start;
	return 0;
}

static gint64
stream_seek(GMimeStream *stream, gint64 offset, GMimeSeekWhence whence)
{
	gint64 end = end_of(stream, self(stream)->source), at;

	at = whence == GMIME_STREAM_SEEK_END  ? end + offset
	    : whence == GMIME_STREAM_SEEK_CUR ? stream->position + offset
					      : offset;
	if (at < stream->bound_start || at > end)
		return -1;
	stream->position = at;
	return at;
}

static gint64
stream_tell(GMimeStream *stream)
{
	return stream->position;
}

static gint64
stream_length(GMimeStream *stream)
{
	return end_of(stream, self(stream)->source) - stream->bound_start;
}

static GMimeStream *
stream_sub(GMimeStream *stream, gint64 start, gint64 end)
{
	FormStream *sub = g_object_new(form_stream_get_type(), NULL);

	sub->source = self(stream)->source;
	g_mime_stream_construct(&sub->parent, start, end);
	return &sub->parent;
}

static void
form_stream_class_init(FormStreamClass *class)
{
	GMimeStreamClass *c = &class->parent;

	c->read = stream_read;
	c->write = stream_write;
	c->flush = stream_nothing;
	c->close = stream_nothing;
	c->eos = stream_eos;
	c->reset = stream_reset;
	c->seek = stream_seek;
	c->tell = stream_tell;
	c->length = stream_length;
	c->substream = stream_sub;
}

static void
form_stream_init(FormStream *stream)
{
	stream->source = NULL;
}

GMimeStream *
form_stream_new(struct form_source *source)
{
	FormStream *stream = g_object_new(form_stream_get_type(), NULL);

	stream->source = source;
	g_mime_stream_construct(&stream->parent, 0, -1);
	return &stream->parent;
}

void
form_stream_range(const GMimeStream *stream, int64_t *start, int64_t *end)
{
	const struct form_source *s = ((const FormStream *)(const void *)stream)->source;

	*start = stream->bound_start - (gint64)s->head.n;
	*end = end_of(stream, s) - (gint64)s->head.n;
}
