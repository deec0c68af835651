/* Any bytes as a URL. What is let through must name a public address or a name: here judged by the
 * C library's own reading of hosts, which takes every odd notation that a resolver would. */
#include <netdb.h>
#include <string.h>

#include "base/arena.h"
#include "fuzz.h"
#include "net/fetch_guard.h"

static const struct fetch_rules strict = {.deny = "print.example.com,9.9.9.0/24"};
static struct arena *arena;

/* The host as an address, if the C library takes it for one without asking anybody. */
static struct addrinfo *
as_address(struct str host)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	bool bracketed = host.n > 2 && host.p[0] == '[';

	if (bracketed)
		host = (struct str){host.p + 1, host.n - 2};
	if (getaddrinfo(str_z(arena, host), NULL, &hints, &found) != 0)
		return NULL;
	return found;
}

static void
check_public(struct str host)
{
	struct addrinfo *found = as_address(host);

	for (struct addrinfo *it = found; it; it = it->ai_next)
		must(fetch_address_public(&strict, it->ai_addr));
	if (found)
		freeaddrinfo(found);
}

static void
check_again(const struct fetch_url *u)
{
	struct fetch_url again;

	must(fetch_url_check(&strict, arena, u->text, &again) == FETCH_OK);
	must(str_eq(again.text, u->text) && str_eq(again.host, u->host));
	must(again.port == u->port);
}

static void
check_name(struct str name)
{
	must(str_utf8(name) && name.n <= 1020);
	must(str_index(name, '/') < 0 && str_index(name, '\\') < 0);
	must(str_index(name, '\0') < 0 && str_index(name, '\n') < 0);
	must(!str_eq(name, STR("..")) && !str_eq(name, STR(".")));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str in = {(const char *)data, size};
	struct fetch_url u;

	if (!arena)
		arena = arena_new(1 << 28);
	if (fetch_url_check(&strict, arena, in, &u) == FETCH_OK) {
		must(!u.http && (u.port == 443 || u.port == 80 || u.port == 8443));
		must(u.host.n && str_index(u.host, '@') < 0 && !str_eq(u.host, STR("localhost")));
		check_public(u.host);
		check_again(&u);
		check_name(u.filename);
	}
	check_name(fetch_disposition(arena, in));
	arena_reset(arena);
	return 0;
}
