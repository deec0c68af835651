/* What the files of the HTTP client share. Not for drivers. */
#ifndef GATEWAY_HTTP_CALL_H
#define GATEWAY_HTTP_CALL_H

#include <curl/curl.h>
#include <sys/types.h>

#include "base/buf.h"
#include "gateway/http.h"

enum { HTTP_SOCKETS = 16, HTTP_HEADER_LINES = 256 };

struct http {
	struct loop *loop;
	CURLM *multi;
	struct timer timer; /* libcurl's */
	struct timer turn;  /* calls that wait for their turn or whose end is to be told */
	struct http_client *clients;
	struct http_call
	    *ended;     /* cancelled while libcurl was running, or unusable from the start */
	int depth;      /* > 0: libcurl is running */
	bool some_wait; /* a client has calls that could not begin meanwhile */
};

/* A socket that libcurl has been given; inode: tells it from a later one with the same number. */
struct http_socket {
	int fd;
	ino_t inode;
};

struct http_client {
	struct http *http;
	struct http_client *next, **link;
	char *agent, *user, *secret, *ca_file, *unix_socket;
	int parallel, running;
	int ending;   /* calls of it in http.ended */
	bool waiting; /* for libcurl to return */
	bool no_reuse;
	bool gone; /* freed by its owner; kept for sockets that libcurl has not closed yet */
	struct http_call *calls, **last; /* in the order they were sent */
	CURL *idle[4];                   /* with the nonce of Digest in them */
	int n_idle;
	struct http_socket sockets[HTTP_SOCKETS];
	int n_sockets;
};

struct http_call {
	struct http_client *client;
	struct http_call *next;
	CURL *easy;                  /* NULL while it waits */
	struct http_request request; /* its pointers lead into the call's own memory */
	http_done done;
	void *ctx;
	bool connect_only, connected;
	bool cancelled;
	enum http_fault early; /* decided by a callback of ours, or before anything was sent */
	struct buf body;
	int64_t at, told, start_us; /* file position; last `sent` that was told */
	int n_lines, asked_lines;   /* header lines so far, and when the last request was sent */
	bool asked;
	char *url, method[16];
	struct curl_slist *headers, *connect_to;
	char *body_copy;
	curl_mime *mime;
	struct http_form {
		char *file_field, *file_name, *file_type;
		struct http_field *fields;
		size_t n;
	} form;
	char words[CURL_ERROR_SIZE];
};

/* Takes copies of what the request points to. False: it cannot be sent. */
bool http_call_copy(struct http_call *call, const struct http_request *r);
/* Wipes and frees the copies. */
void http_call_free(struct http_call *call);
/* Sets every option that a call needs. False when libcurl refuses one. */
bool http_call_options(struct http_call *call);
/* What libcurl's result means. */
enum http_fault http_call_fault(const struct http_call *call, CURLcode rc);

/* libcurl's callbacks around sockets, for http_call_options. */
curl_socket_t http_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a);
int http_close_socket(void *ctx, curl_socket_t fd);

#endif
