/* soloprint-gateway: keeps a session with every printer that is leased to it and writes what they
 * report. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "gateway/file_box.h"
#include "gateway/fleet.h"
#include "gateway/http.h"
#include "gateway/identity.h"
#include "gateway/telemetry.h"

enum {
	STOP_MS = 4000,
	REPORT_MS = 60000,
	SESSION_FILES = 3, /* the connection, and libmosquitto's pair of sockets */
	OTHER_FILES = 256, /* database, timers, uploads, cameras */
};

static const char *cfg_db, *cfg_key, *cfg_ca, *cfg_ftps_port, *cfg_name, *cfg_storage,
    *cfg_discovery, *cfg_interface, *cfg_level, *cfg_publish, *cfg_camera_port, *cfg_ffmpeg;
static int64_t cfg_sessions, cfg_connects, cfg_lease_ms, cfg_batch_ms, cfg_silence_ms,
    cfg_offline_ms, cfg_patience;

static const struct config_item config[] = {
    {"SOLOPRINT_DB", CFG_STR, &cfg_db, NULL, 0, 0, "libpq conninfo of role soloprint_gateway"},
    {"SOLOPRINT_GATEWAY_KEY", CFG_STR, &cfg_key, NULL, 0, 0,
	"private key that opens printers' secrets, PEM"},
    {"SOLOPRINT_GATEWAY_CA", CFG_STR, &cfg_ca, "/etc/soloprint/printer-ca.pem", 0, 0,
	"certificates that a Bambu printer's may chain to, PEM"},
    {"SOLOPRINT_GATEWAY_FTPS_PORT", CFG_STR, &cfg_ftps_port, "990", 0, 0,
	"of Bambu printers; +100: that far above the printer's own port"},
    {"SOLOPRINT_GATEWAY_NAME", CFG_STR, &cfg_name, "gateway", 0, 0,
	"for people, in the list of gateways"},
    {"SOLOPRINT_STORAGE", CFG_STR, &cfg_storage, "", 0, 0,
	"folder of the file store; without it nothing can be sent to printers"},
    {"SOLOPRINT_GATEWAY_SESSIONS", CFG_INT, &cfg_sessions, "6000", 1, 100000,
	"most printers to take"},
    {"SOLOPRINT_GATEWAY_CONNECTS", CFG_INT, &cfg_connects, "1000", 1, 100000,
	"most new connections per second"},
    {"SOLOPRINT_GATEWAY_LEASE_MS", CFG_INT, &cfg_lease_ms, "7000", 4000, 600000,
	"how long a lease lasts"},
    {"SOLOPRINT_GATEWAY_BATCH_MS", CFG_INT, &cfg_batch_ms, "250", 0, 60000,
	"least time between two writes"},
    {"SOLOPRINT_GATEWAY_SILENCE_MS", CFG_INT, &cfg_silence_ms, "60000", 500, 3600000,
	"a printer without a report for so long is woken, then connected anew"},
    {"SOLOPRINT_GATEWAY_OFFLINE_MS", CFG_INT, &cfg_offline_ms, "15000", 0, 3600000,
	"a printer not connected for so long is offline"},
    {"SOLOPRINT_GATEWAY_DISCOVERY", CFG_STR, &cfg_discovery, "off", 0, 0,
	"which organizations may search this network for printers: off, all, or ids"},
    {"SOLOPRINT_GATEWAY_DISCOVERY_INTERFACE", CFG_STR, &cfg_interface, "", 0, 0,
	"address of the network interface to search on; all of them without it"},
    {"SOLOPRINT_GATEWAY_PATIENCE", CFG_INT, &cfg_patience, "100", 1, 1000,
	"how long a printer may take to show what it was asked for, in percent of the usual"},
    {"SOLOPRINT_GATEWAY_PUBLISH", CFG_STR, &cfg_publish, "", 0, 0,
	"nginx' socket for publishers; without it nobody can look on: no cameras, no telemetry"},
    {"SOLOPRINT_GATEWAY_FFMPEG", CFG_STR, &cfg_ffmpeg, "ffmpeg", 0, 0,
	"program that makes pictures of cameras' video; optional"},
    {"SOLOPRINT_GATEWAY_CAMERA_PORT", CFG_STR, &cfg_camera_port, "", 0, 0,
	"of Bambu printers that send pictures, if not 6000; +N: so far above the printer's port"},
    {"SOLOPRINT_LOG_LEVEL", CFG_STR, &cfg_level, "info", 0, 0, "debug, info, warn or error"},
};

