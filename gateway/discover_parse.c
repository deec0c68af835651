#include "gateway/discover_parse.h"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <http_parser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "gateway/reading.h"

enum { RECORDS_MOST = 64, SSDP_MOST = 4096 };

/* Somebody's own address: neither nobody's nor everybody's. */
static bool
is_host(const char *text)
{
	struct in_addr a;
	uint32_t bits;

	if (inet_pton(AF_INET, text, &a) != 1)
		return false;
	bits = ntohl(a.s_addr);
	return bits >> 24 != 0 && !IN_MULTICAST(bits) && !IN_BADCLASS(bits);
}

/* --- SSDP ------------------------------------------------------------------------------------- */

const char discover_ssdp_search[] = "M-SEARCH * HTTP/1.1\r\n"
				    "HOST: 239.255.255.250:2021\r\n"
				    "MAN: \"ssdp:discover\"\r\n"
				    "MX: 2\r\n"
				    "ST: urn:bambulab-com:device:3dprinter:1\r\n"
				    "\r\n";

struct ssdp {
	char name[32], value[128];
	bool in_value, printer, bye, complete;
	char location[64];
	struct discovered *out;
};

/* The models' names by the codes that printers announce. */
static const char *
model_name(const char *code)
{
	static const struct {
		const char *code, *name;
	} models[] = {
	    {"3DPrinter-X1", "X1"},
	    {"3DPrinter-X1-Carbon", "X1C"},
	    {"BL-P001", "X1C"},
	    {"BL-P002", "X1"},
	    {"C11", "P1P"},
	    {"C12", "P1S"},
	    {"C13", "X1E"},
	    {"N1", "A1 mini"},
	    {"N2S", "A1"},
	    {"N6", "X2D"},
	    {"N7", "P2S"},
	    {"N9", "A2L"},
	    {"O1C", "H2C"},
	    {"O1C2", "H2C"},
	    {"O1D", "H2D"},
	    {"O1S", "H2S"},
	};

	for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
		if (strcmp(models[i].code, code) == 0)
			return models[i].name;
	return code;
}

static void
take_model(struct ssdp *x, struct str value)
{
	char code[sizeof(x->out->model)];

	reading_clean(value, code, sizeof(code));
	snprintf(x->out->model, sizeof(x->out->model), "%s", model_name(code));
}

static void
take_header(struct ssdp *x)
{
	struct str value = str_trim(str_from(x->value));
	struct discovered *out = x->out;

	if (strcasecmp(x->name, "NT") == 0 || strcasecmp(x->name, "ST") == 0)
		x->printer |= str_starts(value, STR("urn:bambulab-com:device:3dprinter"));
	else if (strcasecmp(x->name, "NTS") == 0)
		x->bye = str_eq(value, STR("ssdp:byebye"));
	else if (strcasecmp(x->name, "USN") == 0)
		reading_clean(value, out->serial, sizeof(out->serial));
	else if (strcasecmp(x->name, "Location") == 0)
		reading_clean(value, x->location, sizeof(x->location));
	else if (strcasecmp(x->name, "DevModel.bambu.com") == 0)
		take_model(x, value);
	else if (strcasecmp(x->name, "DevName.bambu.com") == 0)
		reading_clean(value, out->name, sizeof(out->name));
	else if (strcasecmp(x->name, "DevVersion.bambu.com") == 0)
		reading_clean(value, out->firmware, sizeof(out->firmware));
}

static void
append(char *text, size_t size, const char *p, size_t n)
{
	size_t have = strlen(text);

	if (n > size - 1 - have)
		n = size - 1 - have;
	memcpy(text + have, p, n);
	text[have + n] = '\0';
}

static void
header_ends(struct ssdp *x)
{
	if (x->in_value)
		take_header(x);
	x->name[0] = x->value[0] = '\0';
	x->in_value = false;
}

static int
on_field(http_parser *parser, const char *p, size_t n)
{
	struct ssdp *x = parser->data;

	if (x->in_value)
		header_ends(x);
	append(x->name, sizeof(x->name), p, n);
	return 0;
}

static int
on_value(http_parser *parser, const char *p, size_t n)
{
	struct ssdp *x = parser->data;

	x->in_value = true;
	append(x->value, sizeof(x->value), p, n);
	return 0;
}

