#include "store/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"

enum { CHUNK = 256 * 1024 };

struct digest {
	EVP_MD_CTX *ctx;
};

struct digest *
digest_new(void)
{
	struct digest *d = malloc(sizeof(*d));

	must(d != NULL);
	d->ctx = EVP_MD_CTX_new();
	must(d->ctx != NULL && EVP_DigestInit_ex(d->ctx, EVP_sha256(), NULL) == 1);
	return d;
}

void
digest_free(struct digest *d)
{
	if (!d)
		return;
	EVP_MD_CTX_free(d->ctx);
	free(d);
}

void
digest_add(struct digest *d, const void *p, size_t n)
{
	must(EVP_DigestUpdate(d->ctx, p, n) == 1);
}

void
digest_end(struct digest *d, uint8_t out[DIGEST_LEN])
{
	must(EVP_DigestFinal_ex(d->ctx, out, NULL) == 1);
}

/* Up to n bytes at `at`; less only at the file's end. -1 with errno. */
static ssize_t
read_at(int fd, char *p, size_t n, int64_t at)
{
	size_t done = 0;

	while (done < n) {
		ssize_t got = pread(fd, p + done, n - done, at + (int64_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

/* to < 0: nothing is written. */
static bool
pass(int from, int to, struct digest *d, int64_t *size, progress_fn fn, void *ctx)
{
	char *chunk = malloc(CHUNK);
	ssize_t got = CHUNK;
	bool good = true;

	must(chunk != NULL);
	*size = 0;
	(void)posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
	while (good && got == CHUNK) {
		got = read_at(from, chunk, CHUNK, *size);
		if (got > 0) {
			digest_add(d, chunk, (size_t)got);
			good = to < 0 || io_write_all(to, chunk, (size_t)got);
			*size += got;
		}
		good = good && got >= 0 && (!fn || fn(ctx, *size));
	}
	free(chunk);
	return good;
}

bool
digest_file(int fd, uint8_t out[DIGEST_LEN], int64_t *size, progress_fn fn, void *ctx)
{
	struct digest *d = digest_new();
	bool good = pass(fd, -1, d, size, fn, ctx);

	digest_end(d, out);
	digest_free(d);
	return good;
}

bool
digest_range(int fd, int64_t from, int64_t size, uint8_t out[DIGEST_LEN], progress_fn fn, void *ctx)
{
	const int64_t whole = size;
	struct digest *d = digest_new();
	char *chunk = malloc(CHUNK);
	ssize_t got = 1;

	must(chunk != NULL);
	while (size > 0 && got > 0) {
		got = read_at(fd, chunk, size < CHUNK ? (size_t)size : CHUNK, from);
		if (got > 0)
			digest_add(d, chunk, (size_t)got);
		from += got;
		size -= got;
		if (fn && !fn(ctx, whole - size))
			break;
	}
	free(chunk);
	digest_end(d, out);
	digest_free(d);
	return size == 0;
}

bool
digest_copy(int from, int to, struct digest *d, int64_t *size, progress_fn fn, void *ctx)
{
	return pass(from, to, d, size, fn, ctx);
}
