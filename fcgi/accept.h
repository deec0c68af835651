/* The FastCGI side of a worker; the only user of libfcgi. */
#ifndef FCGI_ACCEPT_H
#define FCGI_ACCEPT_H

#include <stdbool.h>

struct accept;
struct req;

/* NULL when the library refuses. One per process. */
struct accept *accept_new(int listen_fd);
void accept_free(struct accept *acc);

enum accept_result {
	ACCEPT_REQUEST,
	ACCEPT_IDLE, /* nothing came for a second */
	ACCEPT_STOP  /* the worker was asked to stop */
};

/* Waits for a request and fills r's raw part: method, path, query_string and in_headers borrow
 * until accept_finish; id, body and remote_addr are the arena's. */
enum accept_result accept_next(struct accept *acc, struct req *r);
/* Sends the staged reply and ends the request. */
void accept_finish(struct accept *acc, const struct req *r);

#endif
