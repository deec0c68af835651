/* Discovery: what printers say of themselves, hostile packets, and a run against printers on
 * loopback. */
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/discover.h"

#include "tap.h"

#define KIND "urn:bambulab-com:device:3dprinter:1\r\n"
#define SERIAL "USN: 01P00A000000001\r\n"

static void
test_ssdp(void)
{
	static const struct {
		const char *text, *host, *model;
	} good[] = {
	    {"NOTIFY * HTTP/1.1\r\nNT: " KIND "NTS: ssdp:alive\r\n" SERIAL
	     "Location: 192.168.1.7\r\nDevModel.bambu.com: N2S\r\n\r\n",
		"192.168.1.7", "A1"},
	    {"HTTP/1.1 200 OK\r\nST: " KIND SERIAL "DevModel.bambu.com: QX9\r\n\r\n", "10.0.0.5",
		"QX9"},
	    {"HTTP/1.1 200 OK\r\nST: " KIND SERIAL "Location: http://evil/\r\n\r\n", "10.0.0.5",
		""},
	    {"HTTP/1.1 200 OK\r\nST: " KIND SERIAL "Location: 239.1.1.1\r\n\r\n", "10.0.0.5", ""},
	};
	static const char *const bad[] = {
	    "",
	    "NOTIFY * HTTP/1.1\r\nNT: " KIND SERIAL,
	    "NOTIFY * HTTP/1.1\r\nNT: " KIND "NTS: ssdp:byebye\r\n" SERIAL "\r\n",
	    "NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\n" SERIAL "\r\n",
	    "NOTIFY * HTTP/1.1\r\nNT: " KIND "USN: ../../etc\r\n\r\n",
	    "NOTIFY * HTTP/1.1\r\nNT: " KIND "\r\n",
	    "M-SEARCH * HTTP/1.1\r\nST: " KIND SERIAL "\r\n",
	    "HTTP/1.1 404 Not Found\r\nST: " KIND SERIAL "\r\n",
	    "\xff\xfe\x00",
	};
	struct discovered d;

	TAP_EACH(good, c)
	{
		ok(discover_ssdp(str_from(c->text), "10.0.0.5", &d), "a printer, %zu",
		    (size_t)(c - good));
		is_z(d.protocol, "bambu", "protocol");
		is_z(d.serial, "01P00A000000001", "serial");
		is_z(d.host, c->host, "host");
		is_z(d.model, c->model, "model");
	}
	TAP_EACH(bad, text)
	ok(!discover_ssdp(str_from(*text), "10.0.0.5", &d), "none, %zu", (size_t)(text - bad));
	ok(!discover_ssdp(str_from(good[1].text), "nobody", &d), "no address at all");
}

/* A long value is cut, characters that are none are left out. */
static void
test_ssdp_text(void)
{
	char text[2048], name[600];
	struct discovered d;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	snprintf(text, sizeof(text),
	    "HTTP/1.1 200 OK\r\nST: " KIND SERIAL "DevName.bambu.com: %s\r\n\r\n", name);
	ok(discover_ssdp(str_from(text), "10.0.0.5", &d), "taken");
	is_int(strlen(d.name), sizeof(d.name) - 1, "cut");
	snprintf(text, sizeof(text),
	    "HTTP/1.1 200 OK\r\nST: " KIND SERIAL "DevName.bambu.com: a\xc3\xbc\xff\x9b"
	    "b\r\n\r\n");
	ok(discover_ssdp(str_from(text), "10.0.0.5", &d), "taken");
	is_z(d.name,
	    "a\xc3\xbc"
	    "b",
	    "cleaned");
}

static void
test_mdns_hostile(void)
{
	/* a pointer to itself as the data of a PTR, an answer that ends early, one that is a query
	 */
	static const uint8_t loop[] = {0, 1, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5, '_', 'h', 't', 't',
	    'p', 4, '_', 't', 'c', 'p', 5, 'l', 'o', 'c', 'a', 'l', 0, 0, 12, 0, 1, 0, 0, 0, 9, 0,
	    2, 0xc0, 40};
	struct discovered d[2];
	uint8_t query[DISCOVER_QUERY];
	size_t n;

	for (size_t cut = 0; cut <= sizeof(loop); cut++)
		ok(discover_mdns(loop, cut, "10.0.0.5", d, 2) == 0, "%zu bytes", cut);
	n = discover_mdns_query("_octoprint._tcp.local", 7, query, sizeof(query));
	ok(n == 12 + 23 + 4, "a query has %zu bytes", n);
	ok(memcmp(query, "\0\7\0\0\0\1\0\0\0\0\0\0\12_octoprint\4_tcp\5local\0\0\14\0\1", n) == 0,
	    "as RFC 1035 has it");
	ok(discover_mdns(query, n, "10.0.0.5", d, 2) == 0, "a query is no answer");
	ok(discover_mdns_query("_octoprint._tcp.local", 7, query, 20) == 0, "no room");
}

