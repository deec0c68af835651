/* Pictures out of bytes. */
#ifndef GATEWAY_CAMERA_CUT_H
#define GATEWAY_CAMERA_CUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PICTURE_MOST = 2 << 20, /* bytes; A1: about 60 kB, a 4k webcam about 1.5 MB */
	FRAME_HEAD = 16
};

/* A whole JPEG as far as its ends tell (ISO/IEC 10918-1 B.1.1.3: SOI FFD8, EOI FFD9). */
bool picture_is_whole(const uint8_t *p, size_t n);

/* Cuts pictures out of a stream of bytes, whatever stands between them. */
struct picture_cutter {
	uint8_t *p;
	size_t n, room;
	size_t seen; /* bytes that were searched for the end */
};
/* Takes bytes; calls `picture` for each that is complete. False: a picture is over PICTURE_MOST. */
bool picture_cut(struct picture_cutter *c, const uint8_t *bytes, size_t n,
    void (*picture)(void *ctx, const uint8_t *jpeg, size_t n), void *ctx);
void picture_cutter_fini(struct picture_cutter *c);

/* Frames of a Bambu camera: a head whose first four bytes are the picture's size, little-endian,
 * and the picture. A zeroed struct begins. */
struct frame_reader {
	uint8_t head[FRAME_HEAD];
	size_t n_head;
	uint8_t *picture; /* whole after frame_take said FRAME_PICTURE, until the next call */
	size_t size, n, room;
};
/* Where the next bytes belong, and how many at most: never none. */
uint8_t *frame_place(struct frame_reader *f, size_t *most);
/* n bytes are there now. FRAME_BAD: this is no camera's stream; it is over. */
enum frame_step { FRAME_MORE, FRAME_PICTURE, FRAME_BAD };
enum frame_step frame_take(struct frame_reader *f, size_t n);
void frame_reader_fini(struct frame_reader *f);

#endif
