/* What passes between scan.c and soloprint-scan; nobody else needs it.
 *
 * soloprint-scan file FILENAME; soloprint-scan form CONTENT_TYPE. Its answer is one JSON object:
 * {"kind", "reason_code", "reason", "metadata", "keys": [], "thumbnails": [{"offset", "length",
 * "plate", "width", "height", "content_type"}]}, or what scan/form.h says. */
#ifndef MEDIA_SCAN_WIRE_H
#define MEDIA_SCAN_WIRE_H

enum {
	SCAN_FD_IN = 3,     /* the file or the body */
	SCAN_FD_ANSWER = 4, /* a pipe */
	SCAN_FD_OUT = 5,    /* pictures, or the form's file */
	SCAN_FDS_END = 6,
	SCAN_ANSWER_MOST = 1 << 20,
	SCAN_PICTURES_MOST = 32 << 20, /* bytes of all pictures of a file */
	SCAN_CPU_S = 10,
	SCAN_FORM_BYTES_PER_S = 20 << 20 /* more time for a longer body */
};

#endif
