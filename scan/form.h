/* multipart/form-data (RFC 7578) inside soloprint-scan, taken apart by GMime. */
#ifndef SCAN_FORM_H
#define SCAN_FORM_H

#include <json-c/json.h>

#include "media/scan.h"

enum {
	FORM_FIELD_MOST = 1024,     /* bytes of one field's value */
	FORM_NAME_MOST = 64,        /* bytes of one field's name */
	FORM_FILENAME_MOST = 255,   /* bytes */
	FORM_MEMORY_MOST = 4 << 20, /* what part headers, prologue and epilogue may take in all */
	FORM_COPY = 256 << 10       /* bytes that are copied at once */
};

/* Before the sandbox: everything that opens files or loads modules. */
void form_init(void);

/* Takes the part `file` out of body_fd (only lseek and pread) into out_fd (only write); what is in
 * *out is in the arena. The file is never in memory. A body that is refused has out->error and
 * nothing else; out_fd may then have been written to. */
void form_read(
    struct arena *a, int body_fd, struct str content_type, int out_fd, struct scan_form *out);

/* The same for soloprint-scan, in the sandbox. Fills `out`, the result's JSON object: {"error"} or
 * {"size", "filename", "content_type", "fields": [{"name", "value"}]}; see struct scan_form. The
 * exit status, 0. */
int form_main(
    struct arena *a, int body_fd, const char *content_type, int out_fd, struct json_object *out);

#endif
