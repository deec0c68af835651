#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "gateway/http_call.h"

enum { PARALLEL = 4, IDLE_MOST = 16384 };

/* A descriptor of libcurl's that is waited for. */
struct socket_watch {
	struct watch w;
	struct http *http;
};

static void settle(struct http *h);
static void let_go(struct http_client *c);

/* --- libcurl and the loop --------------------------------------------------------------------- */

static void
act(struct http *h, curl_socket_t fd, int what)
{
	int running;

	h->depth++;
	curl_multi_socket_action(h->multi, fd, what, &running);
	h->depth--;
	settle(h);
}

static void
on_socket(void *ctx, uint32_t events)
{
	struct socket_watch *sw = ctx;
	int what = 0;

	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))
		what |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		what |= CURL_CSELECT_OUT;
	act(sw->http, sw->w.fd, what);
}

static void
on_timer(void *ctx)
{
	act(ctx, CURL_SOCKET_TIMEOUT, 0);
}

static void
on_turn(void *ctx)
{
	settle(ctx);
}

static int
set_timer(CURLM *multi, long in_ms, void *ctx)
{
	struct http *h = ctx;

	(void)multi;
	if (in_ms < 0)
		timer_stop(h->loop, &h->timer);
	else
		timer_set(h->loop, &h->timer, in_ms);
	return 0;
}

static int
set_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct http *h = ctx;
	struct socket_watch *sw = socket_ctx;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (sw)
			watch_stop(h->loop, &sw->w);
		free(sw);
		return 0;
	}
	if (!sw) {
		sw = calloc(1, sizeof(*sw));
		must(sw != NULL);
		sw->w = (struct watch){.fn = on_socket, .ctx = sw};
		sw->http = h;
		curl_multi_assign(h->multi, fd, sw);
	}
	if (what & CURL_POLL_IN)
		events |= EPOLLIN;
	if (what & CURL_POLL_OUT)
		events |= EPOLLOUT;
	return watch_set(h->loop, &sw->w, fd, events) ? 0 : -1;
}

struct http *
http_new(struct loop *loop)
{
	struct http *h;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	h = calloc(1, sizeof(*h));
	must(h != NULL);
	h->loop = loop;
	h->timer = (struct timer){.fn = on_timer, .ctx = h};
	h->turn = (struct timer){.fn = on_turn, .ctx = h};
	h->multi = curl_multi_init();
	must(h->multi != NULL);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, set_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)IDLE_MOST);
	return h;
}

void
http_free(struct http *h)
{
	if (!h)
		return;
	settle(h);
	curl_multi_cleanup(h->multi);
	for (struct http_client *c = h->clients, *next; c; c = next) {
		next = c->next;
		let_go(c);
	}
	must(h->clients == NULL);
	timer_stop(h->loop, &h->timer);
	timer_stop(h->loop, &h->turn);
	free(h);
	curl_global_cleanup();
}

/* --- clients ---------------------------------------------------------------------------------- */

static char *
copy(const char *z)
{
	char *p = z ? strdup(z) : NULL;

	must(p != NULL || z == NULL);
	return p;
}

struct http_client *
http_client_new(struct http *h, const struct http_client_options *o)
{
	struct http_client *c = calloc(1, sizeof(*c));

	must(c != NULL);
	c->http = h;
	c->agent = copy(o->agent ? o->agent : "SoLoPrint");
	c->user = copy(o->user);
	c->secret = copy(o->secret);
	c->ca_file = copy(o->ca_file);
	c->unix_socket = copy(o->unix_socket);
	c->parallel = o->parallel > 0 ? o->parallel : PARALLEL;
	c->no_reuse = o->no_reuse;
	c->last = &c->calls;
	c->next = h->clients;
	c->link = &h->clients;
	if (c->next)
		c->next->link = &c->next;
	h->clients = c;
	return c;
}

static ino_t
inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* libcurl 7.88 closes a socket that it could not connect in time by itself, without
 * http_close_socket: such are not there any more. */
static void
forget_closed(struct http_client *c)
{
	for (int i = 0; i < c->n_sockets;) {
		if (inode_of(c->sockets[i].fd) == c->sockets[i].inode)
			i++;
		else
			c->sockets[i] = c->sockets[--c->n_sockets];
	}
}

/* Frees a client that nothing points to any more. */
static void
let_go(struct http_client *c)
{
	if (!c->gone || c->ending > 0)
		return;
	forget_closed(c);
	if (c->n_sockets > 0)
		return;
	*c->link = c->next;
	if (c->next)
		c->next->link = c->link;
	if (c->secret)
		explicit_bzero(c->secret, strlen(c->secret));
	free(c->agent);
	free(c->user);
	free(c->secret);
	free(c->ca_file);
	free(c->unix_socket);
	free(c);
}