struct process {
	struct loop *loop;
	struct http *http;
	struct gateway gateway;
	struct fleet fleet;
	struct identity identity;
	struct watch signals;
	struct timer report, deadline;
	int signal_fd;
	bool stopping;
};

static void
on_stopped(void *ctx)
{
	struct process *p = ctx;

	loop_stop(p->loop);
}

static void
on_deadline(void *ctx)
{
	struct process *p = ctx;

	log_warn("stopped without a goodbye", LOG_I("after_ms", STOP_MS));
	loop_stop(p->loop);
}

static void
on_signal(void *ctx, uint32_t events)
{
	struct process *p = ctx;
	struct signalfd_siginfo si;

	(void)events;
	if (read(p->signal_fd, &si, sizeof(si)) != sizeof(si) || p->stopping)
		return;
	p->stopping = true;
	sd_notify(0, "STOPPING=1");
	log_info("stopping", LOG_I("signal", si.ssi_signo), LOG_I("sessions", p->fleet.sessions.n));
	timer_set(p->loop, &p->deadline, STOP_MS);
	fleet_stop(&p->fleet);
	p->gateway.sink->ops->stop(p->gateway.sink, on_stopped, p);
}

static int64_t
rss_kb(void)
{
	char text[128] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	struct str rest, size;
	int64_t pages = 0;

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) > 0) {
		rest = str_from(text);
		str_cut(&rest, ' ');
		size = str_cut(&rest, ' ');
		str_to_i64(size, &pages);
	}
	close(fd);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void
on_report(void *ctx)
{
	struct process *p = ctx;
	struct gateway_counters c = p->gateway.counters;
	struct sink_counters k;

	timer_set(p->loop, &p->report, REPORT_MS);
	memset(&p->gateway.counters, 0, sizeof(p->gateway.counters));
	p->gateway.sink->ops->counters(p->gateway.sink, &k);
	log_info("last minute", LOG_I("sessions", p->fleet.sessions.n), LOG_I("reports", c.reports),
	    LOG_I("report_bytes", c.report_bytes), LOG_I("ignored", c.ignored),
	    LOG_I("connects", c.connects), LOG_I("failures", c.failures),
	    LOG_I("parse_us", c.parse_us), LOG_I("map_us", c.map_us), LOG_I("rows", k.rows),
	    LOG_I("batches", k.batches), LOG_I("failed_rows", k.failed), LOG_I("events", k.events),
	    LOG_I("lag_most_ms", k.lag_most_ms), LOG_I("history", k.history),
	    LOG_I("history_lost", k.history_lost), LOG_I("rss_kb", rss_kb()));
}

/* Takes what the system allows, and no more printers than that is enough for: without descriptors a
 * session that works and one that cannot be made look the same from outside. */
static void
raise_limits(void)
{
	struct rlimit r;
	int64_t limit, need = cfg_sessions * SESSION_FILES + OTHER_FILES;

	if (getrlimit(RLIMIT_NOFILE, &r) != 0)
		return;
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
	limit = r.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)r.rlim_cur;
	if (limit >= need)
		return;
	cfg_sessions = limit > OTHER_FILES + SESSION_FILES ? (limit - OTHER_FILES) / SESSION_FILES
							   : 1;
	log_warn("fewer printers than SOLOPRINT_GATEWAY_SESSIONS: the limit of open files is low",
	    LOG_I("limit", limit), LOG_I("printers", cfg_sessions), LOG_I("needed", need),
	    LOG_Z(
		"mend", "raise it to `needed` (systemd: LimitNOFILE=), or start another gateway"));
}

