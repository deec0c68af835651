/* The HTTP client against a real server: requests, bodies, faults, turns, cancels. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/sha.h>
#include <sys/socket.h>

#include <json-c/json.h>

#include "gateway/http.h"
#include "gateway/http_url.h"

#include "peer.h"
#include "tap.h"

enum { FILE_SIZE = 3 * 1000 * 1000 + 17 };

static struct peer peer;
static struct loop *loop;
static struct http *http;
static struct timer deadline;
static int file_fd;
static char file_sha[65];

/* What came of one call. */
struct got {
	int n, status;
	enum http_fault fault;
	char body[4096], type[64], words[256];
	int64_t length, sent, told;
	int64_t elapsed_us;
	size_t chunks;
	int peer_headers;
	struct http_call *other; /* cancelled within a callback */
	struct http_client *client;
	int wait;
};

static void
on_deadline(void *ctx)
{
	(void)ctx;
	ok(false, "nothing more within the time");
	loop_stop(loop);
}

static void
on_done(void *ctx, const struct http_reply *r)
{
	struct got *g = ctx;

	g->n++;
	g->status = r->status;
	g->fault = r->fault;
	g->length = r->length;
	g->sent = r->sent;
	g->elapsed_us = r->elapsed_us;
	snprintf(g->body, sizeof(g->body), "%s", r->body.p);
	snprintf(g->type, sizeof(g->type), "%s", r->type);
	snprintf(g->words, sizeof(g->words), "%s", r->words);
	loop_stop(loop);
}

static void
run_until(const int *n, int want)
{
	timer_set(loop, &deadline, 10000);
	while (*n < want && timer_is_set(&deadline))
		loop_run(loop);
	timer_stop(loop, &deadline);
}

static const char *
url_of(int port, const char *path)
{
	static char url[256];

	snprintf(url, sizeof(url), "http://printer.example:%d%s", port, path);
	return url;
}

static void
ask(struct http_client *c, struct http_request r, struct got *g)
{
	*g = (struct got){0};
	r.address = r.address ? r.address : "127.0.0.1";
	http_send(c, &r, on_done, g);
	run_until(&g->n, 1);
}

static bool
holds(const struct got *g, const char *what)
{
	return strstr(g->body, what) != NULL;
}

static bool
on_header(void *ctx, struct str name, struct str value)
{
	struct got *g = ctx;

	g->peer_headers += str_ieq(name, STR("x-peer")) && str_eq(value, STR("yes"));
	return true;
}

static void
on_sent(void *ctx, int64_t bytes)
{
	struct got *g = ctx;

	g->told = bytes;
}

static void
test_requests(void)
{
	struct http_client *c = http_client_new(
	    http, &(struct http_client_options){.agent = "test/1"});
	struct http_header key[] = {{"X-Api-Key", "k1"}};
	struct got g;

	ask(c,
	    (struct http_request){.url = url_of(peer.port, "/a?b=c"),
		.headers = key,
		.n_headers = 1,
		.header = on_header},
	    &g);
	ok(g.fault == HTTP_OK && g.status == 200, "GET is answered");
	ok(holds(&g, "\"path\": \"/a?b=c\"") && holds(&g, "\"method\": \"GET\""),
	    "with its path and query");
	ok(holds(&g, "\"host\": \"printer.example:"), "Host is the URL's, not the address");
	ok(holds(&g, "\"key\": \"k1\"") && holds(&g, "\"agent\": \"test/1\""),
	    "headers and agent arrive");
	ok(g.peer_headers == 1, "headers of the answer are shown");
	ok(strcmp(g.type, "application/json; charset=utf-8") == 0 && g.elapsed_us > 0,
	    "type, time");

	ask(c,
	    (struct http_request){.method = "POST",
		.url = url_of(peer.port, "/p"),
		.body = STR("{\"a\":1}"),
		.body_type = "application/json"},
	    &g);
	ok(holds(&g, "\"type\": \"application/json\"") && holds(&g, "\"length\": \"7\"") &&
		holds(&g, "{\\\"a\\\":1}"),
	    "POST with bytes");
	ask(c, (struct http_request){.method = "PUT", .url = url_of(peer.port, "/p")}, &g);
	ok(holds(&g, "\"method\": \"PUT\"") && holds(&g, "\"length\": \"0\"") &&
		!holds(&g, "urlencoded"),
	    "PUT without a body says so and claims no type");
	ask(c, (struct http_request){.method = "DELETE", .url = url_of(peer.port, "/p")}, &g);
	ok(holds(&g, "\"method\": \"DELETE\"") && holds(&g, "\"length\": \"-\""), "DELETE");
	ask(c, (struct http_request){.method = "HEAD", .url = url_of(peer.port, "/big?n=77")}, &g);
	ok(g.fault == HTTP_OK && g.length == 77, "HEAD");
	ask(c, (struct http_request){.url = url_of(peer.port, "/moved")}, &g);
	is_int(g.status, 302, "redirects are not followed");
	http_client_free(c);
}

