/* What goes out and comes in during a call: libcurl's callbacks. Not for drivers. */
#ifndef GATEWAY_HTTP_BODY_H
#define GATEWAY_HTTP_BODY_H

#include "gateway/http_call.h"

/* multipart/form-data of the call's fields and file; NULL when libcurl refuses. */
curl_mime *http_form_new(struct http_call *call);

size_t http_on_read(char *p, size_t size, size_t n, void *ctx);
int http_on_seek(void *ctx, curl_off_t offset, int origin);
size_t http_on_body(char *p, size_t size, size_t n, void *ctx);
/* Before each request that goes out, the one after a challenge included. */
int http_on_request(void *ctx, char *to, char *from, int to_port, int from_port);
size_t http_on_header(char *p, size_t size, size_t n, void *ctx);
int http_on_progress(
    void *ctx, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now);

#endif
