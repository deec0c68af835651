/* The GMime stream that the parser reads: a header line followed by a descriptor's content. It
 * only uses pread, so that substreams (the parts' contents) are independent of each other. */
#ifndef SCAN_FORM_STREAM_H
#define SCAN_FORM_STREAM_H

#include <gmime/gmime.h>

#include "base/str.h"

struct form_source {
	struct str head; /* what the parser sees before the descriptor's first byte */
	int fd;          /* borrowed */
	int64_t size;    /* of the descriptor's content */
	size_t heap_most;
	bool heap_full; /* set when the heap had grown over heap_most; reading has then stopped */
	bool failed;    /* set by a read error */
};

/* Borrows the source. */
GMimeStream *form_stream_new(struct form_source *source);
/* Where the stream (or substream) lies in the descriptor's content. */
void form_stream_range(const GMimeStream *stream, int64_t *start, int64_t *end);
/* Bytes that this process has from malloc. */
size_t form_heap(void);

#endif