static void
test_uploads(void)
{
	struct http_client *c = http_client_new(http, &(struct http_client_options){0});
	struct http_field fields[] = {{"root", "gcodes"}, {"print", "false"}};
	struct http_request r = {
	    .method = "PUT", .file = true, .fd = file_fd, .file_size = FILE_SIZE, .sent = on_sent};
	struct got g;

	r.url = url_of(peer.port, "/put");
	ask(c, r, &g);
	ok(holds(&g, file_sha) && holds(&g, "\"length\": \"3000017\""), "a file is PUT whole");
	is_int(g.told, FILE_SIZE, "and its progress told to the end");
	r.method = "POST";
	r.url = url_of(peer.port, "/form");
	r.file_field = "file";
	r.file_name = "bench \"y\" \xc3\xbc.gcode";
	r.fields = fields;
	r.n_fields = 2;
	ask(c, r, &g);
	ok(g.status == 201 && holds(&g, file_sha) && holds(&g, "\"root\": \"gcodes\""),
	    "a form with a file");
	r.file_size = FILE_SIZE + 1;
	ask(c, r, &g);
	is_int(g.fault, HTTP_FILE, "a file that is shorter than said");
	r.file_size = FILE_SIZE;
	r.url = url_of(peer.port, "/early");
	ask(c, r, &g);
	ok(g.status == 413, "an answer before the end of the body (%s)", http_fault_name(g.fault));
	http_client_free(c);
}

static void
test_digest(void)
{
	struct http_client *c = http_client_new(http,
	    &(struct http_client_options){.user = "maker", .secret = "s3cret", .parallel = 1});
	struct http_client *bad = http_client_new(
	    http, &(struct http_client_options){.user = "maker", .secret = "wrong", .parallel = 1});
	struct got g;

	for (int i = 0; i < 3; i++)
		ask(c, (struct http_request){.url = url_of(peer.port, "/digest/a")}, &g);
	ok(holds(&g, "\"digests\": 3, \"challenges\": 1"), "the nonce is kept: %s", g.body);
	ask(c,
	    (struct http_request){.method = "PUT",
		.url = url_of(peer.port, "/digest/b"),
		.file = true,
		.fd = file_fd,
		.file_size = FILE_SIZE},
	    &g);
	ok(holds(&g, "\"digests\": 4, \"challenges\": 1"), "also for an upload: %s", g.body);
	ask(bad, (struct http_request){.url = url_of(peer.port, "/digest/a")}, &g);
	is_int(g.status, 401, "a wrong password stays a 401");
	http_client_free(c);
	http_client_free(bad);
}