/* libcurl closes an idle connection when it looks at it the next time: the printer shall know
 * before. */
void
http_client_free(struct http_client *c)
{
	if (!c)
		return;
	while (c->calls)
		http_cancel(c->calls);
	for (struct http_call *e = c->http->ended; e; e = e->next)
		if (e->client == c)
			e->cancelled = true;
	while (c->n_idle > 0)
		curl_easy_cleanup(c->idle[--c->n_idle]);
	forget_closed(c);
	for (int i = 0; i < c->n_sockets; i++)
		shutdown(c->sockets[i].fd, SHUT_RDWR);
	c->gone = true;
	let_go(c);
}

curl_socket_t
http_open_socket(void *ctx, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct http_client *c = ctx;
	int fd;

	(void)purpose;
	forget_closed(c);
	if (c->gone || c->n_sockets == HTTP_SOCKETS)
		return CURL_SOCKET_BAD;
	fd = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	c->sockets[c->n_sockets++] = (struct http_socket){fd, inode_of(fd)};
	return fd;
}

int
http_close_socket(void *ctx, curl_socket_t fd)
{
	struct http_client *c = ctx;

	for (int i = 0; i < c->n_sockets; i++) {
		if (c->sockets[i].fd != fd)
			continue;
		c->sockets[i] = c->sockets[--c->n_sockets];
		break;
	}
	close(fd);
	let_go(c);
	return 0;
}

/* --- calls ------------------------------------------------------------------------------------ */

static void
unlink_call(struct http_call *call)
{
	struct http_client *c = call->client;
	struct http_call **p = &c->calls;

	while (*p != call)
		p = &(*p)->next;
	*p = call->next;
	if (c->last == &call->next)
		c->last = p;
	call->next = NULL;
}

/* Its end is dealt with once libcurl and the caller have returned. */
static void
end_later(struct http_call *call)
{
	struct http *h = call->client->http;

	call->client->ending++;
	call->next = h->ended;
	h->ended = call;
	timer_set(h->loop, &h->turn, 0);
}

/* Gives its handle back or frees it. */
static void
drop_easy(struct http_call *call, bool good)
{
	struct http_client *c = call->client;
	int most = (int)(sizeof(c->idle) / sizeof(c->idle[0]));

	if (!call->easy)
		return;
	curl_multi_remove_handle(c->http->multi, call->easy);
	if (good && c->user && !c->gone && !call->connect_only && c->n_idle < most) {
		curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, NULL);
		c->idle[c->n_idle++] = call->easy;
	} else {
		curl_easy_cleanup(call->easy);
	}
	call->easy = NULL;
}

/* False: it ends with call->early. */
static bool
start_call(struct http_call *call)
{
	struct http_client *c = call->client;

	call->easy = c->n_idle > 0 && !call->connect_only ? c->idle[--c->n_idle] : curl_easy_init();
	must(call->easy != NULL);
	call->start_us = clock_mono_us();
	if (http_call_options(call) &&
	    curl_multi_add_handle(c->http->multi, call->easy) == CURLM_OK) {
		c->running++;
		return true;
	}
	curl_easy_cleanup(call->easy);
	call->easy = NULL;
	call->early = HTTP_UNUSABLE;
	return false;
}

static void
start_waiting(struct http_client *c)
{
	struct http_call *next;

	if (c->http->depth > 0) {
		timer_set(c->http->loop, &c->http->turn, 0);
		c->waiting = c->http->some_wait = true;
		return;
	}
	c->waiting = false;
	for (struct http_call *call = c->calls; call && c->running < c->parallel; call = next) {
		next = call->next;
		if (call->easy)
			continue;
		if (start_call(call))
			continue;
		unlink_call(call);
		end_later(call);
	}
}

static struct http_call *
add_call(struct http_client *c, const struct http_request *r, http_done done, void *ctx, bool only)
{
	struct http_call *call = calloc(1, sizeof(*call));

	must(call != NULL);
	call->client = c;
	call->done = done;
	call->ctx = ctx;
	call->connect_only = only;
	if (!http_call_copy(call, r)) {
		call->early = HTTP_UNUSABLE;
		end_later(call);
		return call;
	}
	*c->last = call;
	c->last = &call->next;
	start_waiting(c);
	return call;
}

struct http_call *
http_send(struct http_client *c, const struct http_request *r, http_done done, void *ctx)
{
	return add_call(c, r, done, ctx, false);
}

struct http_call *
http_connect(struct http_client *c, const struct http_request *r, http_done done, void *ctx)
{
	return add_call(c, r, done, ctx, true);
}

