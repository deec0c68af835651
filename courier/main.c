/* soloprint-courier: what must not be done inside of a request. A supervisor and its workers. */
#include <string.h>

#include "base/config.h"
#include "base/log.h"
#include "courier/courier.h"
#include "proc/supervisor.h"

struct settings {
	struct courier_config courier;
	const char *level;
};

static bool
load(struct settings *s)
{
	struct courier_config *c = &s->courier;
	const char *statements;
	const struct config_item items[] = {
	    {"SOLOPRINT_DB", CFG_STR, &c->db, NULL, 0, 0,
		"libpq conninfo of role soloprint_courier"},
	    {"SOLOPRINT_STATEMENTS", CFG_STR, &statements, "prepared", 0, 0,
		"prepared, or unnamed behind a pooler in transaction mode"},
	    {"SOLOPRINT_COURIER_NAME", CFG_STR, &c->name, "courier", 0, 0, "for people"},
	    {"SOLOPRINT_STORAGE", CFG_STR, &c->storage, "", 0, 0, "directory of the file store"},
	    {"SOLOPRINT_SCAN", CFG_STR, &c->scan, "", 0, 0, "path of soloprint-scan"},
	    {"SOLOPRINT_FETCH_CA", CFG_STR, &c->fetch.ca_file, "", 0, 0,
		"certificates that servers' may chain to, PEM; the system's"},
	    {"SOLOPRINT_FETCH_DENY", CFG_STR, &c->fetch.deny, "", 0, 0,
		"names and networks never to fetch from, by commas"},
	    {"SOLOPRINT_FETCH_HTTP", CFG_BOOL, &c->fetch.http, "0", 0, 0, "http:// as well"},
	    {"SOLOPRINT_PUBLIC_URL", CFG_STR, &c->fetch.own_url, "", 0, 0,
		"the service's own URL, never fetched from"},
	    {"SOLOPRINT_IMPORT_MAX_BYTES", CFG_INT, &c->import_most_bytes, "2147483648", 1,
		INT64_MAX, "largest file that is imported from a URL"},
	    {"SOLOPRINT_COURIER_KEY", CFG_STR, &c->key, "", 0, 0,
		"the courier's X25519 private key, PEM: opens secrets of webhooks and notifications"},
	    {"SOLOPRINT_EVENTS_PUBLISH", CFG_STR, &c->events_publish, "", 0, 0,
		"nginx' unix socket for events"},
	    {"SOLOPRINT_SMTP_URL", CFG_STR, &c->smtp_url, "", 0, 0,
		"mail server, smtp:// or smtps:// with user and password"},
	    {"SOLOPRINT_SMTP_CA", CFG_STR, &c->smtp_ca, "", 0, 0,
		"certificates that the mail server's may chain to, PEM; the system's"},
	    {"SOLOPRINT_MAIL_FROM", CFG_STR, &c->mail_from, "", 0, 0, "sender of mails"},
	    {"SOLOPRINT_SENDERS", CFG_INT, &c->senders, "1", 1, 64,
		"processes that send webhooks and notifications"},
	    {"SOLOPRINT_WORKERS", CFG_INT, &c->workers, "4", 1, 190, "jobs at the same time"},
	    {"SOLOPRINT_COURIER_LEASE_MS", CFG_INT, &c->lease_ms, "10000", 1000, 600000,
		"how long a job stays with a worker that is silent"},
	    {"SOLOPRINT_DRAIN_MS", CFG_INT, &c->drain_ms, "10000", 0, 600000, "drain deadline"},
	    {"SOLOPRINT_LOG_LEVEL", CFG_STR, &s->level, "info", 0, 0, "debug, info, warn, error"},
	};

	if (!config_load(items, sizeof(items) / sizeof(items[0])))
		return false;
	if (strcmp(statements, "prepared") != 0 && strcmp(statements, "unnamed") != 0) {
		log_error("setting is malformed", LOG_Z("name", "SOLOPRINT_STATEMENTS"));
		return false;
	}
	c->unnamed = strcmp(statements, "unnamed") == 0;
	return true;
}

static int
supervise(const struct courier_config *c, const char *program)
{
	const struct supervisor_config cfg = {
	    .name = c->name,
	    .program = program,
	    .listen_fd = -1,
	    .workers = (int)courier_processes(c),
	    .drain_ms = c->drain_ms,
	};

	return supervisor_run(&cfg);
}

int
main(int argc, char **argv)
{
	struct proc_worker w;
	struct settings s = {0};
	enum log_level level = LOG_INFO;
	bool is_worker = proc_worker_boot(&w);

	log_init("courier", LOG_INFO);
	proc_harden();
	if (argc < 1 || !load(&s))
		return 2;
	if (!log_level_parse(str_from(s.level), &level))
		log_warn("log level is not known", LOG_Z("level", s.level));
	log_init("courier", level);
	return is_worker ? courier_work(&s.courier, &w) : supervise(&s.courier, argv[0]);
}