static void
test_faults(void)
{
	static const struct {
		const char *path;
		enum http_fault want;
	} cases[] = {
	    {"/garbage", HTTP_BROKEN},
	    {"/nothing", HTTP_BROKEN},
	    {"/cut", HTTP_BROKEN},
	    {"/headers", HTTP_TOO_LARGE},
	    {"/silent", HTTP_TIMEOUT},
	};
	struct http_client *c = http_client_new(http, &(struct http_client_options){0});
	struct got g;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(in);

	TAP_EACH(cases, t)
	{
		ask(c,
		    (struct http_request){.url = url_of(peer.raw_port, t->path), .total_ms = 300},
		    &g);
		ok(g.fault == t->want, "%s is %s (%s)", t->path, http_fault_name(g.fault), g.words);
	}
	must(bind(fd, (struct sockaddr *)&in, n) == 0 &&
	    getsockname(fd, (struct sockaddr *)&in, &n) == 0);
	ask(c, (struct http_request){.url = url_of(ntohs(in.sin_port), "/")}, &g);
	is_int(g.fault, HTTP_UNREACHABLE, "a closed port");
	must(listen(fd, 1) == 0);
	ask(c,
	    (struct http_request){
		.url = "https://printer.example:1/", .address = "192.0.2.1", .connect_ms = 200},
	    &g);
	is_int(g.fault, HTTP_UNREACHABLE, "an address where nobody is");
	for (int i = 0; i < 20; i++) /* more than it may have sockets */
		ask(c,
		    (struct http_request){.url = "https://printer.example:1/",
			.address = "192.0.2.1",
			.connect_ms = 20},
		    &g);
	is_int(g.fault, HTTP_UNREACHABLE, "as often as it is tried");
	ask(c, (struct http_request){.url = url_of(peer.port, "/big?n=5000"), .most = 4999}, &g);
	is_int(g.fault, HTTP_TOO_LARGE, "a body above the cap");
	ask(c, (struct http_request){.url = url_of(peer.port, "/big?n=5000"), .most = 5000}, &g);
	is_int(g.fault, HTTP_OK, "a body of just the cap");
	close(fd);
	http_client_free(c);
}

/* A request that may have been obeyed is not made again behind our back. */
static void
test_once(void)
{
	struct http_client *c = http_client_new(http, &(struct http_client_options){0});
	struct http_request lost = {.url = url_of(peer.port, "/lost"), .method = "POST"};
	struct http_request count = {.url = lost.url};
	struct got g;

	ask(c, count, &g);
	ok(holds(&g, "\"lost\": 0"), "none yet: %s", g.body);
	lost.once = true;
	ask(c, lost, &g);
	ok(g.fault == HTTP_BROKEN && g.status == 0, "once: broken, %s", g.words);
	ask(c, count, &g);
	ok(holds(&g, "\"lost\": 1"), "and one request: %s", g.body);
	lost.once = false;
	ask(c, lost, &g);
	ask(c, count, &g);
	ok(holds(&g, "\"lost\": 3"), "else libcurl makes it two: %s", g.body);
	lost.fresh = true;
	ask(c, lost, &g);
	ask(c, count, &g);
	ok(holds(&g, "\"lost\": 4"), "on a fresh connection there is no reason to: %s", g.body);
	http_client_free(c);
}

static void
test_unusable(void)
{
	static const struct {
		const char *url, *address, *value, *method;
	} cases[] = {
	    {"http://printer.example/", NULL, "v", "GET"},
	    {"http://user:pass@127.0.0.1/", NULL, "v", "GET"},
	    {"file:///etc/passwd", NULL, "v", "GET"},
	    {"http://127.0.0.1/", "printer.example", "v", "GET"},
	    {"http://127.0.0.1/", NULL, "v\r\nX-Evil: 1", "GET"},
	    {"http://127.0.0.1/", NULL, "v", "GET / HTTP/1.1\r\nA:"},
	    {"not a url", "127.0.0.1", "v", "GET"},
	};
	struct http_client *c = http_client_new(http, &(struct http_client_options){0});
	struct got g;

	TAP_EACH(cases, t)
	{
		struct http_header h = {"X-A", t->value};
		struct http_request r = {.url = t->url,
		    .address = t->address,
		    .headers = &h,
		    .n_headers = 1,
		    .method = t->method};

		g = (struct got){0};
		http_send(c, &r, on_done, &g);
		is_int(g.n, 0, "nothing is told before the call has returned");
		run_until(&g.n, 1);
		ok(g.fault == HTTP_UNUSABLE, "case %d of '%s' cannot be sent", (int)(t - cases),
		    t->url);
	}
	http_client_free(c);
}

