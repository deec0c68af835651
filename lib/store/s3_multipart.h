/* Objects that are put together of parts. Private to lib/store. */
#ifndef STORE_S3_MULTIPART_H
#define STORE_S3_MULTIPART_H

#include "store/s3_http.h"

/* Adds the header that asks for encryption, when configured. */
void s3_encrypt(struct s3_call *c);

/* s3_put of what is larger than a part, without the look at what arrived. */
enum s3_end s3_put_parts(struct s3 *s, struct str key, int fd, int64_t size,
    const uint8_t sha256[DIGEST_LEN], progress_fn fn, void *ctx);

#endif