static int
on_complete(http_parser *parser)
{
	struct ssdp *x = parser->data;

	header_ends(x);
	x->complete = parser->type == HTTP_REQUEST ? parser->method == HTTP_NOTIFY
						   : parser->status_code == 200;
	http_parser_pause(parser, 1);
	return 0;
}

/* Letters and digits, as serial numbers are. */
static bool
is_serial(const char *text)
{
	size_t n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789");

	return n >= 8 && text[n] == '\0';
}

bool
discover_ssdp(struct str packet, const char *from, struct discovered *out)
{
	http_parser_settings on;
	http_parser parser;
	struct ssdp x;

	if (packet.n > SSDP_MOST)
		return false;
	memset(&x, 0, sizeof(x));
	memset(out, 0, sizeof(*out));
	x.out = out;
	http_parser_settings_init(&on);
	on.on_header_field = on_field;
	on.on_header_value = on_value;
	on.on_headers_complete = on_complete;
	http_parser_init(&parser, HTTP_BOTH);
	parser.data = &x;
	http_parser_execute(&parser, &on, packet.p, packet.n);
	if (!x.complete || !x.printer || x.bye || !is_serial(out->serial))
		return false;
	snprintf(out->protocol, sizeof(out->protocol), "bambu");
	snprintf(out->host, sizeof(out->host), "%.15s", is_host(x.location) ? x.location : from);
	return is_host(out->host);
}

/* --- mDNS ------------------------------------------------------------------------------------- */

static const struct {
	const char *service, *protocol;
	const char *named; /* only instances with this in their name */
} kinds[] = {
    {"_octoprint._tcp.local", "octoprint", NULL},
    {"_moonraker._tcp.local", "moonraker", NULL},
    {"_prusalink._tcp.local", "prusalink", NULL},
    {"_prusa-link._tcp.local", "prusalink", NULL},
    {"_http._tcp.local", "prusalink", "prusa"},
};

const char *const discover_services[] = {"_octoprint._tcp.local", "_moonraker._tcp.local",
    "_prusalink._tcp.local", "_prusa-link._tcp.local", "_http._tcp.local", NULL};

size_t
discover_mdns_query(const char *service, uint16_t id, uint8_t *out, size_t size)
{
	uint8_t *at = out;
	int n;

	if (size < NS_HFIXEDSZ + NS_QFIXEDSZ)
		return 0;
	memset(out, 0, NS_HFIXEDSZ);
	ns_put16(id, at);
	ns_put16(1, at + 4); /* a standard query with one question */
	at += NS_HFIXEDSZ;
	n = ns_name_compress(
	    service, at, size - NS_HFIXEDSZ - NS_QFIXEDSZ, (const uint8_t **)NULL, NULL);
	if (n < 0)
		return 0;
	at += n;
	ns_put16(ns_t_ptr, at);
	ns_put16(ns_c_in, at + NS_INT16SZ);
	return (size_t)(at - out) + NS_QFIXEDSZ;
}

struct answer {
	ns_msg msg;
	int n;
	ns_rr rr[RECORDS_MOST];
};

/* All records of the sections that matter; those behind a broken one are left out. */
static bool
read_records(struct answer *a, const uint8_t *packet, size_t n)
{
	static const ns_sect sections[] = {ns_s_an, ns_s_ar};

	a->n = 0;
	if (n > DISCOVER_PACKET || ns_initparse(packet, (int)n, &a->msg) != 0 ||
	    !ns_msg_getflag(a->msg, ns_f_qr))
		return false;
	for (size_t s = 0; s < sizeof(sections) / sizeof(sections[0]); s++)
		for (int i = 0; i < ns_msg_count(a->msg, sections[s]) && a->n < RECORDS_MOST; i++) {
			if (ns_parserr(&a->msg, sections[s], i, &a->rr[a->n]) != 0)
				return a->n > 0;
			a->n++;
		}
	return a->n > 0;
}

/* The record of this type and name; NULL: none. */
static const ns_rr *
find(const struct answer *a, ns_type type, const char *name, int from)
{
	for (int i = from; i < a->n; i++)
		if (ns_rr_type(a->rr[i]) == type && strcasecmp(ns_rr_name(a->rr[i]), name) == 0)
			return &a->rr[i];
	return NULL;
}

