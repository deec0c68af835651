#include "gateway/discover.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	USUAL_MS = 5000,
	ASK_MS = 1000, /* between repetitions: what is lost is lost */
	INTERFACES = 16,
	FOUND_MOST = 256,
	PACKETS_PER_TURN = 32,
	PACKETS_MOST = 20000, /* in all */
	SSDP_PORTS = 2,
};

enum place { ASKING, LISTENING, NAMING, PLACES };

struct discover {
	struct loop *loop;
	void (*found)(void *ctx, const struct discovered *what);
	void (*done)(void *ctx);
	void *ctx;
	struct in_addr interfaces[INTERFACES];
	int n_interfaces;
	struct in_addr ssdp_group, mdns_group;
	int ssdp_ports[SSDP_PORTS], mdns_port;
	struct socket {
		struct discover *d;
		struct watch watch;
		int fd;
	} sockets[PLACES]; /* of SSDP's questions, of its announcements, of mDNS */
	struct timer ask, end;
	bool busy, cancelled; /* busy: a callback runs */
	int packets, n;
	struct discovered seen[FOUND_MOST];
};

static void on_packet(void *ctx, uint32_t events);
static void on_ask(void *ctx);
static void on_end(void *ctx);

/* --- sockets ---------------------------------------------------------------------------------- */

static void
find_interfaces(struct discover *d, const char *wanted)
{
	struct ifaddrs *list = NULL;

	if (wanted) {
		d->n_interfaces = inet_pton(AF_INET, wanted, &d->interfaces[0]) == 1;
		return;
	}
	if (getifaddrs(&list) != 0)
		return;
	for (struct ifaddrs *i = list; i && d->n_interfaces < INTERFACES; i = i->ifa_next) {
		const unsigned flags = IFF_UP | IFF_MULTICAST;
		struct sockaddr_in a;

		if (!i->ifa_addr || i->ifa_addr->sa_family != AF_INET ||
		    (i->ifa_flags & flags) != flags || (i->ifa_flags & IFF_LOOPBACK))
			continue;
		memcpy(&a, i->ifa_addr, sizeof(a));
		d->interfaces[d->n_interfaces++] = a.sin_addr;
	}
	freeifaddrs(list);
}

static bool
bind_to(int fd, int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

	a.sin_addr.s_addr = htonl(INADDR_ANY);
	return bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0;
}

/* Announcements go to a port that others of this machine may listen at too. */
static int
open_socket(struct discover *d, enum place place, int port)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	if (port)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	d->sockets[place].fd = fd;
	if (bind_to(fd, port) && watch_set(d->loop, &d->sockets[place].watch, fd, EPOLLIN))
		return fd;
	d->sockets[place].fd = -1;
	close(fd);
	return -1;
}

static void
join(struct discover *d, int fd, struct in_addr group)
{
	for (int i = 0; i < d->n_interfaces; i++) {
		struct ip_mreq m = {group, d->interfaces[i]};

		setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &m, sizeof(m));
	}
}

static bool
is_group(struct in_addr a)
{
	return IN_MULTICAST(ntohl(a.s_addr));
}

/* On every interface; what cannot be sent on one is not. */
static void
send_all(struct discover *d, int fd, struct in_addr group, int port, const void *p, size_t n)
{
	struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = group};

	for (int i = 0; i < d->n_interfaces; i++) {
		setsockopt(
		    fd, IPPROTO_IP, IP_MULTICAST_IF, &d->interfaces[i], sizeof(d->interfaces[i]));
		if (sendto(fd, p, n, 0, (struct sockaddr *)&to, sizeof(to)) < 0)
			log_debug("cannot ask on an interface", LOG_I("port", port));
		if (!is_group(group))
			return;
	}
}

/* --- the course ------------------------------------------------------------------------------- */

static void
discover_free(struct discover *d)
{
	timer_stop(d->loop, &d->ask);
	timer_stop(d->loop, &d->end);
	for (int i = 0; i < PLACES; i++) {
		watch_stop(d->loop, &d->sockets[i].watch);
		if (d->sockets[i].fd >= 0)
			close(d->sockets[i].fd);
	}
	free(d);
}

static void
on_ask(void *ctx)
{
	struct discover *d = ctx;
	uint8_t query[DISCOVER_QUERY];

	timer_set(d->loop, &d->ask, ASK_MS);
	for (int i = 0; i < SSDP_PORTS && d->sockets[ASKING].fd >= 0; i++)
		send_all(d, d->sockets[ASKING].fd, d->ssdp_group, d->ssdp_ports[i],
		    discover_ssdp_search, strlen(discover_ssdp_search));
	for (int i = 0; discover_services[i] && d->sockets[NAMING].fd >= 0; i++) {
		size_t n = discover_mdns_query(
		    discover_services[i], (uint16_t)(i + 1), query, sizeof(query));

		send_all(d, d->sockets[NAMING].fd, d->mdns_group, d->mdns_port, query, n);
	}
}

