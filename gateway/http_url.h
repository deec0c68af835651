/* URLs of printers: put together and judged by libcurl. */
#ifndef GATEWAY_HTTP_URL_H
#define GATEWAY_HTTP_URL_H

#include "base/str.h"

/* Writes scheme://host:port + prefix + path. host: name or literal address, IPv6 with or without
 * brackets; prefix: "" or "/octoprint", with or without slashes at its ends; path begins with '/'
 * and is percent-encoded already. Port 0: the scheme's. False when it does not fit or is no URL. */
bool http_url(char *out, size_t size, const char *scheme, const char *host, int port,
    const char *prefix, const char *path);
/* Percent-encodes one segment of a path or one value of a query: all but letters, digits and
 * "-._~". False when it does not fit. */
bool http_escape(char *out, size_t size, struct str text);
/* The same for a path with folders: '/' stays. */
bool http_escape_path(char *out, size_t size, struct str path);
/* One that http_send takes: http or https, without credentials and control characters;
 * without an address of its own the host must be one. */
bool http_url_is_good(const char *url, bool has_address);

#endif