static void
test_turns(void)
{
	struct http_client *c = http_client_new(http, &(struct http_client_options){.parallel = 2});
	struct got g[6] = {0};
	char path[32];
	int n = 0;

	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "/slow?n=%d", i);
		http_send(c,
		    &(struct http_request){.url = url_of(peer.port, path), .address = "127.0.0.1"},
		    on_done, &g[i]);
	}
	for (int i = 0; i < 6; i++) {
		run_until(&g[i].n, 1);
		n += g[i].status == 200;
	}
	ok(n == 6 && holds(&g[5], "\"most\": 2"), "at most two at once: %s", g[5].body);
	ok(holds(&g[5], "[\"0\", \"1\", \"2\", \"3\", \"4\", \"5\"]"),
	    "in the order they were sent");
	http_client_free(c);

	c = http_client_new(http, &(struct http_client_options){.parallel = 1});
	for (int i = 0; i < 4; i++)
		ask(c, (struct http_request){.url = url_of(peer.port, "/peers")}, &g[0]);
	ok(holds(&g[0], "\"connections\": 1"), "one connection serves them all: %s", g[0].body);
	http_client_free(c);
}

static bool
on_chunk_cancel(void *ctx, const void *bytes, size_t n)
{
	struct got *g = ctx;

	(void)bytes;
	g->chunks += n;
	if (g->chunks > 5000 && g->other) {
		http_cancel(g->other);
		g->other = NULL;
		loop_stop(loop);
	}
	return true;
}

static bool
on_chunk_free(void *ctx, const void *bytes, size_t n)
{
	struct got *g = ctx;

	(void)bytes;
	(void)n;
	http_client_free(g->client);
	g->client = NULL;
	g->wait = 1;
	loop_stop(loop);
	return true;
}

static bool
on_chunk_ask(void *ctx, const void *bytes, size_t n)
{
	struct got *g = ctx;

	(void)bytes;
	(void)n;
	if (g->client)
		http_send(g->client,
		    &(struct http_request){.url = url_of(peer.port, "/x"), .address = "127.0.0.1"},
		    on_done, g);
	g->client = NULL;
	return g->n == 0;
}

static void
on_done_count(void *ctx, const struct http_reply *r)
{
	struct got *g = ctx;

	g->wait = r->fault == HTTP_STOPPED ? 1 : -1;
	loop_stop(loop);
}

static void
test_cancels(void)
{
	struct http_client *c = http_client_new(http, &(struct http_client_options){0});
	struct http_request r = {.address = "127.0.0.1", .total_ms = HTTP_NEVER};
	struct got g = {0}, second = {0};
	struct http_call *slow;

	r.url = url_of(peer.port, "/slow?s=5");
	slow = http_send(c, &r, on_done, &g);
	ask(c, (struct http_request){.url = url_of(peer.port, "/x")}, &second);
	http_cancel(slow);
	ask(c, (struct http_request){.url = url_of(peer.port, "/x")}, &second);
	ok(second.n == 1 && g.n == 0, "a cancelled call is silent");

	r.url = url_of(peer.port, "/endless");
	r.chunk = on_chunk_cancel;
	g.other = http_send(c, &r, on_done, &g);
	while (g.other)
		loop_run(loop);
	ask(c, (struct http_request){.url = url_of(peer.port, "/x")}, &second);
	ok(g.n == 0 && g.chunks > 5000, "a stream cancels itself while it is read");

	r.url = url_of(peer.port, "/endless");
	r.chunk = on_chunk_ask;
	g = (struct got){.client = c};
	http_send(c, &r, on_done_count, &g);
	run_until(&g.wait, 1);
	ok(g.n == 1 && g.wait == 1,
	    "a call begun while another is read; that one then stops itself (%d, %d)", g.n, g.wait);

	r.url = url_of(peer.port, "/endless");
	r.chunk = on_chunk_free;
	g = (struct got){.client = c};
	http_send(c, &r, on_done, &g);
	run_until(&g.wait, 1);
	ok(g.n == 0, "a client freed from within its stream");
	c = http_client_new(http, &(struct http_client_options){.parallel = 1});
	r.chunk = NULL;
	for (int i = 0; i < 5; i++)
		http_send(c, &r, on_done, &g);
	http_send(c, &(struct http_request){.url = "no"}, on_done, &g);
	http_client_free(c);
	ok(g.n == 0, "a client freed with calls that run, wait and cannot be sent");
}

/* libcurl looks for dead connections once a second, when it makes a new one: it must leave alone
 * one that has something to be read. */
