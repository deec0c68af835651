/* Any bytes as a packet of SSDP and as one of mDNS. */
#include <arpa/inet.h>
#include <string.h>

#include "base/log.h"
#include "gateway/discover_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(const char *text, size_t size)
{
	must(memchr(text, '\0', size) != NULL && str_utf8(str_from(text)));
	for (; *text; text++)
		must((unsigned char)*text >= 0x20 && *text != 0x7f);
}

static void
check(const struct discovered *d)
{
	struct in_addr a;

	must(d->protocol[0] && inet_pton(AF_INET, d->host, &a) == 1);
	must(d->port >= 0 && d->port <= 65535);
	check_text(d->protocol, sizeof(d->protocol));
	check_text(d->serial, sizeof(d->serial));
	check_text(d->model, sizeof(d->model));
	check_text(d->name, sizeof(d->name));
	check_text(d->firmware, sizeof(d->firmware));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct discovered list[DISCOVER_MOST];
	int n;

	if (size > DISCOVER_PACKET)
		return 0;
	if (discover_ssdp((struct str){(const char *)data, size}, "10.0.0.1", &list[0]))
		check(&list[0]);
	n = discover_mdns(data, size, "10.0.0.1", list, DISCOVER_MOST);
	must(n >= 0 && n <= DISCOVER_MOST);
	for (int i = 0; i < n; i++)
		check(&list[i]);
	return 0;
}
