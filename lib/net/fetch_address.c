/* Which addresses are public: the registries of special-purpose addresses (RFC 6890 and its
 * successors) are not. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "net/fetch_guard.h"

struct network {
	uint8_t addr[16];
	int bits;
};

static const struct network denied4[] = {
    {{0}, 8},             /* this network */
    {{10}, 8},            /* private */
    {{100, 64}, 10},      /* carriers' NAT */
    {{127}, 8},           /* loopback */
    {{169, 254}, 16},     /* link-local: metadata services */
    {{172, 16}, 12},      /* private */
    {{192, 0, 0}, 24},    /* protocol assignments */
    {{192, 0, 2}, 24},    /* documentation */
    {{192, 88, 99}, 24},  /* 6to4 relays */
    {{192, 168}, 16},     /* private */
    {{198, 18}, 15},      /* benchmarks */
    {{198, 51, 100}, 24}, /* documentation */
    {{203, 0, 113}, 24},  /* documentation */
    {{224}, 4},           /* multicast */
    {{240}, 4},           /* reserved, broadcast */
};

/* Global unicast alone, without: protocol assignments (Teredo, ORCHID), documentation, 6to4,
 * documentation. Mapped, NAT64 and unique local addresses lie outside. */
static const struct network global6 = {{0x20}, 3};
static const struct network denied6[] = {
    {{0x20, 0x01}, 23},
    {{0x20, 0x01, 0x0d, 0xb8}, 32},
    {{0x20, 0x02}, 16},
    {{0x3f, 0xff}, 20},
};

static bool
holds(const struct network *net, const uint8_t *addr)
{
	size_t whole = (size_t)net->bits / 8;
	int rest = net->bits % 8;

	if (memcmp(net->addr, addr, whole) != 0)
		return false;
	return rest == 0 || (net->addr[whole] ^ addr[whole]) >> (8 - rest) == 0;
}

static bool
any_holds(const struct network *nets, size_t n, const uint8_t *addr)
{
	for (size_t i = 0; i < n; i++) {
		if (holds(&nets[i], addr))
			return true;
	}
	return false;
}

/* The address' bytes; NULL when it is of another family. *n: how many. */
static const uint8_t *
bytes(const struct sockaddr *sa, size_t *n)
{
	if (sa->sa_family == AF_INET) {
		*n = 4;
		return (const uint8_t *)&((const struct sockaddr_in *)(const void *)sa)->sin_addr;
	}
	if (sa->sa_family == AF_INET6) {
		*n = 16;
		return (const uint8_t *)&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;
	}
	*n = 0;
	return NULL;
}

/* "192.0.2.0/24" or an address alone; its length in bytes, 0 when it is neither. */
static size_t
network_parse(struct str s, struct network *out)
{
	char z[INET6_ADDRSTRLEN];
	struct str addr = str_cut(&s, '/');
	size_t n = str_index(addr, ':') >= 0 ? 16 : 4;
	int64_t bits = (int64_t)n * 8;

	memset(out, 0, sizeof(*out));
	if (!addr.n || addr.n >= sizeof(z))
		return 0;
	memcpy(z, addr.p, addr.n);
	z[addr.n] = '\0';
	if (inet_pton(n == 16 ? AF_INET6 : AF_INET, z, out->addr) != 1)
		return 0;
	if (s.p && (!str_to_i64(s, &bits) || bits < 0 || bits > (int64_t)n * 8))
		return 0;
	out->bits = (int)bits;
	return n;
}

bool
fetch_networks_hold(const char *list, const struct sockaddr *sa)
{
	struct str rest = str_from(list);
	size_t n;
	const uint8_t *addr = bytes(sa, &n);

	while (addr && rest.n) {
		struct network net;

		if (network_parse(str_trim(str_cut(&rest, ',')), &net) == n && holds(&net, addr))
			return true;
	}
	return false;
}

bool
fetch_networks_ok(const char *list, bool names)
{
	struct str rest = str_from(list);

	while (rest.n) {
		struct str item = str_trim(str_cut(&rest, ','));
		struct network net;
		bool like_name = str_index(item, '/') < 0 && str_index(item, ':') < 0;

		if (!network_parse(item, &net) && !(names && like_name))
			return false;
	}
	return true;
}

bool
fetch_address_public(const struct fetch_rules *rules, const struct sockaddr *sa)
{
	size_t n;
	const uint8_t *addr = bytes(sa, &n);

	if (!addr || fetch_networks_hold(rules->deny, sa))
		return false;
	if (fetch_networks_hold(rules->test_net, sa))
		return true;
	if (n == 4)
		return !any_holds(denied4, sizeof(denied4) / sizeof(denied4[0]), addr);
	return holds(&global6, addr) &&
	    !any_holds(denied6, sizeof(denied6) / sizeof(denied6[0]), addr);
}

/* Is it one of this machine's own? */
static bool
own(const struct sockaddr *sa)
{
	struct ifaddrs *list, *it;
	size_t n, m;
	const uint8_t *addr = bytes(sa, &n);
	bool found = false;

	if (getifaddrs(&list) != 0)
		return true;
	for (it = list; it && !found; it = it->ifa_next) {
		const uint8_t *mine = it->ifa_addr ? bytes(it->ifa_addr, &m) : NULL;

		found = mine && m == n && memcmp(mine, addr, n) == 0;
	}
	freeifaddrs(list);
	return found;
}

bool
fetch_address_allowed(const struct fetch_rules *rules, const struct sockaddr *sa)
{
	return fetch_address_public(rules, sa) &&
	    (fetch_networks_hold(rules->test_net, sa) || !own(sa));
}
