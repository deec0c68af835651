/* The WebSocket client against a real server: upgrade, messages, pings, ends. */
#include "gateway/ws.h"

#include "peer.h"
#include "tap.h"

static struct peer peer;
static struct loop *loop;
static struct http *http;
static struct http_client *client;
static struct timer deadline;

struct got {
	int opened, messages, pongs, ends;
	struct ws_end end;
	char first[128], last[128];
	size_t last_n, bytes;
	int want_messages;
	bool close_at_first, close_when_open, close_when_closed;
	struct ws *ws;
};

static void
on_deadline(void *ctx)
{
	(void)ctx;
	ok(false, "nothing more within the time");
	loop_stop(loop);
}

static void
on_open(void *ctx)
{
	struct got *g = ctx;

	g->opened++;
	if (g->close_when_open) {
		ws_close(g->ws);
		g->ws = NULL;
	}
	loop_stop(loop);
}

static void
on_message(void *ctx, struct str data)
{
	struct got *g = ctx;

	snprintf(g->messages++ ? g->last : g->first, sizeof(g->last), "%.*s", STR_ARG(data));
	g->last_n = data.n;
	g->bytes += data.n;
	if (g->close_at_first) {
		ws_close(g->ws);
		g->ws = NULL;
	}
	if (g->messages >= g->want_messages)
		loop_stop(loop);
}

static void
on_pong(void *ctx, int64_t us)
{
	struct got *g = ctx;

	g->pongs += us > 0;
	loop_stop(loop);
}

static void
on_closed(void *ctx, const struct ws_end *e)
{
	struct got *g = ctx;

	g->ends++;
	g->end = *e;
	if (g->close_when_closed)
		ws_close(g->ws);
	g->ws = NULL;
	loop_stop(loop);
}

static const struct ws_handler handler = {on_open, on_message, on_pong, on_closed};

static void
run_until(const int *n, int want)
{
	timer_set(loop, &deadline, 10000);
	while (*n < want && timer_is_set(&deadline))
		loop_run(loop);
	timer_stop(loop, &deadline);
}

static void
open_at(struct got *g, int port, const char *path, struct ws_options o)
{
	char url[128];

	snprintf(url, sizeof(url), "http://printer.example:%d%s", port, path);
	*g = (struct got){.close_at_first = g->close_at_first,
	    .close_when_open = g->close_when_open,
	    .close_when_closed = g->close_when_closed};
	o.url = url;
	o.address = "127.0.0.1";
	g->ws = ws_open(http, client, &o, &handler, g);
}

static void
say(struct got *g, const char *text, int answers)
{
	g->messages = 0;
	g->want_messages = answers;
	ok(ws_send(g->ws, str_from(text)), "'%s' is sent", text);
	run_until(answers ? &g->messages : &g->ends, answers ? answers : 1);
}

static void
test_messages(void)
{
	struct got g = {0};
	char *large = malloc(300001);

	open_at(&g, peer.port, "/ws", (struct ws_options){.most = 300000});
	ok(!ws_is_open(g.ws) && !ws_send(g.ws, STR("x")), "not open yet");
	run_until(&g.opened, 1);
	ok(ws_is_open(g.ws), "open");
	say(&g, "hello \xc3\xbc", 1);
	is_z(g.first, "hello \xc3\xbc", "a message and its echo");
	say(&g, "burst", 200);
	is_int(g.messages, 200, "many at once");
	memset(large, 'x', 300000);
	large[300000] = '\0';
	g.messages = 0;
	g.want_messages = 1;
	ok(ws_send(g.ws, str_from(large)), "a large one");
	run_until(&g.messages, 1);
	is_int(g.last_n, 300000, "comes back whole");
	say(&g, "big 300001", 0);
	is_int(g.end.fault, HTTP_TOO_LARGE, "one that is larger than wanted ends it");
	free(large);
}

