#include "gateway/bambu_ftps.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	RUNNING_MOST = 256,
	STACK = 256 * 1024,
	CONNECT_S = 10,
	ANSWER_S = 60,         /* for each answer; the slowest "stored" was seen after 30 s */
	STALL_S = 60,          /* not a byte for so long */
	FIRST_BYTE_MS = 20000, /* from the beginning to the first byte of data */
	SHORT_S = 60,          /* SIZE and DELE, the connection included */
};

struct ftps {
	struct loop *loop;
	struct watch watch;
	int fd;                /* an eventfd: some job has news */
	struct ftps_job *jobs; /* the oldest first */
	int running;
	bool closing;
};

struct ftps_job {
	struct ftps *ftps;
	struct ftps_job *next;
	char *secret, *ca_path, *host_address; /* the last: "serial:port:address" */
	char url[400], dir_url[160], dele[300];
	int fd;
	int64_t size;
	bool clear_data, may_clear_data;
	/* of the loop */
	void (*on_sent)(void *ctx, int64_t bytes);
	void (*on_done)(void *ctx, const struct ftps_result *result);
	void *ctx;
	bool started;
	int64_t told;
	pthread_t thread;
	/* of the thread */
	CURL *easy;
	int64_t at, began_ms;
	bool stalled, unreadable;
	struct ftps_result result;
	/* of both */
	atomic_bool cancelled, in_haste, finished;
	_Atomic int64_t sent;
};

/* --- on the thread ---------------------------------------------------------------------------- */

static void
wake(struct ftps_job *j)
{
	uint64_t one = 1;

	if (write(j->ftps->fd, &one, sizeof(one)) < 0)
		return; /* it is readable already */
}

static size_t
read_file(char *out, size_t unit, size_t n, void *ctx)
{
	struct ftps_job *j = ctx;
	int64_t left = j->size - j->at;
	size_t want = unit * n;
	ssize_t got;

	if (left <= 0)
		return 0;
	if ((int64_t)want > left)
		want = (size_t)left;
	do {
		got = pread(j->fd, out, want, j->at);
	} while (got < 0 && errno == EINTR);
	j->unreadable = got <= 0;
	if (j->unreadable)
		return CURL_READFUNC_ABORT;
	j->at += got;
	return (size_t)got;
}

static size_t
drop(char *bytes, size_t unit, size_t n, void *ctx)
{
	(void)bytes;
	(void)ctx;
	return unit * n;
}

/* At least once a second. Not zero: give up. */
static int
on_progress(void *ctx, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct ftps_job *j = ctx;

	(void)down_all;
	(void)down;
	(void)up_all;
	if (up > atomic_load(&j->sent)) {
		atomic_store(&j->sent, up);
		wake(j);
	}
	j->stalled = j->began_ms && up == 0 && clock_mono_ms() - j->began_ms > FIRST_BYTE_MS;
	return j->stalled || atomic_load(&j->cancelled);
}

/* Also a cancelled job is tidied up after, unless the process ends. */
static int
on_haste(void *ctx, curl_off_t down_all, curl_off_t down, curl_off_t up_all, curl_off_t up)
{
	struct ftps_job *j = ctx;

	(void)down_all;
	(void)down;
	(void)up_all;
	(void)up;
	return atomic_load(&j->in_haste);
}

/* What every step needs. */
static void
set_common(struct ftps_job *j, struct curl_slist *resolve, const char *url)
{
	CURL *h = j->easy;

	curl_easy_reset(h);
	curl_easy_setopt(h, CURLOPT_URL, url);
	curl_easy_setopt(h, CURLOPT_RESOLVE, resolve);
	curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "ftps");
	curl_easy_setopt(h, CURLOPT_PROXY, "");
	curl_easy_setopt(h, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(h, CURLOPT_USERNAME, "bblp");
	curl_easy_setopt(h, CURLOPT_PASSWORD, j->secret);
	curl_easy_setopt(h, CURLOPT_CAINFO, j->ca_path);
	curl_easy_setopt(h, CURLOPT_CAPATH, NULL);
	curl_easy_setopt(
	    h, CURLOPT_SSLVERSION, (long)(CURL_SSLVERSION_TLSv1_2 | CURL_SSLVERSION_MAX_TLSv1_2));
	curl_easy_setopt(h, CURLOPT_USE_SSL,
	    j->result.clear_data ? (long)CURLUSESSL_CONTROL : (long)CURLUSESSL_ALL);
	curl_easy_setopt(h, CURLOPT_FTP_FILEMETHOD, (long)CURLFTPMETHOD_NOCWD);
	curl_easy_setopt(h, CURLOPT_FTP_SKIP_PASV_IP, 1L);
	curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(h, CURLOPT_SERVER_RESPONSE_TIMEOUT, (long)ANSWER_S);
	curl_easy_setopt(h, CURLOPT_LOW_SPEED_LIMIT, 1L);
	curl_easy_setopt(h, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
	curl_easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, drop);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(h, CURLOPT_XFERINFODATA, j);
}