static void
start_signals(struct process *p)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	must(sigprocmask(SIG_BLOCK, &set, NULL) == 0);
	p->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	must(p->signal_fd >= 0);
	p->signals = (struct watch){.fn = on_signal, .ctx = p};
	must(watch_set(p->loop, &p->signals, p->signal_fd, EPOLLIN));
}

static bool
start_cameras(struct process *p)
{
	struct cameras_config cc = {p->loop, p->gateway.resolver, p->http, p->gateway.sink,
	    &p->fleet.sessions, cfg_publish, cfg_ca, cfg_camera_port, cfg_ffmpeg};

	if (!cfg_publish[0])
		return true;
	p->fleet.cameras = cameras_new(&cc);
	return p->fleet.cameras != NULL;
}

static bool
start(struct process *p)
{
	struct driver_config dc = {.ca_path = cfg_ca, .bambu_ftps_port = cfg_ftps_port};
	struct sink_pg_config sc = {cfg_db, p->identity.name, p->identity.sole, cfg_key,
	    cfg_sessions, cfg_lease_ms, cfg_batch_ms};
	struct sink_client client;

	p->loop = loop_new();
	p->http = http_new(p->loop);
	if (!p->http)
		return false;
	dc.loop = p->loop;
	dc.http = p->http;
	p->gateway = (struct gateway){
	    .loop = p->loop,
	    .drivers = drivers,
	    .silence_ms = cfg_silence_ms,
	    .offline_ms = cfg_offline_ms,
	    .wifi_ms = 60000,
	    .seen_ms = 15000,
	    .dials = {1000000 / cfg_connects, 1 + cfg_connects / 20},
	    .patience_pct = cfg_patience,
	};
	start_signals(p);
	p->gateway.resolver = resolver_new(p->loop);
	p->report = (struct timer){.fn = on_report, .ctx = p};
	p->deadline = (struct timer){.fn = on_deadline, .ctx = p};
	timer_set(p->loop, &p->report, REPORT_MS);
	for (int i = 0; i < DRIVERS_MOST && drivers[i]; i++) {
		p->gateway.envs[i] = drivers[i]->init(&dc);
		if (!p->gateway.envs[i])
			return false;
	}
	p->gateway.files = file_box_new(cfg_storage, dc.http, p->gateway.resolver);
	p->fleet.gateway = &p->gateway;
	if (cfg_publish[0])
		p->gateway.telemetry = telemetry_new(p->loop, p->http, cfg_publish);
	p->fleet.errands = errands_new(&p->gateway, cfg_discovery, cfg_interface);
	client = fleet_client(&p->fleet);
	p->gateway.sink = sink_pg_new(p->loop, &sc, &client);
	return p->gateway.sink != NULL && start_cameras(p);
}

static void
finish(struct process *p)
{
	errands_free(p->fleet.errands);
	if (p->gateway.sink) {
		cameras_free(p->fleet.cameras);
		fleet_fini(&p->fleet);
		p->gateway.sink->ops->free(p->gateway.sink);
	}
	for (int i = 0; i < DRIVERS_MOST; i++)
		if (p->gateway.envs[i])
			drivers[i]->fini(p->gateway.envs[i]);
	file_box_free(p->gateway.files);
	telemetry_free(p->gateway.telemetry);
	http_free(p->http);
	resolver_free(p->gateway.resolver);
	close(p->signal_fd);
	loop_free(p->loop);
}

int
main(void)
{
	struct process p = {.signal_fd = -1};
	enum log_level level = LOG_INFO;
	bool ok;

	log_init("gateway", LOG_INFO);
	if (!config_load(config, sizeof(config) / sizeof(config[0])))
		return 2;
	if (!log_level_parse(str_from(cfg_level), &level))
		log_warn("log level is not known", LOG_Z("level", cfg_level));
	log_init("gateway", level);
	raise_limits();
	identity_init(&p.identity, cfg_name, cfg_db);
	ok = start(&p);
	if (ok) {
		sd_notify(0, "READY=1");
		log_info("ready", LOG_Z("name", p.identity.name), LOG_I("sole", p.identity.sole));
		loop_run(p.loop);
		on_report(&p);
	}
	finish(&p);
	identity_fini(&p.identity);
	return ok ? 0 : 1;
}
