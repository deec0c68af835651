#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "media/media.h"
#include "media/scan_wire.h"

enum { SIDE_MOST = 8192, PICTURE_LEAST = 16 };

struct size {
	int width, height;
};

static int
be16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

/* -1 when it is more than any side may have. */
static int
side32(const uint8_t *p)
{
	uint32_t v = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];

	return v > SIDE_MOST ? -1 : (int)v;
}

/* PNG (ISO 15948): signature, then IHDR. */
static bool
png(const uint8_t *p, size_t n, struct size *out)
{
	static const uint8_t start[] = {
	    0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0, 0, 13, 'I', 'H', 'D', 'R'};

	if (n < 33 || memcmp(p, start, sizeof(start)) != 0)
		return false;
	*out = (struct size){side32(p + 16), side32(p + 20)};
	return true;
}

/* A start-of-frame marker: all of C0 … CF but DHT, JPG and DAC. */
static bool
is_frame(uint8_t marker)
{
	return marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 &&
	    marker != 0xcc;
}

/* JPEG (ITU-T T.81): segments up to the first start of frame. */
static bool
jpeg(const uint8_t *p, size_t n, struct size *out)
{
	size_t at = 2;

	if (p[0] != 0xff || p[1] != 0xd8 || p[2] != 0xff)
		return false;
	*out = (struct size){-1, -1};
	while (at + 9 <= n && p[at] == 0xff) {
		uint8_t marker = p[at + 1];
		size_t length = (size_t)be16(p + at + 2);

		if (is_frame(marker)) {
			*out = (struct size){be16(p + at + 7), be16(p + at + 5)};
			break;
		}
		at += marker == 0xff ? 1 : 2 + (length < 2 ? 2 : length);
	}
	return true;
}

/* QOI (qoiformat.org): magic, width, height, channels, colour space. */
static bool
qoi(const uint8_t *p, size_t n, struct size *out)
{
	if (n < 14 + 8 || memcmp(p, "qoif", 4) != 0 || p[12] < 3 || p[12] > 4 || p[13] > 1)
		return false;
	*out = (struct size){side32(p + 4), side32(p + 8)};
	return true;
}

static const struct {
	const char *content_type;
	bool (*is)(const uint8_t *p, size_t n, struct size *out);
} kinds[] = {
    {"image/png", png},
    {"image/jpeg", jpeg},
    {"image/x-qoi", qoi},
};

static const char *
kind_of(struct str bytes, struct size *size)
{
	if (bytes.n < PICTURE_LEAST || bytes.n > MEDIA_PICTURE_MOST)
		return NULL;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (kinds[i].is((const uint8_t *)bytes.p, bytes.n, size))
			return size->width > 0 && size->width <= SIDE_MOST && size->height > 0 &&
				size->height <= SIDE_MOST
			    ? kinds[i].content_type
			    : NULL;
	return NULL;
}

static bool
append(int fd, struct str bytes, int64_t at)
{
	size_t done = 0;

	while (done < bytes.n) {
		ssize_t n = pwrite(fd, bytes.p + done, bytes.n - done, at + (int64_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

void
media_picture(struct media *m, int plate, struct str bytes)
{
	struct size size = {0, 0};
	const char *type = kind_of(bytes, &size);
	struct scan_thumbnail *t = &m->thumbnails[m->n_thumbnails];

	if (!type || m->thumbnails_fd < 0 || m->n_thumbnails == SCAN_THUMBNAILS_MOST ||
	    m->thumbnails_bytes + (int64_t)bytes.n > SCAN_PICTURES_MOST ||
	    !append(m->thumbnails_fd, bytes, m->thumbnails_bytes))
		return;
	*t = (struct scan_thumbnail){
	    m->thumbnails_bytes, (int64_t)bytes.n, plate, size.width, size.height, type};
	m->n_thumbnails++;
	m->thumbnails_bytes += (int64_t)bytes.n;
}