/* --- against printers --------------------------------------------------------------------------
 */

struct run {
	struct loop *loop;
	struct discover *d;
	struct timer limit;
	struct discovered seen[16];
	int n, done, stop_at;
};

static void
on_found(void *ctx, const struct discovered *what)
{
	struct run *r = ctx;

	must(r->n < 16);
	r->seen[r->n++] = *what;
	if (r->n != r->stop_at)
		return;
	discover_cancel(r->d);
	loop_stop(r->loop);
}

static void
on_done(void *ctx)
{
	struct run *r = ctx;

	r->done++;
	loop_stop(r->loop);
}

static void
on_limit(void *ctx)
{
	struct run *r = ctx;

	ok(false, "it ends");
	loop_stop(r->loop);
}

static int
free_port(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t n = sizeof(a);

	must(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 &&
	    getsockname(fd, (struct sockaddr *)&a, &n) == 0);
	close(fd);
	return ntohs(a.sin_port);
}

static pid_t
start_peer(int listen_port, int ports[2], int *in_fd)
{
	int in[2], out[2];
	char line[64] = "", port[16], *end;
	pid_t pid;

	snprintf(port, sizeof(port), "%d", listen_port);
	must(pipe(in) == 0 && pipe(out) == 0);
	pid = fork();
	must(pid >= 0);
	if (pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		close(in[1]);
		execl("/usr/bin/python3", "/usr/bin/python3", "tests/unit/peers/discover_peer.py",
		    port, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	*in_fd = in[1];
	for (size_t n = 0; n < sizeof(line) - 1; n++)
		if (read(out[0], line + n, 1) != 1 || line[n] == '\n')
			break;
	close(out[0]);
	ports[0] = (int)strtol(line, &end, 10);
	ports[1] = (int)strtol(end, NULL, 10);
	must(ports[0] > 0 && ports[1] > 0);
	return pid;
}

static void
run(struct run *r, const struct discover_config *cfg)
{
	timer_set(r->loop, &r->limit, 20000);
	r->d = discover_start(r->loop, cfg, on_found, on_done, r);
	must(r->d != NULL);
	loop_run(r->loop);
	timer_stop(r->loop, &r->limit);
}

static const struct discovered *
seen(const struct run *r, const char *protocol, const char *name)
{
	for (int i = 0; i < r->n; i++)
		if (strcmp(r->seen[i].protocol, protocol) == 0 &&
		    (!name || strcmp(r->seen[i].name, name) == 0))
			return &r->seen[i];
	return NULL;
}

static void
test_run(void)
{
	struct run r = {.loop = loop_new(), .limit = {.fn = on_limit, .ctx = &r}};
	struct discover_config cfg = {.ms = 2500,
	    .interface = "127.0.0.1",
	    .ssdp_group = "127.0.0.1",
	    .mdns_group = "127.0.0.1",
	    .ssdp_listen = free_port()};
	const struct discovered *d;
	int ports[2], in_fd;
	pid_t peer = start_peer(cfg.ssdp_listen, ports, &in_fd);

	cfg.ssdp_ports[0] = cfg.ssdp_ports[1] = ports[0];
	cfg.mdns_port = ports[1];
	run(&r, &cfg);
	is_int(r.done, 1, "done once");
	is_int(r.n, 5, "each printer once, and no router");
	d = seen(&r, "bambu", NULL);
	ok(d && strcmp(d->host, "127.0.0.1") == 0 && strcmp(d->firmware, "01.08.00.00") == 0,
	    "Bambu Lab");
	ok(r.n == 5 && (strcmp(r.seen[0].serial, r.seen[1].serial) != 0),
	    "answer and announcement");
	d = seen(&r, "octoprint", "OctoPrint instance on octopi");
	ok(d && d->port == 5000 && strcmp(d->model, "MK3") == 0 &&
		strcmp(d->firmware, "1.10.2") == 0,
	    "OctoPrint");
	d = seen(&r, "moonraker", "voron");
	ok(d && d->port == 7125 && d->serial[0] == '\0', "Moonraker");
	d = seen(&r, "prusalink", "PrusaLink MK4");
	ok(d && d->port == 80, "PrusaLink");

	r.n = r.done = 0;
	r.stop_at = 1;
	run(&r, &cfg);
	is_int(r.n, 1, "cancelled within the first");
	is_int(r.done, 0, "and nothing more is told");
	close(in_fd);
	kill(peer, SIGKILL);
	waitpid(peer, NULL, 0);
	loop_free(r.loop);
}

int
main(void)
{
	log_init("test", LOG_ERROR);
	test_ssdp();
	test_ssdp_text();
	test_mdns_hostile();
	test_run();
	return tap_done();
}