/* A name within a record's data, `skip` bytes from its start. */
static bool
name_in(const struct answer *a, const ns_rr *rr, size_t skip, char out[NS_MAXDNAME])
{
	if (ns_rr_rdlen(*rr) <= skip)
		return false;
	return ns_name_uncompress(ns_msg_base(a->msg), ns_msg_end(a->msg), ns_rr_rdata(*rr) + skip,
		   out, NS_MAXDNAME) > 0;
}

/* The first label of a name, as its bytes are. */
static void
label_of(const char *name, char *out, size_t size)
{
	unsigned char wire[NS_MAXCDNAME];

	memset(out, 0, size);
	if (ns_name_pton(name, wire, sizeof(wire)) >= 0)
		reading_clean((struct str){(const char *)wire + 1, wire[0]}, out, size);
}

/* Strings of the form name=value, each behind its length (RFC 6763, section 6). */
static void
take_txt(const ns_rr *rr, struct discovered *out)
{
	const uint8_t *p = ns_rr_rdata(*rr), *end = p + ns_rr_rdlen(*rr);

	while (p < end && *p <= end - p - 1) {
		struct str value = {(const char *)p + 1, *p}, name = str_cut(&value, '=');

		if (str_ieq(name, STR("model")))
			reading_clean(value, out->model, sizeof(out->model));
		else if (str_ieq(name, STR("version")))
			reading_clean(value, out->firmware, sizeof(out->firmware));
		else if (str_ieq(name, STR("serial")))
			reading_clean(value, out->serial, sizeof(out->serial));
		p += 1 + *p;
	}
}

/* Where it came from, if that is an address of the host's or the host tells none; a reflector's
 * address is not. */
static void
take_address(const struct answer *a, const char *target, const char *from, struct discovered *out)
{
	char first[INET_ADDRSTRLEN] = "", text[INET_ADDRSTRLEN];

	for (int i = 0; i < a->n; i++) {
		const ns_rr *rr = &a->rr[i];

		if (ns_rr_type(*rr) != ns_t_a || strcasecmp(ns_rr_name(*rr), target) != 0 ||
		    ns_rr_rdlen(*rr) != 4 ||
		    !inet_ntop(AF_INET, ns_rr_rdata(*rr), text, sizeof(text)) || !is_host(text))
			continue;
		if (!first[0] || strcmp(text, from) == 0)
			memcpy(first, text, sizeof(first));
	}
	snprintf(out->host, sizeof(out->host), "%.15s", first[0] ? first : from);
}

static void
describe(const struct answer *a, const char *instance, const char *from, struct discovered *out)
{
	const ns_rr *srv = find(a, ns_t_srv, instance, 0), *txt = find(a, ns_t_txt, instance, 0);
	char target[NS_MAXDNAME] = "";

	if (srv && name_in(a, srv, 6, target))
		out->port = (int)ns_get16(ns_rr_rdata(*srv) + 4);
	if (txt)
		take_txt(txt, out);
	take_address(a, target, from, out);
}

static bool
contains(const char *text, const char *what)
{
	return !what || strcasestr(text, what) != NULL;
}

/* One that a pointer leads to. */
static bool
take_pointer(const struct answer *a, const ns_rr *rr, const char *from, struct discovered *out)
{
	char instance[NS_MAXDNAME];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcasecmp(ns_rr_name(*rr), kinds[i].service) != 0)
			continue;
		if (!name_in(a, rr, 0, instance))
			return false;
		memset(out, 0, sizeof(*out));
		label_of(instance, out->name, sizeof(out->name));
		if (!out->name[0] || !contains(out->name, kinds[i].named))
			return false;
		snprintf(out->protocol, sizeof(out->protocol), "%s", kinds[i].protocol);
		describe(a, instance, from, out);
		return is_host(out->host);
	}
	return false;
}

int
discover_mdns(const uint8_t *packet, size_t n, const char *from, struct discovered *out, int most)
{
	struct answer a;
	int found = 0;

	if (!read_records(&a, packet, n))
		return 0;
	for (int i = 0; i < a.n && found < most; i++)
		if (ns_rr_type(a.rr[i]) == ns_t_ptr &&
		    take_pointer(&a, &a.rr[i], from, &out[found]))
			found++;
	return found;
}