static void
test_connection(void)
{
	struct http_client *c = http_client_new(http, &(struct http_client_options){0});
	struct http_client *fresh = http_client_new(
	    http, &(struct http_client_options){.no_reuse = true});
	struct got g = {0}, other;
	char text[2048] = "";
	ptrdiff_t n = HTTP_AGAIN;
	struct http_call *call = http_connect(c,
	    &(struct http_request){.url = url_of(peer.port, "/"), .address = "127.0.0.1"}, on_done,
	    &g);

	run_until(&g.n, 1);
	ok(g.fault == HTTP_OK && http_socket(call) >= 0, "a bare connection");
	n = http_write(call, "GET /x HTTP/1.0\r\n\r\n", 19);
	is_int(n, 19, "written to");
	for (int i = 0; i < 3; i++)
		ask(fresh, (struct http_request){.url = url_of(peer.port, "/slow?s=0.6")}, &other);
	n = http_read(call, text, sizeof(text) - 1);
	ok(n > 0 && strncmp(text, "HTTP/1.0 200", 12) == 0, "and read from, others made meanwhile");
	http_cancel(call);
	http_client_free(c);
	http_client_free(fresh);
}

static void
test_urls(void)
{
	static const struct {
		const char *scheme, *host, *prefix, *path, *want;
		int port;
	} cases[] = {
	    {"http", "octopi.local", "", "/api/version", "http://octopi.local:5000/api/version",
		5000},
	    {"http", "10.0.0.7", "octoprint/", "/api", "http://10.0.0.7/octoprint/api", 0},
	    {"http", "fe80::1", "/", "/x", "http://[fe80::1]:80/x", 80},
	    {"http", "[::1]", NULL, "/x?a=b%20c", "http://[::1]:7125/x?a=b%20c", 7125},
	    {"ftps", "host", "", "/a", NULL, 0},
	    {"http", "a b", "", "/", NULL, 0},
	    {"http", "a/b", "", "/", NULL, 0},
	    {"http", "user@host", "", "/", NULL, 0},
	    {"http", "host", "", "/a#b", NULL, 0},
	    {"http", "host", "", "/a\r\nb", NULL, 0},
	    {"gopher", "host", "", "/", NULL, 0},
	    {"http", "", "", "/", NULL, 0},
	};
	char out[128];

	TAP_EACH(cases, t)
	{
		bool fits = http_url(
		    out, sizeof(out), t->scheme, t->host, t->port, t->prefix, t->path);

		if (t->want)
			is_z(fits ? out : "(none)", t->want, t->want);
		else
			ok(!fits, "no URL of '%s' and '%s'", t->host, t->path);
	}
	ok(!http_url(out, 20, "http", "octopi.local", 0, "", "/api/version"), "no room");
	ok(http_escape(out, sizeof(out), STR("a b/\xc3\xbc?%.gcode")), "escaped");
	is_z(out, "a%20b%2F%C3%BC%3F%25.gcode", "a segment");
	ok(http_escape_path(out, sizeof(out), STR("/usb/a b/c#.gcode")), "escaped");
	is_z(out, "/usb/a%20b/c%23.gcode", "a path");
	ok(!http_escape_path(out, 8, STR("/usb/a b/c")), "no room for a path");
}

static void
make_file(void)
{
	char path[] = "/tmp/soloprint-http-XXXXXX";
	uint8_t *bytes = malloc(FILE_SIZE), hash[32];

	must(bytes != NULL);
	for (int i = 0; i < FILE_SIZE; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 977);
	file_fd = mkstemp(path);
	must(file_fd >= 0 && write(file_fd, bytes, FILE_SIZE) == FILE_SIZE && unlink(path) == 0);
	SHA256(bytes, FILE_SIZE, hash);
	for (size_t i = 0; i < sizeof(hash); i++)
		snprintf(file_sha + 2 * i, 3, "%02x", hash[i]);
	free(bytes);
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	peer_start(&peer);
	make_file();
	loop = loop_new();
	http = http_new(loop);
	deadline = (struct timer){.fn = on_deadline};
	test_requests();
	test_uploads();
	test_digest();
	test_faults();
	test_once();
	test_unusable();
	test_turns();
	test_cancels();
	test_connection();
	test_urls();
	http_free(http);
	loop_free(loop);
	close(file_fd);
	peer_stop(&peer);
	return tap_done();
}
