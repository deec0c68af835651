#include "accept.h"

#include <errno.h>
#include <fcgiapp.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "proc/worker.h"
#include "req.h"
#include "state.h"
#include "store/store.h"

enum {
	BODY_MOST = 1 << 20, /* routes have their own, smaller caps */
	PIECE = 256 << 10,   /* of a body that becomes a file */
	IDLE_MS = 1000
};

struct accept {
	FCGX_Request fcgi;
	int epoll_fd;     /* watches the listening socket */
	sigset_t waiting; /* signal mask while nothing is being served */
};

/* Exclusive: a connection wakes one worker, not all of them. */
static int
watch(int listen_fd)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLEXCLUSIVE};

	if (fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, listen_fd, &ev) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

/* A worker can be asked to stop only while it waits: libfcgi takes a connection for a dead one when
 * a signal interrupts the select() that follows its accept(). Whoever comes too late for a
 * connection must not wait in accept() for the next, hence O_NONBLOCK (which accepted sockets do
 * not inherit). */
static bool
stop_only_when_waiting(struct accept *acc, int listen_fd)
{
	sigset_t stop;
	int flags = fcntl(listen_fd, F_GETFL);

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigaddset(&stop, SIGINT);
	return flags >= 0 && fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
	    sigprocmask(SIG_BLOCK, &stop, &acc->waiting) == 0;
}

struct accept *
accept_new(int listen_fd)
{
	struct accept *acc = calloc(1, sizeof(*acc));

	must(acc != NULL);
	acc->epoll_fd = watch(listen_fd);
	if (acc->epoll_fd >= 0 && stop_only_when_waiting(acc, listen_fd) && FCGX_Init() == 0 &&
	    FCGX_InitRequest(&acc->fcgi, listen_fd, FCGI_FAIL_ACCEPT_ON_INTR) == 0)
		return acc;
	free(acc);
	return NULL;
}

void
accept_free(struct accept *acc)
{
	if (acc)
		close(acc->epoll_fd);
	free(acc);
}

static struct str
param(const struct accept *acc, const char *name)
{
	return str_from(FCGX_GetParam(name, acc->fcgi.envp));
}

static void
read_headers(const struct accept *acc, struct headers_in *h)
{
	const struct {
		const char *name;
		struct str *to;
	} wanted[] = {
	    {"HTTP_AUTHORIZATION", &h->authorization},
	    {"HTTP_X_API_KEY", &h->api_key},
	    {"CONTENT_TYPE", &h->content_type},
	    {"HTTP_ACCEPT", &h->accept},
	    {"HTTP_IDEMPOTENCY_KEY", &h->idempotency_key},
	    {"HTTP_IF_MATCH", &h->if_match},
	    {"HTTP_IF_NONE_MATCH", &h->if_none_match},
	    {"HTTP_LAST_EVENT_ID", &h->last_event_id},
	    {"HTTP_X_SOLOPRINT_API_VERSION", &h->api_version},
	    {"HTTP_USER_AGENT", &h->user_agent},
	};

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		struct str value = param(acc, wanted[i].name);

		*wanted[i].to = value.n ? value : STR_NONE;
	}
}

static void
close_body(void *p)
{
	const struct req *r = p;

	close(r->body_fd);
}

/* The body into an unnamed file of the store, a piece at a time. What comes after a failure, or too
 * little, makes it a lost one. */
static void
spool_body(struct accept *acc, struct req *r)
{
	char *piece = arena_alloc(r->arena, PIECE);
	int64_t total = 0;
	int got;

	r->body_fd = store_temp(r->w->store);
	r->body_lost = r->body_fd < 0;
	if (r->body_fd >= 0)
		arena_defer(r->arena, close_body, r);
	while ((got = FCGX_GetStr(piece, PIECE, acc->fcgi.in)) > 0) {
		r->body_lost = r->body_lost || !io_write_all(r->body_fd, piece, (size_t)got);
		total += got;
	}
	r->body_lost = r->body_lost || total != r->body_length;
	if (r->body_lost)
		log_warn("a body could not be kept", LOG_S("request_id", r->id),
		    LOG_I("got", total), LOG_I("announced", r->body_length), LOG_I("errno", errno));
}

/* Reads exactly as much as is announced. */
static void
keep_body(struct accept *acc, struct req *r)
{
	char *p = arena_alloc(r->arena, (size_t)r->body_length);
	int got = FCGX_GetStr(p, (int)r->body_length, acc->fcgi.in);

	r->body = (struct str){p, got > 0 ? (size_t)got : 0};
}