int
http_call_status(const struct http_call *call)
{
	long status = 0;

	if (call->easy)
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

void
http_cancel(struct http_call *call)
{
	struct http_client *c = call->client;
	bool counted = call->easy && !call->connected;

	if (call->cancelled || (call->early == HTTP_UNUSABLE && !call->easy)) {
		call->cancelled = true; /* it is in the list of those that end */
		return;
	}
	unlink_call(call);
	if (counted)
		c->running--;
	call->cancelled = true;
	if (c->http->depth > 0) {
		end_later(call);
	} else {
		drop_easy(call, false);
		http_call_free(call);
	}
	if (counted)
		start_waiting(c);
}

/* --- their ends ------------------------------------------------------------------------------- */

static void
fill_reply(struct http_call *call, CURLcode rc, struct http_reply *out)
{
	curl_off_t us = 0, length = -1, sent = 0;
	char *type = NULL;

	out->fault = http_call_fault(call, rc);
	out->status = http_call_status(call);
	if (out->status < 200)
		out->status = 0; /* "go on" is no answer */
	curl_easy_getinfo(call->easy, CURLINFO_CONTENT_TYPE, &type);
	curl_easy_getinfo(call->easy, CURLINFO_STARTTRANSFER_TIME_T, &us);
	curl_easy_getinfo(call->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	curl_easy_getinfo(call->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
	out->type = type ? type : "";
	out->first_byte_us = us;
	out->length = length;
	out->sent = sent;
	if (out->fault != HTTP_OK)
		out->words = call->words[0] ? call->words : curl_easy_strerror(rc);
	out->body = buf_view(&call->body);
	buf_char(&call->body, '\0');
	out->body.p = call->body.p ? call->body.p : "";
}

static void
finish(struct http_call *call, CURLcode rc)
{
	struct http_client *c = call->client;
	struct http_reply reply = {.type = "", .words = "", .length = -1};
	char type[128];

	fill_reply(call, rc, &reply);
	reply.elapsed_us = clock_mono_us() - call->start_us;
	snprintf(type, sizeof(type), "%s", reply.type);
	reply.type = type;
	c->running--;
	if (call->connect_only && reply.fault == HTTP_OK) {
		call->connected = true;
		start_waiting(c);
		call->done(call->ctx, &reply);
		return;
	}
	unlink_call(call);
	drop_easy(call, reply.fault == HTTP_OK);
	start_waiting(c);
	call->done(call->ctx, &reply);
	http_call_free(call);
}

static void
end_early(struct http_call *call)
{
	struct http_client *c = call->client;
	struct http_reply reply = {.fault = call->early,
	    .body = STR(""),
	    .type = "",
	    .words = "it cannot be sent",
	    .length = -1};

	drop_easy(call, false);
	c->ending--;
	if (c->gone)
		let_go(c);
	if (!call->cancelled)
		call->done(call->ctx, &reply);
	http_call_free(call);
}

static void
start_after_callbacks(struct http *h)
{
	for (struct http_client *c = h->clients; c; c = c->next)
		if (c->waiting && !c->gone)
			start_waiting(c);
	h->some_wait = false;
}

/* Deals with all ends. Callbacks may do anything, so each look begins anew. */
static void
settle(struct http *h)
{
	CURLMsg *m;
	int left;

	if (h->depth > 0)
		return;
	while (h->ended) {
		struct http_call *call = h->ended;

		h->ended = call->next;
		end_early(call);
	}
	if (h->some_wait)
		start_after_callbacks(h);
	while ((m = curl_multi_info_read(h->multi, &left)) != NULL) {
		struct http_call *call = NULL;
		CURLcode rc = m->data.result;

		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
		finish(call, rc);
	}
}

/* --- bare connections ------------------------------------------------------------------------- */

int
http_socket(const struct http_call *call)
{
	curl_socket_t fd = CURL_SOCKET_BAD;

	curl_easy_getinfo(call->easy, CURLINFO_ACTIVESOCKET, &fd);
	return fd;
}

ptrdiff_t
http_read(struct http_call *call, void *p, size_t n)
{
	size_t got = 0;
	CURLcode rc = curl_easy_recv(call->easy, p, n, &got);

	if (rc == CURLE_AGAIN)
		return HTTP_AGAIN;
	return rc == CURLE_OK && got > 0 ? (ptrdiff_t)got : HTTP_CLOSED;
}

ptrdiff_t
http_write(struct http_call *call, const void *p, size_t n)
{
	size_t put = 0;
	CURLcode rc = curl_easy_send(call->easy, p, n, &put);

	if (rc == CURLE_AGAIN)
		return HTTP_AGAIN;
	return rc == CURLE_OK ? (ptrdiff_t)put : HTTP_CLOSED;
}