static CURLcode
perform(struct ftps_job *j)
{
	CURLcode rc = curl_easy_perform(j->easy);
	long status = 0;

	curl_easy_getinfo(j->easy, CURLINFO_RESPONSE_CODE, &status);
	j->result.status = (int)status;
	return rc;
}

static CURLcode
store(struct ftps_job *j, struct curl_slist *resolve)
{
	CURLcode rc;

	set_common(j, resolve, j->url);
	curl_easy_setopt(j->easy, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(j->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)j->size);
	curl_easy_setopt(j->easy, CURLOPT_READFUNCTION, read_file);
	curl_easy_setopt(j->easy, CURLOPT_READDATA, j);
	curl_easy_setopt(j->easy, CURLOPT_UPLOAD_BUFFERSIZE, 64L * 1024);
	j->at = 0;
	atomic_store(&j->sent, 0);
	j->began_ms = clock_mono_ms();
	rc = perform(j);
	j->began_ms = 0;
	j->result.curl = (int)rc;
	return rc;
}

/* -1: it cannot be had. */
static int64_t
ask_size(struct ftps_job *j, struct curl_slist *resolve)
{
	curl_off_t size = -1;

	set_common(j, resolve, j->url);
	curl_easy_setopt(j->easy, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(j->easy, CURLOPT_TIMEOUT, (long)SHORT_S);
	if (perform(j) != CURLE_OK ||
	    curl_easy_getinfo(j->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &size) != CURLE_OK)
		return -1;
	return size;
}

/* Whether it works is seen by the next who uploads. */
static void delete (struct ftps_job *j, struct curl_slist *resolve)
{
	struct curl_slist *before = curl_slist_append(NULL, j->dele);

	set_common(j, resolve, j->dir_url);
	curl_easy_setopt(j->easy, CURLOPT_XFERINFOFUNCTION, on_haste);
	curl_easy_setopt(j->easy, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(j->easy, CURLOPT_TIMEOUT, (long)SHORT_S);
	curl_easy_setopt(j->easy, CURLOPT_QUOTE, before);
	curl_easy_perform(j->easy);
	curl_slist_free_all(before);
}

/* What libcurl says, for people. `remove`: something of the file may be there. */
static const struct meaning {
	CURLcode rc;
	enum ftps_end end;
	bool remove;
	const char *words;
} meanings[] = {
    {CURLE_COULDNT_CONNECT, FTPS_BROKEN, false, "the printer's FTPS cannot be reached"},
    {CURLE_LOGIN_DENIED, FTPS_REFUSED, false, "the access code was refused"},
    {CURLE_URL_MALFORMAT, FTPS_REFUSED, false, "the serial number is none that a host can have"},
    {CURLE_SSL_CACERT_BADFILE, FTPS_REFUSED, false, "the file of trusted certificates is bad"},
    {CURLE_UPLOAD_FAILED, FTPS_REFUSED, true,
	"the printer refused the file; is its storage there and writable?"},
    {CURLE_REMOTE_ACCESS_DENIED, FTPS_REFUSED, true,
	"the printer refused the file; is its storage there and writable?"},
    {CURLE_REMOTE_DISK_FULL, FTPS_NO_SPACE, true, "the printer's storage is full"},
    {CURLE_OPERATION_TIMEDOUT, FTPS_BROKEN, true, "the printer took the file too slowly"},
    {CURLE_SSL_CONNECT_ERROR, FTPS_BROKEN, true, "no encrypted connection for the file came about"},
    {CURLE_OK, FTPS_BROKEN, true, "the transfer broke off"}, /* any other */
};

static struct meaning
meaning_of(struct ftps_job *j, CURLcode rc)
{
	enum { OTHER = sizeof(meanings) / sizeof(meanings[0]) - 1 };
	long verdict = 0;
	int i = 0;

	if (j->result.status == 452 || j->result.status == 552)
		rc = CURLE_REMOTE_DISK_FULL;
	if (j->stalled)
		rc = CURLE_OPERATION_TIMEDOUT;
	if (j->unreadable)
		return (struct meaning){rc, FTPS_BROKEN, true, "the file could not be read"};
	if (rc == CURLE_PEER_FAILED_VERIFICATION) {
		/* the library's "unspecified" is left when the chain was good and the name was not
		 */
		curl_easy_getinfo(j->easy, CURLINFO_SSL_VERIFYRESULT, &verdict);
		return (struct meaning){rc, FTPS_REFUSED, false,
		    verdict <= X509_V_ERR_UNSPECIFIED ? "another printer answers at this address"
						      : "the printer's certificate is not trusted"};
	}
	while (i < OTHER && meanings[i].rc != rc)
		i++;
	return meanings[i];
}

/* Some firmware hangs, or hangs up, when its data connection is to be encrypted. */
static bool
should_clear(const struct ftps_job *j, CURLcode rc)
{
	static const CURLcode signs[] = {CURLE_OPERATION_TIMEDOUT, CURLE_ABORTED_BY_CALLBACK,
	    CURLE_SSL_CONNECT_ERROR, CURLE_USE_SSL_FAILED, CURLE_RECV_ERROR, CURLE_SEND_ERROR,
	    CURLE_GOT_NOTHING, CURLE_FTP_WEIRD_PASV_REPLY, CURLE_UPLOAD_FAILED};

	if (!j->may_clear_data || j->result.clear_data || atomic_load(&j->sent) > 0 ||
	    atomic_load(&j->cancelled) || j->unreadable)
		return false;
	for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
		if (rc == signs[i])
			return true;
	return false;
}

static void
conclude(struct ftps_job *j, struct curl_slist *resolve, CURLcode rc)
{
	bool whole = rc == CURLE_OK || (atomic_load(&j->sent) == j->size && !j->unreadable);
	struct meaning m = meaning_of(j, rc);

	j->result.sent = atomic_load(&j->sent);
	j->result.size = -1;
	if (whole && !atomic_load(&j->cancelled)) {
		j->result.size = ask_size(j, resolve);
		if (j->result.size == j->size || (rc == CURLE_OK && j->result.size < 0)) {
			j->result.end = FTPS_STORED;
			return;
		}
		if (rc == CURLE_OK)
			m.words = "the file did not arrive whole";
	}
	j->result.end = m.end;
	j->result.words = m.words;
	if (m.remove && !atomic_load(&j->in_haste))
		delete (j, resolve);
}

static void *
run(void *ctx)
{
	struct ftps_job *j = ctx;
	struct curl_slist *resolve = curl_slist_append(NULL, j->host_address);
	CURLcode rc;

	j->easy = curl_easy_init();
	must(j->easy != NULL && resolve != NULL);
	j->result.clear_data = j->clear_data;
	rc = store(j, resolve);
	if (should_clear(j, rc)) {
		j->result.clear_data = true;
		j->stalled = false;
		rc = store(j, resolve);
	}
	conclude(j, resolve, rc);
	curl_easy_cleanup(j->easy);
	curl_slist_free_all(resolve);
	atomic_store(&j->finished, true);
	wake(j);
	return NULL;
}

/* --- in the loop ------------------------------------------------------------------------------ */

static void
begin(struct ftps_job *j)
{
	pthread_attr_t attr;

	must(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, STACK) == 0);
	must(pthread_create(&j->thread, &attr, run, j) == 0);
	pthread_attr_destroy(&attr);
	j->started = true;
	j->ftps->running++;
}

/* A file that is being removed by an older job is not stored again before that is over. */
static bool
must_wait(const struct ftps_job *j)
{
	const struct ftps_job *older = j->ftps->jobs;

	while (older != j && strcmp(older->url, j->url) != 0)
		older = older->next;
	return older != j;
}

static void
begin_some(struct ftps *f)
{
	for (struct ftps_job *j = f->jobs; j && f->running < RUNNING_MOST && !f->closing;
	     j = j->next)
		if (!j->started && !must_wait(j))
			begin(j);
}

static void
job_free(struct ftps_job *j)
{
	close(j->fd);
	explicit_bzero(j->secret, strlen(j->secret));
	free(j->secret);
	free(j->ca_path);
	free(j->host_address);
	free(j);
}

static void
join(struct ftps_job *j)
{
	if (!j->started)
		return;
	pthread_join(j->thread, NULL);
	j->ftps->running--;
}

/* Out of the list; NULL: none has finished. */
static struct ftps_job *
take_finished(struct ftps *f)
{
	for (struct ftps_job **at = &f->jobs; *at; at = &(*at)->next) {
		struct ftps_job *j = *at;

		if (!atomic_load(&j->finished))
			continue;
		*at = j->next;
		return j;
	}
	return NULL;
}

static struct ftps_job *
with_progress(struct ftps *f)
{
	struct ftps_job *j = f->jobs;

	while (j && (atomic_load(&j->cancelled) || atomic_load(&j->sent) == j->told))
		j = j->next;
	return j;
}

/* What is told may change the list. */
static void
on_news(void *ctx, uint32_t events)
{
	struct ftps *f = ctx;
	struct ftps_job *j;
	uint64_t n;

	(void)events;
	if (read(f->fd, &n, sizeof(n)) < 0)
		return;
	while ((j = with_progress(f)) != NULL) {
		j->told = atomic_load(&j->sent);
		j->on_sent(j->ctx, j->told);
	}
	while ((j = take_finished(f)) != NULL) {
		join(j);
		if (!atomic_load(&j->cancelled))
			j->on_done(j->ctx, &j->result);
		job_free(j);
	}
	begin_some(f);
}

struct ftps *
ftps_new(struct loop *loop)
{
	struct ftps *f = calloc(1, sizeof(*f));

	must(f != NULL);
	f->loop = loop;
	f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	f->watch = (struct watch){.fn = on_news, .ctx = f};
	must(f->fd >= 0 && watch_set(loop, &f->watch, f->fd, EPOLLIN));
	return f;
}

void
ftps_free(struct ftps *f)
{
	f->closing = true;
	for (struct ftps_job *j = f->jobs; j; j = j->next) {
		atomic_store(&j->cancelled, true);
		atomic_store(&j->in_haste, true);
	}
	for (struct ftps_job *j = f->jobs, *next; j; j = next) {
		next = j->next;
		join(j);
		job_free(j);
	}
	watch_stop(f->loop, &f->watch);
	close(f->fd);
	free(f);
}

struct ftps_job *
ftps_store(struct ftps *f, const struct ftps_file *file, void (*sent)(void *ctx, int64_t bytes),
    void (*done)(void *ctx, const struct ftps_result *result), void *ctx)
{
	struct ftps_job *j = calloc(1, sizeof(*j)), **last = &f->jobs;
	bool v6 = strchr(file->address, ':') != NULL;

	must(j != NULL);
	j->ftps = f;
	j->size = file->size;
	j->clear_data = file->clear_data;
	j->may_clear_data = file->may_clear_data;
	j->on_sent = sent;
	j->on_done = done;
	j->ctx = ctx;
	j->fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
	j->secret = strdup(file->secret);
	j->ca_path = strdup(file->ca_path);
	must(j->fd >= 0 && j->secret && j->ca_path &&
	    asprintf(&j->host_address, "%s:%d:%s%s%s", file->serial, file->port, v6 ? "[" : "",
		file->address, v6 ? "]" : "") > 0);
	snprintf(j->dir_url, sizeof(j->dir_url), "ftps://%s:%d/", file->serial, file->port);
	snprintf(j->url, sizeof(j->url), "%s%s", j->dir_url, file->name);
	snprintf(j->dele, sizeof(j->dele), "*DELE /%s", file->name);
	while (*last)
		last = &(*last)->next;
	*last = j;
	begin_some(f);
	return j;
}

void
ftps_cancel(struct ftps_job *j)
{
	struct ftps_job **at = &j->ftps->jobs;

	atomic_store(&j->cancelled, true);
	if (j->started)
		return;
	while (*at != j)
		at = &(*at)->next;
	*at = j->next;
	job_free(j);
}
