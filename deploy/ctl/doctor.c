/* doctor: runs the checks and reports, in words or as JSON. */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct {
	const char *name;
	void (*run)(struct doctor *d);
} checks[] = {
    {"postgres", check_postgres},
    {"durability", check_durability},
    {"connections", check_connections},
    {"roles", check_roles},
    {"migrations", check_migrations},
    {"isolation", check_policies},
    {"redis", check_redis},
    {"api", check_sockets},
    {"nginx", check_https},
    {"gateway", check_gateway},
    {"courier", check_courier},
    {"storage", check_storage},
    {"s3", check_s3},
    {"keys", check_keys},
};

__attribute__((format(printf, 2, 0))) static struct str
format(struct doctor *d, const char *fmt, va_list ap)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, ap);
	return str_dup(d->ctl->arena, str_from(text));
}

static void
add_json(struct doctor *d, struct str state, struct str detail, struct str mend)
{
	buf_str(&d->json, d->json.n > 0 ? STR(",{\"check\":") : STR("{\"check\":"));
	buf_json_str(&d->json, str_from(d->now->check));
	buf_str(&d->json, STR(",\"state\":"));
	buf_json_str(&d->json, state);
	buf_str(&d->json, STR(",\"detail\":"));
	buf_json_str(&d->json, detail);
	if (mend.n > 0) {
		buf_str(&d->json, STR(",\"mend\":"));
		buf_json_str(&d->json, mend);
	}
	buf_char(&d->json, '}');
}

static void
report(struct doctor *d, struct str state, struct str detail, struct str mend)
{
	if (d->ctl->json) {
		add_json(d, state, detail, mend);
		return;
	}
	printf("%-8.*s %-12s %.*s\n", STR_ARG(state), d->now->check, STR_ARG(detail));
	if (mend.n > 0)
		printf("         %-12s → %.*s\n", "", STR_ARG(mend));
}

void
fault(struct doctor *d, const char *mend, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	d->now->bad++;
	report(d, STR("wrong"), format(d, fmt, ap), str_from(mend));
	va_end(ap);
}

void
fine(struct doctor *d, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	d->now->detail = format(d, fmt, ap);
	va_end(ap);
}

void
skip(struct doctor *d, const char *why)
{
	d->now->skip = why;
}

static void
run_check(struct doctor *d, size_t i)
{
	struct finding f = {.check = checks[i].name, .detail = STR("well")};

	d->now = &f;
	checks[i].run(d);
	d->bad += f.bad;
	if (f.bad == 0 && f.skip)
		report(d, STR("skipped"), str_from(f.skip), STR_NONE);
	else if (f.bad == 0)
		report(d, STR("ok"), f.detail, STR_NONE);
}

static void
conclude(struct doctor *d)
{
	if (d->ctl->json)
		printf("{\"healthy\":%s,\"checks\":[%.*s]}\n", d->bad ? "false" : "true",
		    STR_ARG(buf_view(&d->json)));
	else if (d->bad)
		printf("\n%d fault(s) found.\n", d->bad);
	else
		printf("\nEverything that was checked is well.\n");
}

int
cmd_doctor(struct ctl *c)
{
	struct doctor d = {.ctl = c,
	    .sockets = getenv("SOLOPRINT_SOCKETS"),
	    .redis = getenv("SOLOPRINT_REDIS"),
	    .url = getenv("SOLOPRINT_URL"),
	    .cacert = getenv("SOLOPRINT_CACERT"),
	    .storage = getenv("SOLOPRINT_STORAGE"),
	    .gateway_key = getenv("SOLOPRINT_GATEWAY_KEY"),
	    .gateway_pubkey = getenv("SOLOPRINT_GATEWAY_PUBKEY"),
	    .courier_key = getenv("SOLOPRINT_COURIER_KEY"),
	    .courier_pubkey = getenv("SOLOPRINT_COURIER_PUBKEY"),
	    .cursor_key = getenv("SOLOPRINT_CURSOR_KEY")};
	const struct opt opts[] = {
	    {"schema", OPT_STR, &d.schema, false}, {"sockets", OPT_STR, &d.sockets, false}};

	if (!opts_parse(c, opts, 2, NULL, 0))
		return 2;
	if (!d.sockets)
		d.sockets = getenv("SOLOPRINT_SOCKET");
	buf_init(&d.json, 1 << 20);
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		run_check(&d, i);
	conclude(&d);
	buf_fini(&d.json);
	return d.bad != 0;
}
