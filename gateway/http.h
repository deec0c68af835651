/* HTTP and HTTPS to printers: libcurl's multi interface in the loop, for as many
 * calls at once as there are. Names are not resolved, redirects not followed, proxies and cookies
 * not used. Every callback runs in the loop; within each of them anything here may be called. */
#ifndef GATEWAY_HTTP_H
#define GATEWAY_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "gateway/loop.h"

struct http;        /* one per process */
struct http_client; /* a printer's: who we are to it, how many connections at once */
struct http_call;

/* What became of a call. HTTP_OK: there is a whole answer, whatever its status. */
enum http_fault {
	HTTP_OK,
	HTTP_UNREACHABLE, /* no connection, also not within the time for it */
	HTTP_TLS,         /* no common ground of TLS, for example none spoken there */
	HTTP_UNTRUSTED,   /* the certificate is of nobody we trust */
	HTTP_OTHER_HOST,  /* a trusted certificate, but of another host than the URL's */
	HTTP_TIMEOUT,     /* connected, then too slow */
	HTTP_BROKEN,      /* the connection ended, or what came is no such protocol */
	HTTP_TOO_LARGE,   /* more headers or body than wanted */
	HTTP_FILE,        /* our file could not be read, or is shorter than was said */
	HTTP_STOPPED,     /* `chunk` or `header` returned false */
	HTTP_UNUSABLE     /* the URL, address, a header or a quoted command cannot be sent */
};
/* For logs: "unreachable", … */
const char *http_fault_name(enum http_fault f);

struct http_client_options {
	const char *agent; /* User-Agent; NULL: "SoLoPrint" */
	int parallel;      /* most calls at once, the others wait their turn in order; 0: 4 */
	/* Sent by Digest (RFC 7616); NULL: none. The nonce is kept
	 * for the calls that follow. */
	const char *user, *secret;
	const char *ca_file;     /* PEM that certificates must chain to; NULL: the system's */
	const char *unix_socket; /* connections go there, whatever a URL says; NULL: to addresses */
	bool no_reuse;           /* each call on a connection of its own, closed at its end */
};

struct http_header {
	const char *name, *value; /* value NULL: libcurl's own header of that name is left out */
};
struct http_field {
	const char *name, *value;
};

/* Callbacks may be NULL. Everything is copied by http_send, except the file. */
struct http_request {
	/* "GET", "HEAD", "POST", "PUT", "DELETE" …; NULL: GET. */
	const char *method;
	/* http or https, without credentials. Its host goes into Host, SNI and the check of
	 * the certificate. */
	const char *url;
	/* The IP address to connect to; NULL: the URL's host is one. */
	const char *address;
	const struct http_header *headers;
	size_t n_headers;

	/* The body: none, `body` of `body_type`, or a file. */
	struct str body;
	const char *body_type; /* also of a raw file; NULL: none said */
	/* The file's bytes 0 … file_size - 1 are read by pread when there is room; the descriptor
	 * must stay open until `done`. fd is looked at when `file` is set. */
	bool file;
	int fd;
	int64_t file_size;
	/* With file_field the file is the last part of multipart/form-data (RFC 7578), after
	 * `fields`; else it is the body of a PUT or STOR. `fields` without a file are sent so too.
	 */
	const char *file_field, *file_name, *file_type;
	const struct http_field *fields;
	size_t n_fields;

	/* Milliseconds; 0: the default, HTTP_NEVER: no limit. */
	int connect_ms; /* TCP and TLS; 10 s */
	int total_ms;   /* everything, waiting for a turn not counted; 30 s; with a file: none */
	int stall_ms;   /* not a byte for so long, counted in whole seconds; 30 s */
	int64_t most;   /* bytes of a body that is gathered; 0: 1 MiB */
	bool once;      /* not repeated when a kept connection turns out to be dead: HTTP_BROKEN */
	bool fresh;     /* on a new connection from the start */

	/* Bytes of the body that were given to the connection so far, more with each call. */
	void (*sent)(void *ctx, int64_t bytes);
	/* A header of the answer, name and value as they came. */
	bool (*header)(void *ctx, struct str name, struct str value);
	/* The body as it comes; it is not gathered then. False ends the call with HTTP_STOPPED. */
	bool (*chunk)(void *ctx, const void *bytes, size_t n);
};
enum { HTTP_NEVER = -1 };

struct http_reply {
	enum http_fault fault;
	int status; /* 0: no answer came */
	struct str
	    body; /* NUL behind its end; borrowed, gone after the callback. Also with a fault */
	const char *type;      /* Content-Type, "" when none was said */
	int64_t length;        /* Content-Length; -1: not said */
	int64_t sent;          /* bytes of the body */
	int64_t elapsed_us;    /* from the connection's begin to the end */
	int64_t first_byte_us; /* … to the first byte of the answer; 0: none came */
	/* libcurl's words about a fault, for logs: no credentials, but perhaps an address. */
	const char *words;
};
typedef void (*http_done)(void *ctx, const struct http_reply *reply);

struct http *http_new(struct loop *loop); /* NULL when libcurl does not work here */
void http_free(struct http *h);           /* no client may be left */

/* Copies the options. */
struct http_client *http_client_new(struct http *h, const struct http_client_options *o);
/* Cancels its calls and closes its connections. NULL is allowed. */
void http_client_free(struct http_client *c);

/* `done` is called exactly once, never before this returns, and ends the call's life; it is not
 * called for a cancelled call. */
struct http_call *http_send(
    struct http_client *c, const struct http_request *r, http_done done, void *ctx);
void http_cancel(struct http_call *call);           /* also what http_connect gave */
int http_call_status(const struct http_call *call); /* so far, for `chunk` */

/* Only a connection, TLS when the URL says https; method, headers and body are ignored. When `done`
 * says HTTP_OK the call lives on with the connection, outside of the client's count, until
 * http_cancel. */
struct http_call *http_connect(
    struct http_client *c, const struct http_request *r, http_done done, void *ctx);
/* The descriptor to watch. It may be silent while bytes are there: read until HTTP_AGAIN. */
int http_socket(const struct http_call *call);
/* Bytes moved; HTTP_AGAIN: none now; HTTP_CLOSED: the connection is at its end. */
enum { HTTP_AGAIN = 0, HTTP_CLOSED = -1 };
ptrdiff_t http_read(struct http_call *call, void *p, size_t n);
ptrdiff_t http_write(struct http_call *call, const void *p, size_t n);

#endif
