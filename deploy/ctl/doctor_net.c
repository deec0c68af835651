/* What the doctor tries outside of Postgres: sockets, HTTPS, files. */
#include <curl/curl.h>
#include <errno.h>
#include <hiredis/hiredis.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <unistd.h>

#include "auth/seal.h"
#include "base/config.h"
#include "doctor.h"
#include "store/s3.h"

enum { TIMEOUT_MS = 3000, KEY_FILE_MOST = 64 << 10, CURSOR_KEY_LEN = 32, FREE_LEAST_PERCENT = 5 };

void
check_redis(struct doctor *d)
{
	struct timeval limit = {.tv_sec = TIMEOUT_MS / 1000};
	redisContext *r;
	redisReply *pong;

	if (!d->redis) {
		skip(d, "SOLOPRINT_REDIS is not set");
		return;
	}
	r = redisConnectUnixWithTimeout(d->redis, limit);
	pong = r && !r->err ? redisCommand(r, "PING") : NULL;
	if (!pong || pong->type != REDIS_REPLY_STATUS)
		fault(d,
		    "start Redis; until then limits are kept per worker and logins are refused",
		    "%s: %s", d->redis, r && r->err ? r->errstr : "does not answer PING");
	fine(d, "answers");
	freeReplyObject(pong);
	if (r)
		redisFree(r);
}

static int
try_socket(const char *path, size_t n)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd, rc;

	if (n >= sizeof(addr.sun_path))
		return ENAMETOOLONG;
	memcpy(addr.sun_path, path, n);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return errno;
	rc = connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ? errno : 0;
	close(fd);
	return rc;
}

void
check_sockets(struct doctor *d)
{
	struct str rest = str_from(d->sockets);
	int n = 0;

	if (rest.n == 0) {
		skip(d, "SOLOPRINT_SOCKETS is not set (the pools' sockets, separated by commas)");
		return;
	}
	while (rest.n > 0) {
		struct str path = str_cut(&rest, ',');
		int rc = try_socket(path.p, path.n);

		n++;
		if (rc != 0)
			fault(d,
			    rc == EAGAIN
				? "raise SOLOPRINT_WORKERS: the queue of waiting requests is full"
				: "start soloprint-api for this pool and read its log",
			    "%.*s: %s", STR_ARG(path), strerror(rc));
	}
	fine(d, "%d pool(s) accept connections", n);
}

static size_t
discard(char *p, size_t size, size_t n, void *arg)
{
	(void)p, (void)arg;
	return size * n;
}

static CURLcode
fetch(struct doctor *d, const char *url, long *status, char *why)
{
	CURL *h = curl_easy_init();
	CURLcode rc = CURLE_FAILED_INIT;

	if (!h)
		return rc;
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, discard);
	curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
	if (d->cacert)
		curl_easy_setopt(h, CURLOPT_CAINFO, d->cacert);
	rc = curl_easy_perform(h);
	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
	curl_easy_cleanup(h);
	return rc;
}

void
check_https(struct doctor *d)
{
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	const char *url;
	CURLcode rc;

	if (!d->url) {
		skip(d, "SOLOPRINT_URL is not set");
		return;
	}
	url = str_fmt(d->ctl->arena, "%s/v1/health", d->url).p;
	rc = fetch(d, url, &status, why);
	if (rc != CURLE_OK)
		fault(d, "start nginx and check its certificate (SOLOPRINT_CACERT) and port",
		    "%s: %s", url, *why ? why : curl_easy_strerror(rc));
	else if (status != 200)
		fault(d, "see the other checks: nginx answers, what is behind it does not",
		    "%s answers %ld", url, status);
	fine(d, "%s answers over TLS", url);
}

/* Its folders, which the first program that uses the store makes. */
static void
check_layout(struct doctor *d)
{
	static const char *const folders[] = {"blobs", "staging", "tmp"};
	struct stat st;

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		const char *path = str_fmt(d->ctl->arena, "%s/%s", d->storage, folders[i]).p;

		if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
			fault(d, "`soloprintctl storage status` makes it; then verify the store",
			    "%s is not there", path);
	}
}

