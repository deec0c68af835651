/* soloprint-api: settings, and the entry point of a worker. */
#ifndef FCGI_APP_H
#define FCGI_APP_H

#include "base/log.h"
#include "base/str.h"
#include "net/fetch.h"

struct app_config {
	/* as read from the environment, borrowed from it */
	const char *db, *redis, *socket, *pool;
	const char *cursor_key_path, *gateway_pubkey_path, *courier_pubkey_path;
	const char *snapshot_publish; /* nginx' socket for a stream's first message; "": none */
	const char *docs_url, *changelog_url;
	const char *storage;    /* directory of the file store */
	const char *public_url; /* base of the URLs given out; "": paths */
	const char *url_key_path;
	struct fetch_rules fetch; /* to refuse URLs early; nothing is fetched here */
	const char *statements, *log_level_name;
	int64_t workers, max_requests, drain_ms;
	/* derived */
	enum log_level log_level;
	bool prepared;    /* SOLOPRINT_STATEMENTS is "prepared" */
	int64_t since_ms; /* when the service started, monotonic */
};

/* Reads the environment; what is wrong is logged. */
bool app_config_load(struct app_config *out);

/* Serves requests until asked to stop (see proc/worker.h); returns the exit status. Opens its own
 * connections. Reloads start new workers, so files named by settings are read here. */
int worker_main(const struct app_config *cfg, int listen_fd, int ready_fd);

#endif
