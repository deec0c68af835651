/* Files on their way to printers: the store's objects as open descriptors. */
#ifndef GATEWAY_FILE_BOX_H
#define GATEWAY_FILE_BOX_H

#include <stdbool.h>

#include "base/uuid.h"
#include "gateway/resolve.h"

struct file_box;
struct file_call;
struct http;

/* directory: of the file store, "": there is none. The object store is what the settings say
 * (store/s3.h); its objects are fetched into the directory's filesystem. */
struct file_box *file_box_new(const char *directory, struct http *http, struct resolver *resolver);
void file_box_free(struct file_box *b);

enum file_end { FILE_OPEN, FILE_GONE, FILE_UNAVAILABLE };

/* Tells fd, to be closed by whom it was told, from within or later; then returns NULL, else what
 * can be cancelled. remote: it is in the object store and is fetched first. */
struct file_call *file_box_open(struct file_box *b, struct uuid blob, bool remote,
    void (*done)(void *ctx, enum file_end end, int fd), void *ctx);
void file_call_cancel(struct file_call *c);

#endif