/* A longer body than any route takes is read away and marked. */
static void
read_body(struct accept *acc, struct req *r)
{
	char scratch[4096];
	bool probe = str_eq(param(acc, "SLP_STAGE"), STR("probe"));
	bool ended = str_eq(param(acc, "SLP_STAGE"), STR("ended"));
	struct str length = param(acc, probe ? "SLP_BODY_LENGTH" : "CONTENT_LENGTH");

	r->stage = probe ? STAGE_PROBE : ended ? STAGE_ENDED : STAGE_FULL;
	r->body_fd = -1;
	if (!length.n)
		r->body_length = -1;
	else if (!str_to_i64(length, &r->body_length) || r->body_length < 0)
		r->body_length = INT64_MAX;
	if (probe)
		return;
	if (str_eq(param(acc, "SLP_BODY"), STR("file"))) {
		spool_body(acc, r);
		return;
	}
	r->body_too_large = r->body_length > BODY_MOST;
	if (!r->body_too_large && r->body_length > 0)
		keep_body(acc, r);
	while (FCGX_GetStr(scratch, sizeof(scratch), acc->fcgi.in) > 0)
		continue;
}

/* REQUEST_URI is the target as the client sent it; nginx has refused ambiguous ones. */
static void
read_target(const struct accept *acc, struct req *r)
{
	struct str rest = param(acc, "REQUEST_URI");

	r->path = str_cut(&rest, '?');
	r->query_string = rest;
}

enum accept_result
accept_next(struct accept *acc, struct req *r)
{
	struct epoll_event ev;
	int n = epoll_pwait(acc->epoll_fd, &ev, 1, IDLE_MS, &acc->waiting);
	int rc;

	if (proc_stop_asked())
		return ACCEPT_STOP;
	if (n <= 0)
		return ACCEPT_IDLE;
	rc = FCGX_Accept_r(&acc->fcgi);
	if (rc == -EAGAIN || rc == -EINTR) /* another worker was faster */
		return ACCEPT_IDLE;
	if (rc < 0) {
		log_error("accept failed", LOG_I("code", rc));
		return ACCEPT_STOP;
	}
	r->method = param(acc, "REQUEST_METHOD");
	r->id = str_dup(r->arena, param(acc, "SLP_REQID"));
	r->remote_addr = str_dup(r->arena, param(acc, "REMOTE_ADDR"));
	read_target(acc, r);
	read_headers(acc, &r->in_headers);
	read_body(acc, r);
	return ACCEPT_REQUEST;
}

static void
put(struct accept *acc, struct str s)
{
	if (s.n)
		FCGX_PutStr(s.p, (int)s.n, acc->fcgi.out);
}

/* Reason phrases (RFC 9110 section 15) of the statuses that the contract has. */
static const char *
reason(int status)
{
	static const struct {
		int status;
		const char *text;
	} known[] = {
	    {200, "OK"},
	    {201, "Created"},
	    {202, "Accepted"},
	    {204, "No Content"},
	    {302, "Found"},
	    {304, "Not Modified"},
	    {400, "Bad Request"},
	    {401, "Unauthorized"},
	    {403, "Forbidden"},
	    {404, "Not Found"},
	    {405, "Method Not Allowed"},
	    {409, "Conflict"},
	    {411, "Length Required"},
	    {412, "Precondition Failed"},
	    {413, "Content Too Large"},
	    {415, "Unsupported Media Type"},
	    {422, "Unprocessable Content"},
	    {429, "Too Many Requests"},
	    {500, "Internal Server Error"},
	    {503, "Service Unavailable"},
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].status == status)
			return known[i].text;
	return "Status";
}

static void
put_reply(struct accept *acc, const struct req *r)
{
	const struct reply *rep = &r->reply;
	bool head = req_is(r, "HEAD");

	FCGX_FPrintF(acc->fcgi.out, "Status: %d %s\r\n", rep->status, reason(rep->status));
	if (rep->content_type)
		FCGX_FPrintF(acc->fcgi.out, "Content-Type: %s\r\n", rep->content_type);
	for (const struct header_out *h = rep->headers; h; h = h->next) {
		put(acc, str_from(h->name));
		put(acc, STR(": "));
		put(acc, h->value);
		put(acc, STR("\r\n"));
	}
	if (rep->status != 204 && rep->status != 304)
		FCGX_FPrintF(acc->fcgi.out, "Content-Length: %d\r\n", (int)rep->body.n);
	put(acc, STR("\r\n"));
	if (!head)
		put(acc, buf_view(&rep->body));
}

void
accept_finish(struct accept *acc, const struct req *r)
{
	put_reply(acc, r);
	/* Ends the request without libfcgi's lingering close, which costs three system calls and a
	 * sleep; the body has been read to its end, so nothing can be lost. */
	acc->fcgi.keepConnection = 1;
	FCGX_Finish_r(&acc->fcgi);
	if (acc->fcgi.ipcFd >= 0)
		close(acc->fcgi.ipcFd);
	acc->fcgi.ipcFd = -1;
}