static void
test_ends(void)
{
	struct got g = {0};

	open_at(&g, peer.port, "/ws", (struct ws_options){0});
	run_until(&g.opened, 1);
	say(&g, "close", 0);
	ok(g.end.fault == HTTP_OK && g.end.code == 4001, "closed by the peer, with its code");
	g.close_when_closed = true;
	open_at(&g, peer.port, "/ws", (struct ws_options){0});
	run_until(&g.opened, 1);
	say(&g, "drop", 0);
	is_int(g.end.fault, HTTP_BROKEN, "dropped by the peer");
	g.close_at_first = true;
	open_at(&g, peer.port, "/ws", (struct ws_options){0});
	run_until(&g.opened, 1);
	say(&g, "burst", 1);
	ok(g.messages == 1 && g.ends == 0, "closed from within a message: nothing more is told");
	g.close_when_open = true;
	open_at(&g, peer.port, "/ws", (struct ws_options){0});
	run_until(&g.opened, 1);
	ok(g.ends == 0, "closed from within its opening");
	open_at(&g, peer.port, "/ws", (struct ws_options){0});
	ws_close(g.ws);
	ok(g.ends == 0, "closed before it was open");
}

static void
test_pings(void)
{
	struct got g = {0};

	open_at(&g, peer.port, "/ws", (struct ws_options){.ping_ms = 20, .pong_ms = 5000});
	run_until(&g.pongs, 3);
	ok(g.pongs == 3 && g.ends == 0, "pings are answered, again and again");
	ws_close(g.ws);
	open_at(&g, peer.port, "/ws?mute", (struct ws_options){.ping_ms = 20, .pong_ms = 100});
	run_until(&g.ends, 1);
	ok(g.end.fault == HTTP_TIMEOUT && g.opened == 1, "a peer that does not answer is dead");
}

static void
test_refusals(void)
{
	struct http_header key[] = {{"X-Api-Key", "wrong"}}, evil[] = {{"X-A", "a\r\nB: c"}};
	struct got g = {0};
	static const struct {
		const char *path;
		enum http_fault fault;
		int status;
	} cases[] = {
	    {"/garbage", HTTP_BROKEN, 0},
	    {"/nothing", HTTP_BROKEN, 0},
	    {"/headers", HTTP_BROKEN, 0},
	    {"/wrong-accept", HTTP_BROKEN, 0},
	    {"/no-upgrade", HTTP_BROKEN, 200},
	    {"/silent", HTTP_TIMEOUT, 0},
	};

	open_at(
	    &g, peer.port, "/ws?key=right", (struct ws_options){.headers = key, .n_headers = 1});
	run_until(&g.ends, 1);
	ok(g.end.status == 401 && g.opened == 0, "refused, with its status");
	key[0].value = "right";
	open_at(
	    &g, peer.port, "/ws?key=right", (struct ws_options){.headers = key, .n_headers = 1});
	run_until(&g.opened, 1);
	ok(g.opened == 1, "headers are sent");
	ws_close(g.ws);
	open_at(&g, peer.port, "/ws", (struct ws_options){.headers = evil, .n_headers = 1});
	is_int(g.ends, 0, "nothing is told before ws_open has returned");
	run_until(&g.ends, 1);
	is_int(g.end.fault, HTTP_UNUSABLE, "a header in a header");
	TAP_EACH(cases, t)
	{
		open_at(&g, peer.raw_port, t->path, (struct ws_options){.connect_ms = 300});
		run_until(&g.ends, 1);
		ok(g.end.fault == t->fault && g.end.status == t->status, "%s: %s, %d (%s)", t->path,
		    http_fault_name(g.end.fault), g.end.status, g.end.words);
	}
	open_at(&g, 1, "/ws", (struct ws_options){0});
	run_until(&g.ends, 1);
	is_int(g.end.fault, HTTP_UNREACHABLE, "a closed port");
}

int
main(void)
{
	signal(SIGPIPE, SIG_IGN);
	peer_start(&peer);
	loop = loop_new();
	http = http_new(loop);
	client = http_client_new(http, &(struct http_client_options){0});
	deadline = (struct timer){.fn = on_deadline};
	test_messages();
	test_ends();
	test_pings();
	test_refusals();
	http_client_free(client);
	http_free(http);
	loop_free(loop);
	peer_stop(&peer);
	return tap_done();
}