static void
on_end(void *ctx)
{
	struct discover *d = ctx;
	void (*done)(void *ctx) = d->done;
	void *theirs = d->ctx;

	discover_free(d);
	done(theirs);
}

static bool
same(const struct discovered *a, const struct discovered *b)
{
	if (strcmp(a->protocol, b->protocol) != 0)
		return false;
	if (a->serial[0] && strcmp(a->serial, b->serial) == 0)
		return true;
	return strcmp(a->host, b->host) == 0 && a->port == b->port &&
	    strcmp(a->serial, b->serial) == 0;
}

static void
tell(struct discover *d, const struct discovered *what)
{
	for (int i = 0; i < d->n; i++)
		if (same(&d->seen[i], what))
			return;
	if (d->n == FOUND_MOST || d->cancelled)
		return;
	d->seen[d->n++] = *what;
	d->found(d->ctx, what);
}

static void
take(struct discover *d, enum place place, const uint8_t *packet, size_t n, const char *from)
{
	struct discovered list[DISCOVER_MOST];
	int found;

	if (place == NAMING)
		found = discover_mdns(packet, n, from, list, DISCOVER_MOST);
	else
		found = discover_ssdp((struct str){(const char *)packet, n}, from, &list[0]);
	for (int i = 0; i < found; i++)
		tell(d, &list[i]);
}

static void
on_packet(void *ctx, uint32_t events)
{
	struct socket *s = ctx;
	struct discover *d = s->d;
	uint8_t packet[DISCOVER_PACKET];
	char from[INET_ADDRSTRLEN];

	(void)events;
	d->busy = true;
	for (int i = 0; i < PACKETS_PER_TURN && !d->cancelled; i++) {
		struct sockaddr_in a;
		socklen_t size = sizeof(a);
		ssize_t n = recvfrom(
		    s->fd, packet, sizeof(packet), 0, (struct sockaddr *)&a, &size);

		if (n < 0 || d->packets >= PACKETS_MOST)
			break;
		d->packets++;
		if (n > 0 && size == sizeof(a) &&
		    inet_ntop(AF_INET, &a.sin_addr, from, sizeof(from)))
			take(d, (enum place)(s - d->sockets), packet, (size_t)n, from);
	}
	d->busy = false;
	if (d->cancelled)
		discover_free(d);
	else if (d->packets >= PACKETS_MOST)
		watch_stop(d->loop, &s->watch);
}

void
discover_cancel(struct discover *d)
{
	if (d->busy)
		d->cancelled = true;
	else
		discover_free(d);
}

/* --- its beginning ---------------------------------------------------------------------------- */

static int
either(int given, int usual)
{
	return given ? given : usual;
}

static bool
set_places(struct discover *d, const struct discover_config *cfg)
{
	static const int ssdp_ports[SSDP_PORTS] = {2021, 1990};

	for (int i = 0; i < SSDP_PORTS; i++)
		d->ssdp_ports[i] = either(cfg->ssdp_ports[i], ssdp_ports[i]);
	d->mdns_port = either(cfg->mdns_port, 5353);
	return inet_pton(AF_INET, cfg->ssdp_group ? cfg->ssdp_group : "239.255.255.250",
		   &d->ssdp_group) == 1 &&
	    inet_pton(AF_INET, cfg->mdns_group ? cfg->mdns_group : "224.0.0.251", &d->mdns_group) ==
	    1;
}

/* Each of them may be missing: another program may hold the port of announcements. */
static bool
open_all(struct discover *d, const struct discover_config *cfg)
{
	int fd = open_socket(d, LISTENING, either(cfg->ssdp_listen, 2021));

	if (fd >= 0 && is_group(d->ssdp_group))
		join(d, fd, d->ssdp_group);
	open_socket(d, ASKING, 0);
	open_socket(d, NAMING, 0);
	return d->sockets[ASKING].fd >= 0 || fd >= 0 || d->sockets[NAMING].fd >= 0;
}

struct discover *
discover_start(struct loop *loop, const struct discover_config *cfg,
    void (*found)(void *ctx, const struct discovered *what), void (*done)(void *ctx), void *ctx)
{
	struct discover *d = calloc(1, sizeof(*d));

	must(d != NULL);
	d->loop = loop;
	d->found = found;
	d->done = done;
	d->ctx = ctx;
	d->ask = (struct timer){.fn = on_ask, .ctx = d};
	d->end = (struct timer){.fn = on_end, .ctx = d};
	for (int i = 0; i < PLACES; i++)
		d->sockets[i] = (struct socket){d, {.fn = on_packet, .ctx = &d->sockets[i]}, -1};
	find_interfaces(d, cfg->interface);
	if (!set_places(d, cfg) || !open_all(d, cfg)) {
		discover_free(d);
		return NULL;
	}
	timer_set(loop, &d->ask, 0);
	timer_set(loop, &d->end, cfg->ms > 0 ? cfg->ms : USUAL_MS);
	return d;
}
