#include "gateway/http_body.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static ssize_t
read_file(int fd, char *p, size_t n, int64_t at)
{
	ssize_t got;

	do
		got = pread(fd, p, n, (off_t)at);
	while (got < 0 && errno == EINTR);
	return got;
}

size_t
http_on_read(char *p, size_t size, size_t n, void *ctx)
{
	struct http_call *call = ctx;
	int64_t left = call->request.file_size - call->at;
	size_t room = size * n;
	ssize_t got;

	if (call->cancelled)
		return CURL_READFUNC_ABORT;
	if (left <= 0)
		return 0;
	if ((uint64_t)left < room)
		room = (size_t)left;
	got = read_file(call->request.fd, p, room, call->at);
	if (got <= 0) {
		call->early = HTTP_FILE;
		return CURL_READFUNC_ABORT;
	}
	call->at += got;
	return (size_t)got;
}

int
http_on_seek(void *ctx, curl_off_t offset, int origin)
{
	struct http_call *call = ctx;

	if (origin != SEEK_SET || offset < 0)
		return CURL_SEEKFUNC_FAIL;
	call->at = offset;
	return CURL_SEEKFUNC_OK;
}

size_t
http_on_body(char *p, size_t size, size_t n, void *ctx)
{
	struct http_call *call = ctx;
	const struct http_request *r = &call->request;

	n *= size;
	if (call->cancelled)
		return 0;
	if (r->chunk) {
		if (r->chunk(call->ctx, p, n))
			return n;
		call->early = HTTP_STOPPED;
		return 0;
	}
	if (n > (size_t)r->most - call->body.n) {
		call->early = HTTP_TOO_LARGE;
		return 0;
	}
	buf_add(&call->body, p, n);
	return n;
}

int
http_on_request(void *ctx, char *to, char *from, int to_port, int from_port)
{
	struct http_call *call = ctx;

	(void)to;
	(void)from;
	(void)to_port;
	(void)from_port;
	if (call->cancelled)
		return CURL_PREREQFUNC_ABORT;
	/* After a challenge there were lines: that is another request, not the same again. */
	if (call->request.once && call->asked && call->n_lines == call->asked_lines)
		return CURL_PREREQFUNC_ABORT;
	call->asked = true;
	call->asked_lines = call->n_lines;
	return CURL_PREREQFUNC_OK;
}

size_t
http_on_header(char *p, size_t size, size_t n, void *ctx)
{
	struct http_call *call = ctx;
	struct str rest, name;

	size *= n;
	n = size;
	if (call->cancelled)
		return 0;
	if (++call->n_lines > HTTP_HEADER_LINES) {
		call->early = HTTP_TOO_LARGE;
		return 0;
	}
	while (n > 0 && (p[n - 1] == '\r' || p[n - 1] == '\n'))
		n--;
	rest = (struct str){p, n};
	if (!call->request.header || str_index(rest, ':') <= 0)
		return size;
	name = str_trim(str_cut(&rest, ':'));
	if (call->request.header(call->ctx, name, str_trim(rest)))
		return size;
	call->early = HTTP_STOPPED;
	return 0;
}

int
http_on_progress(
    void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now)
{
	struct http_call *call = ctx;

	(void)total;
	(void)now;
	(void)up_total;
	if (call->cancelled)
		return 1;
	if (call->request.file && up_now > call->request.file_size)
		up_now = call->request.file_size;
	if (up_now > call->told) {
		call->told = up_now;
		call->request.sent(call->ctx, up_now);
	}
	return call->cancelled;
}

static bool
add_field(curl_mime *form, const struct http_field *f)
{
	curl_mimepart *part = curl_mime_addpart(form);

	return part && curl_mime_name(part, f->name) == CURLE_OK &&
	    curl_mime_data(part, f->value, CURL_ZERO_TERMINATED) == CURLE_OK;
}

static bool
add_file(curl_mime *form, struct http_call *call)
{
	const struct http_request *r = &call->request;
	curl_mimepart *part = curl_mime_addpart(form);

	return part && curl_mime_name(part, r->file_field) == CURLE_OK &&
	    curl_mime_filename(part, r->file_name ? r->file_name : "file") == CURLE_OK &&
	    curl_mime_type(part, r->file_type ? r->file_type : "application/octet-stream") ==
	    CURLE_OK &&
	    curl_mime_data_cb(
		part, (curl_off_t)r->file_size, http_on_read, http_on_seek, NULL, call) == CURLE_OK;
}

curl_mime *
http_form_new(struct http_call *call)
{
	const struct http_request *r = &call->request;
	curl_mime *form = curl_mime_init(call->easy);
	bool ok = form != NULL;

	for (size_t i = 0; ok && i < r->n_fields; i++)
		ok = add_field(form, &r->fields[i]);
	if (ok && r->file_field)
		ok = add_file(form, call);
	if (ok)
		return form;
	curl_mime_free(form);
	return NULL;
}