void
check_storage(struct doctor *d)
{
	struct statvfs fs;
	struct stat st;

	if (!d->storage) {
		skip(d, "SOLOPRINT_STORAGE is not set");
		return;
	}
	if (stat(d->storage, &st) != 0 || !S_ISDIR(st.st_mode)) {
		fault(d, "make it, owned by the API's user", "%s is not a directory", d->storage);
		return;
	}
	if (access(d->storage, W_OK | X_OK) != 0)
		fault(
		    d, "give it to the API's user (chown)", "%s: %s", d->storage, strerror(errno));
	check_layout(d);
	if (statvfs(d->storage, &fs) == 0 && fs.f_blocks > 0 &&
	    fs.f_bavail * 100 / fs.f_blocks < FREE_LEAST_PERCENT)
		fault(d, "free some space, or move the store", "%s: less than %d %% is free",
		    d->storage, FREE_LEAST_PERCENT);
	fine(d, "%s is writable", d->storage);
}

void
check_s3(struct doctor *d)
{
	struct s3_config config;
	struct s3 *s3;

	if (!s3_config_load(d->ctl->arena, &config)) {
		fault(
		    d, "see the messages above and docs/storage.md", "its settings are not usable");
		return;
	}
	if (!config.on) {
		fine(d, "not used: content is in the directory");
		return;
	}
	s3 = s3_new(&config, 1);
	if (s3_probe(s3) != S3_DONE)
		fault(d, "check SOLOPRINT_S3_*, the key's rights and the network", "%s",
		    s3_reason(s3));
	fine(d, "the bucket %.*s answers", STR_ARG(config.bucket));
	s3_free(s3);
}

/* The file's content; STR_NONE after a fault. `forbidden`: mode bits that it must not have. */
static struct str
read_key(struct doctor *d, const char *path, mode_t forbidden)
{
	struct stat st;
	struct str text;

	if (stat(path, &st) != 0) {
		fault(d, "make it (docs/operations.md says how), or correct the setting", "%s: %s",
		    path, strerror(errno));
		return STR_NONE;
	}
	if (st.st_mode & forbidden)
		fault(d, "chmod 0400, owned by the one user who needs it",
		    "%s may be used by others (mode %04o)", path, (unsigned)st.st_mode & 07777);
	text = config_file(d->ctl->arena, path, KEY_FILE_MOST);
	if (!text.p)
		fault(d, "run the doctor as root, or as the file's user", "%s cannot be read: %s",
		    path, strerror(errno));
	return text;
}

/* `whose`: gateway or courier. */
static void
check_pair(struct doctor *d, const char *whose, const char *priv_path, const char *pub_path)
{
	struct str priv_pem = read_key(d, priv_path, 0077), pub_pem = read_key(d, pub_path, 0022);
	struct seal_private *priv = priv_pem.p ? seal_private_new(priv_pem) : NULL;
	struct seal_public *pub = pub_pem.p ? seal_public_new(pub_pem) : NULL;

	if (priv_pem.p && !priv)
		fault(
		    d, "restore it from its backup", "%s is not an X25519 private key", priv_path);
	if (pub_pem.p && !pub)
		fault(d, "restore it from its backup", "%s is not an X25519 public key", pub_path);
	if (priv && pub && !seal_pair(pub, priv))
		fault(d, "use the two files that one `soloprintctl …-key create` made",
		    "the %s's public and private key do not belong together", whose);
	seal_private_free(priv);
	seal_public_free(pub);
}

void
check_keys(struct doctor *d)
{
	struct str cursor;

	if (!d->gateway_key && !d->gateway_pubkey && !d->courier_key && !d->courier_pubkey &&
	    !d->cursor_key) {
		skip(d,
		    "SOLOPRINT_GATEWAY_KEY, _PUBKEY, SOLOPRINT_COURIER_KEY, _PUBKEY and SOLOPRINT_CURSOR_KEY are not set");
		return;
	}
	if (d->gateway_key && d->gateway_pubkey)
		check_pair(d, "gateway", d->gateway_key, d->gateway_pubkey);
	if (d->courier_key && d->courier_pubkey)
		check_pair(d, "courier", d->courier_key, d->courier_pubkey);
	if (d->cursor_key) {
		cursor = read_key(d, d->cursor_key, 0027);
		if (cursor.p && cursor.n != CURSOR_KEY_LEN)
			fault(d, "head -c 32 /dev/urandom > it", "%s has %zu bytes, not %d",
			    d->cursor_key, cursor.n, CURSOR_KEY_LEN);
	}
	fine(d, "the key files are private and belong together");
}
