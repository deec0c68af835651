/* soloprint-api: one pool of FastCGI workers on one unix socket. */
#include <errno.h>
#include <string.h>

#include "base/config.h"
#include "fcgi/app.h"
#include "proc/listen.h"
#include "proc/supervisor.h"
#include "proc/worker.h"

static bool
is_one_of(const char *value, const char *const *choices)
{
	for (; *choices; choices++) {
		if (strcmp(value, *choices) == 0)
			return true;
	}
	return false;
}

static bool
derive(struct app_config *c)
{
	static const char *const pools[] = {"api", "files", "auth", NULL};
	static const char *const statements[] = {"prepared", "unnamed", NULL};
	bool level = log_level_parse(str_from(c->log_level_name), &c->log_level);

	if (!level)
		log_error("setting is malformed", LOG_Z("name", "SOLOPRINT_LOG_LEVEL"));
	if (!is_one_of(c->pool, pools))
		log_error("setting is malformed", LOG_Z("name", "SOLOPRINT_POOL"));
	if (!is_one_of(c->statements, statements))
		log_error("setting is malformed", LOG_Z("name", "SOLOPRINT_STATEMENTS"));
	c->prepared = strcmp(c->statements, "prepared") == 0;
	c->fetch.own_url = c->public_url;
	return level && is_one_of(c->pool, pools) && is_one_of(c->statements, statements);
}

bool
app_config_load(struct app_config *c)
{
	const struct config_item items[] = {
	    {"SOLOPRINT_DB", CFG_STR, &c->db, NULL, 0, 0,
		"libpq conninfo of the role soloprint_api"},
	    {"SOLOPRINT_REDIS", CFG_STR, &c->redis, NULL, 0, 0, "unix socket of Redis"},
	    {"SOLOPRINT_SOCKET", CFG_STR, &c->socket, NULL, 0, 0,
		"unix socket this pool listens on"},
	    {"SOLOPRINT_POOL", CFG_STR, &c->pool, "api", 0, 0, "api, files or auth"},
	    {"SOLOPRINT_CURSOR_KEY", CFG_STR, &c->cursor_key_path, NULL, 0, 0,
		"file with 32 random bytes"},
	    {"SOLOPRINT_GATEWAY_PUBKEY", CFG_STR, &c->gateway_pubkey_path, NULL, 0, 0,
		"the gateway's X25519 public key, PEM"},
	    {"SOLOPRINT_COURIER_PUBKEY", CFG_STR, &c->courier_pubkey_path, NULL, 0, 0,
		"the courier's X25519 public key, PEM"},
	    {"SOLOPRINT_SNAPSHOT_PUBLISH", CFG_STR, &c->snapshot_publish, "", 0, 0,
		"nginx' unix socket for the first message of a stream"},
	    {"SOLOPRINT_DOCS_URL", CFG_STR, &c->docs_url,
		"https://www.soloprint.app/developers/api-docs", 0, 0, "documentation"},
	    {"SOLOPRINT_CHANGELOG_URL", CFG_STR, &c->changelog_url,
		"https://www.soloprint.app/developers/changelog", 0, 0, "changelog"},
	    {"SOLOPRINT_STORAGE", CFG_STR, &c->storage, NULL, 0, 0, "directory of the file store"},
	    {"SOLOPRINT_URL_KEY", CFG_STR, &c->url_key_path, NULL, 0, 0,
		"file with 32 random bytes that sign the URLs of uploads and downloads"},
	    {"SOLOPRINT_PUBLIC_URL", CFG_STR, &c->public_url, "", 0, 0,
		"base of the URLs given out, https://host"},
	    {"SOLOPRINT_FETCH_DENY", CFG_STR, &c->fetch.deny, "", 0, 0,
		"names and networks never to fetch from, by commas"},
	    {"SOLOPRINT_FETCH_HTTP", CFG_BOOL, &c->fetch.http, "0", 0, 0, "http:// as well"},
	    {"SOLOPRINT_STATEMENTS", CFG_STR, &c->statements, "prepared", 0, 0,
		"prepared or unnamed"},
	    {"SOLOPRINT_LOG_LEVEL", CFG_STR, &c->log_level_name, "info", 0, 0,
		"debug, info, warn or error"},
	    {"SOLOPRINT_WORKERS", CFG_INT, &c->workers, "8", 1, 256, "worker processes"},
	    {"SOLOPRINT_MAX_REQUESTS", CFG_INT, &c->max_requests, "20000", 0, INT32_MAX,
		"requests before a worker is replaced, 0: never"},
	    {"SOLOPRINT_DRAIN_MS", CFG_INT, &c->drain_ms, "10000", 0, 600000, "drain deadline"},
	};

	return config_load(items, sizeof items / sizeof items[0]) && derive(c);
}

static int
supervise(const struct app_config *c, const char *program)
{
	struct supervisor_config cfg = {
	    .name = c->pool,
	    .program = program,
	    .listen_fd = proc_listen_unix(c->socket, 0660, PROC_BACKLOG),
	    .workers = (int)c->workers,
	    .drain_ms = c->drain_ms,
	};

	if (cfg.listen_fd < 0) {
		log_error("cannot listen", LOG_Z("socket", c->socket), LOG_I("errno", errno),
		    LOG_Z("reason", strerror(errno)));
		return 1;
	}
	return supervisor_run(&cfg);
}

int
main(int argc, char **argv)
{
	struct proc_worker w;
	struct app_config cfg = {0};
	bool is_worker = proc_worker_boot(&w);

	log_init("api", LOG_INFO);
	proc_harden();
	if (argc < 1 || !app_config_load(&cfg))
		return 1;
	log_init("api", cfg.log_level);
	if (!is_worker)
		return supervise(&cfg, argv[0]);
	cfg.since_ms = w.since_ms;
	return worker_main(&cfg, w.listen_fd, w.ready_fd);
}
