/* Pictures of cameras that send video: ffmpeg, where it is installed, makes them. It learns the
 * address and the password from its standard input; its command line and its environment hold
 * neither. It does not check certificates, so RTSPS goes through a relay that does. */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "base/log.h"
#include "gateway/camera_relay.h"
#include "gateway/http_url.h"
#include "gateway/loop.h"
#include "gateway/resolve.h"

enum { AT_ONCE = 16, READ = 64 * 1024, SAID_MOST = 4096, RTSPS_PORT = 322, LIST_MOST = 4096 };

struct feed {
	struct feeds *f;
	struct feed_client client;
	struct resolve *resolving;
	struct relay *relay;
	struct watch watch;
	struct timer now;
	enum feed_end failed;
	int port; /* of RTSPS */
	char url[512], host[256], rest[512], user[128], secret[1700], serial[80];
	pid_t pid; /* 0: does not run */
	int out, said;
	struct picture_cutter cutter;
};

bool
feed_rtsp_works(const struct feeds *f)
{
	return f->ffmpeg != NULL;
}

char *
find_program(const char *name)
{
	struct str path = str_from(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	char file[1024];

	if (strchr(name, '/'))
		return access(name, X_OK) == 0 ? strdup(name) : NULL;

	while (path.n) {
		struct str folder = str_cut(&path, ':');
		int n = snprintf(file, sizeof(file), "%.*s/%s", STR_ARG(folder), name);

		if (folder.n && n > 0 && (size_t)n < sizeof(file) && access(file, X_OK) == 0)
			return strdup(file);
	}
	return NULL;
}

static void
end(struct feed *v, enum feed_end why)
{
	watch_stop(v->f->cfg.loop, &v->watch);
	timer_stop(v->f->cfg.loop, &v->now);
	v->client.ended(v->client.ctx, why);
}

static void
end_soon(struct feed *v, enum feed_end why)
{
	v->failed = why;
	timer_set(v->f->cfg.loop, &v->now, 0);
}

static void
on_now(void *ctx)
{
	struct feed *v = ctx;

	end(v, v->failed);
}

/* --- the program ------------------------------------------------------------------------------ */

static int
place_pipes(posix_spawn_file_actions_t *a, int in, int out, int said)
{
	int rc = posix_spawn_file_actions_adddup2(a, in, 0);

	rc |= posix_spawn_file_actions_adddup2(a, out, 1);
	rc |= posix_spawn_file_actions_adddup2(a, said, 2);
	return rc | posix_spawn_file_actions_addclosefrom_np(a, 3);
}

/* It dies with us, and gives way to everything else. */
static int
spawn(struct feed *v, int in, int out, int said)
{
	static const char *const words[] = {"setpriv", "--pdeathsig", "KILL", "nice", "-n", "10",
	    NULL, "-hide_banner", "-nostats", "-loglevel", "error", "-threads", "1",
	    "-protocol_whitelist", "pipe,rtsp,tcp,rtp,udp", "-analyzeduration", "500000",
	    "-probesize", "500000", "-fflags", "nobuffer", "-f", "concat", "-safe", "0", "-i",
	    "pipe:0", "-an", "-sn", "-dn", "-vf", "fps=10", "-q:v", "6", "-f", "mjpeg", "pipe:1"};
	enum { WORDS = sizeof(words) / sizeof(words[0]) };
	static char path[] = "PATH=/usr/bin:/bin";
	char *argv[WORDS + 1], *env[] = {path, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, pipe;
	int rc;

	for (size_t i = 0; i < WORDS; i++)
		argv[i] = words[i] ? (char *)(uintptr_t)words[i] : v->f->ffmpeg;
	argv[WORDS] = NULL;
	sigemptyset(&none);
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	posix_spawn_file_actions_init(&actions);
	posix_spawnattr_init(&attr);
	rc = place_pipes(&actions, in, out, said);
	rc |= posix_spawnattr_setsigmask(&attr, &none);
	rc |= posix_spawnattr_setsigdefault(&attr, &pipe);
	rc |= posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	if (rc == 0)
		rc = posix_spawnp(&v->pid, argv[0], &actions, &attr, argv, env);
	posix_spawn_file_actions_destroy(&actions);
	posix_spawnattr_destroy(&attr);
	if (rc != 0) {
		v->pid = 0;
		log_warn("ffmpeg cannot be started", LOG_I("errno", rc));
	}
	return rc;
}

/* Its list of inputs, a concat script: nothing in it needs quoting. */
static bool
write_list(struct feed *v, int port, int fd)
{
	char user[400], secret[1700], text[LIST_MOST], at[300];
	int n;
	bool ok;

	if (port)
		snprintf(at, sizeof(at), "127.0.0.1:%d", port);
	else
		snprintf(at, sizeof(at), "%s", v->host);
	ok = http_escape(user, sizeof(user), str_from(v->user)) &&
	    http_escape(secret, sizeof(secret), str_from(v->secret));
	n = snprintf(text, sizeof(text),
	    "ffconcat version 1.0\nfile 'rtsp://%s%s%s%s%s%s'\noption rtsp_transport tcp\n"
	    "option timeout 10000000\n"
	    "option analyzeduration 500000\noption probesize 500000\n",
	    user, user[0] ? ":" : "", user[0] ? secret : "", user[0] ? "@" : "", at, v->rest);
	ok = ok && n > 0 && (size_t)n < sizeof(text) && io_write_all(fd, text, (size_t)n);
	explicit_bzero(text, sizeof(text));
	explicit_bzero(secret, sizeof(secret));
	return ok;
}

/* Its last words, which may hold the password and go nowhere: was it refused? */
static bool
was_refused(const struct feed *v)
{
	char text[SAID_MOST];
	ssize_t n = read(v->said, text, sizeof(text) - 1);
	bool refused;

	text[n > 0 ? n : 0] = '\0';
	refused = strstr(text, "401 Unauthorized") != NULL;
	explicit_bzero(text, sizeof(text));
	return refused;
}

static void
on_output(void *ctx, uint32_t events)
{
	struct feed *v = ctx;
	uint8_t bytes[READ];
	ssize_t n = read(v->out, bytes, sizeof(bytes));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		end(v, was_refused(v) ? FEED_REFUSED : FEED_BROKEN);
	else if (!picture_cut(&v->cutter, bytes, (size_t)n, v->client.picture, v->client.ctx))
		end(v, FEED_BROKEN);
}

static void
close_pair(int fds[2])
{
	for (int i = 0; i < 2; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

/* port: of the relay, 0: none. */
static bool
run(struct feed *v, int port)
{
	int in[2] = {-1, -1}, out[2] = {-1, -1}, said[2] = {-1, -1};
	bool ok = pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0 &&
	    pipe2(said, O_CLOEXEC) == 0 && spawn(v, in[0], out[1], said[1]) == 0 &&
	    write_list(v, port, in[1]) && fcntl(out[0], F_SETFL, O_NONBLOCK) == 0 &&
	    fcntl(said[0], F_SETFL, O_NONBLOCK) == 0 &&
	    watch_set(v->f->cfg.loop, &v->watch, out[0], EPOLLIN);

	close_pair(in);
	if (ok) {
		v->out = out[0];
		v->said = said[0];
		out[0] = said[0] = -1;
	}
	close_pair(out);
	close_pair(said);
	return ok;
}

/* --- the way there ---------------------------------------------------------------------------- */

static void
on_relay_ready(void *ctx, int port)
{
	struct feed *v = ctx;

	if (!run(v, port))
		end_soon(v, FEED_BROKEN);
}

/* When the camera hangs up, the program says so itself: it may know more. */
static void
on_relay_ended(void *ctx, enum feed_end why)
{
	struct feed *v = ctx;

	relay_free(v->relay);
	v->relay = NULL;
	if (!v->pid)
		end(v, why);
}

static void
on_address(void *ctx, const char *address)
{
	struct feed *v = ctx;
	struct relay_client client = {v, on_relay_ready, on_relay_ended};

	v->resolving = NULL;
	v->relay = address ? relay_new(v->f, address, v->port, v->serial, &client) : NULL;
	if (!v->relay)
		end_soon(v, FEED_UNREACHABLE);
}

static bool
url_part(CURLU *u, CURLUPart part, char *out, size_t size)
{
	char *text = NULL;
	bool ok = curl_url_get(u, part, &text, 0) == CURLUE_OK && strlen(text) < size;

	if (ok)
		snprintf(out, size, "%s", text);
	curl_free(text);
	return ok;
}

/* Host, port and what follows them; nothing that would need quoting. */
static bool
take_apart(struct feed *v, char scheme[8])
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "-._~/?&=%+,:;@![]$()*";
	CURLU *u = curl_url();
	char port[8] = "", query[256];
	struct str number;
	int64_t n;
	bool ok;

	must(u != NULL);
	ok = strspn(v->url, plain) == strlen(v->url) &&
	    curl_url_set(u, CURLUPART_URL, v->url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
	    url_part(u, CURLUPART_SCHEME, scheme, 8) &&
	    url_part(u, CURLUPART_HOST, v->host, sizeof(v->host)) &&
	    url_part(u, CURLUPART_PATH, v->rest, sizeof(v->rest) / 2);
	if (ok && url_part(u, CURLUPART_QUERY, query, sizeof(query)))
		snprintf(
		    v->rest + strlen(v->rest), sizeof(v->rest) - strlen(v->rest), "?%s", query);
	if (ok && url_part(u, CURLUPART_PORT, port, sizeof(port))) {
		number = str_from(port);
		if (v->port == 0 && str_to_i64(number, &n))
			v->port = (int)n;
	}
	curl_url_cleanup(u);
	return ok;
}

static void
begin(struct feed *v)
{
	char scheme[8] = "", literal[RESOLVE_TEXT], bare[256];
	size_t n;

	if (!take_apart(v, scheme)) {
		end_soon(v, FEED_BROKEN);
		return;
	}
	if (strcmp(scheme, "rtsp") == 0) {
		n = strlen(v->host);
		if (v->port)
			snprintf(v->host + n, sizeof(v->host) - n, ":%d", v->port);
		if (!run(v, 0))
			end_soon(v, FEED_BROKEN);
		return;
	}
	v->port = v->port ? v->port : RTSPS_PORT;
	n = strlen(v->host);
	snprintf(bare, sizeof(bare), "%.*s", (int)(v->host[0] == '[' && n > 2 ? n - 2 : n),
	    v->host + (v->host[0] == '['));
	if (strcmp(scheme, "rtsps") != 0)
		end_soon(v, FEED_BROKEN);
	else if (resolve_literal(bare, literal))
		on_address(v, literal);
	else
		v->resolving = resolve_start(v->f->cfg.resolver, bare, on_address, v);
}

static struct feed *
open_feed(struct feeds *f, const struct feed_target *t, const struct feed_client *client)
{
	struct feed *v = calloc(1, sizeof(*v));

	must(v != NULL);
	v->f = f;
	v->client = *client;
	v->out = v->said = -1;
	v->port = t->source->port;
	v->watch = (struct watch){.fn = on_output, .ctx = v};
	v->now = (struct timer){.fn = on_now, .ctx = v};
	snprintf(v->url, sizeof(v->url), "%s", t->source->url);
	snprintf(v->user, sizeof(v->user), "%s", t->source->user);
	snprintf(v->secret, sizeof(v->secret), "%s", t->source->user[0] ? t->secret : "");
	snprintf(v->serial, sizeof(v->serial), "%s", t->serial);
	if (f->n_rtsp++ < AT_ONCE)
		begin(v);
	else
		end_soon(v, FEED_TOO_MANY);
	return v;
}

static void
close_feed(struct feed *v)
{
	v->f->n_rtsp--;
	if (v->resolving)
		resolve_cancel(v->resolving);
	relay_free(v->relay);
	timer_stop(v->f->cfg.loop, &v->now);
	watch_stop(v->f->cfg.loop, &v->watch);
	if (v->pid) {
		kill(v->pid, SIGKILL);
		while (waitpid(v->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (v->out >= 0)
		close(v->out);
	if (v->said >= 0)
		close(v->said);
	picture_cutter_fini(&v->cutter);
	explicit_bzero(v->secret, sizeof(v->secret));
	free(v);
}

const struct feed_ops feed_rtsp = {open_feed, close_feed, NULL};
