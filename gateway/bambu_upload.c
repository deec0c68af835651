/* Uploads to a Bambu printer: implicit FTPS, of which some firmware does only half. A file counts
 * as there when the printer tells its right size, whatever became of the transfer's last answer. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "gateway/bambu_session.h"
#include "gateway/http_url.h"

enum {
	FIRST_BYTE_MS = 20000, /* until the data connection takes the first byte */
	STALL_MS = 60000,
	STORE_MS = 90000, /* from the last byte to "stored": the slowest were seen to take 30 s */
	ANSWER_MS = 60000,
	SHORT_MS = 60000, /* SIZE and DELE, their connection included */
};

static void on_sent(void *ctx, int64_t bytes);
static void on_stored(void *ctx, const struct http_reply *reply);

static struct loop *
loop_of(const struct bambu *b)
{
	return session_gateway(b->s)->loop;
}

static int
port_of(const struct bambu *b)
{
	return b->env->ftps_above ? b->port + b->env->ftps_port : b->env->ftps_port;
}

/* The URL's host is the serial number, which is what the certificate names. */
static bool
url_of(const struct bambu *b, const char *name, char *out, size_t size)
{
	char path[sizeof(((struct transfer *)0)->remote) + 1];

	snprintf(path, sizeof(path), "/%s", name);
	return http_url(out, size, "ftps", session_serial(b->s), port_of(b), "", path);
}

/* --- the end ---------------------------------------------------------------------------------- */

static void
stop(struct bambu *b)
{
	struct bambu_upload *u = &b->upload;

	timer_stop(loop_of(b), &u->stall);
	http_client_free(u->client); /* its call with it */
	u->client = NULL;
	u->call = NULL;
	u->phase = UPLOAD_IDLE;
	u->t = NULL;
}

static void
finish(struct bambu *b, enum upload_end end, const char *words)
{
	bool tell = b->upload.t != NULL;

	stop(b);
	if (tell)
		session_upload_done(b->s, end, words);
}

void
bambu_upload_drop(struct bambu *b, bool tell)
{
	if (tell && b->upload.t)
		finish(b, UPLOAD_BROKEN, "the connection to the printer was lost");
	else
		stop(b);
}

/* --- one call after the other ----------------------------------------------------------------- */

static bool
begin_call(struct bambu *b, const char *name, struct http_request *r, http_done done)
{
	char url[512];

	if (!url_of(b, name, url, sizeof(url)))
		return false;
	r->url = url;
	r->address = b->address;
	r->answer_ms = ANSWER_MS;
	b->upload.call = http_send(b->upload.client, r, done, b);
	return b->upload.call != NULL;
}

static void
on_removed(void *ctx, const struct http_reply *reply)
{
	struct bambu *b = ctx;

	(void)reply;
	b->upload.call = NULL;
	finish(b, b->upload.end, b->upload.words);
}

/* Removes what has come of the file, then tells. */
static void
fail(struct bambu *b, enum upload_end end, const char *words)
{
	struct bambu_upload *u = &b->upload;
	char dele[sizeof(u->t->remote) + 8];
	const char *const before[] = {dele, NULL};
	struct http_request r = {.method = "HEAD", .before = before, .total_ms = SHORT_MS};

	timer_stop(loop_of(b), &u->stall);
	u->phase = UPLOAD_REMOVING;
	u->end = end;
	u->words = words;
	snprintf(dele, sizeof(dele), "*DELE /%s", u->t ? u->t->remote : "");
	if (!begin_call(b, "", &r, on_removed))
		finish(b, end, words);
}

static void
on_size(void *ctx, const struct http_reply *reply)
{
	struct bambu *b = ctx;
	struct bambu_upload *u = &b->upload;
	bool silent = reply->fault == HTTP_OK && reply->length < 0; /* it knows no SIZE */

	u->call = NULL;
	if (reply->fault == HTTP_OK && (reply->length == u->t->size || (silent && u->stored))) {
		session_upload_progress(b->s, u->t->size);
		finish(b, UPLOAD_DONE, NULL);
		return;
	}
	log_warn("an uploaded file has another size at the printer",
	    LOG_Z("serial", session_serial(b->s)), LOG_I("size", u->t->size),
	    LOG_I("there", reply->length));
	fail(b, UPLOAD_BROKEN, "the file did not arrive whole");
}

static void
ask_size(struct bambu *b)
{
	struct http_request r = {.method = "HEAD", .total_ms = SHORT_MS};

	timer_stop(loop_of(b), &b->upload.stall);
	b->upload.phase = UPLOAD_SIZING;
	if (!begin_call(b, b->upload.t->remote, &r, on_size))
		finish(b, UPLOAD_BROKEN, NULL);
}

static bool
send_file(struct bambu *b)
{
	struct bambu_upload *u = &b->upload;
	struct http_request r = {
	    .method = "PUT",
	    .file = true,
	    .fd = u->t->fd,
	    .file_size = u->t->size,
	    .total_ms = HTTP_NEVER,
	    .stall_ms = STALL_MS,
	    .clear_data = b->clear_data,
	    .sent = on_sent,
	};

	u->phase = UPLOAD_SENDING;
	u->sent = 0;
	timer_set(loop_of(b), &u->stall, FIRST_BYTE_MS);
	return begin_call(b, u->t->remote, &r, on_stored);
}

/* Some firmware of the A1 family hangs or hangs up when its data connection is to be encrypted.
 * True: the upload has begun again in the clear, which is remembered. */
static bool
fall_back(struct bambu *b)
{
	if (b->clear_data || !b->model->clear_data || b->upload.sent > 0)
		return false;
	log_info("uploads go on without encrypted data", LOG_Z("serial", session_serial(b->s)));
	b->clear_data = true;
	if (!send_file(b))
		finish(b, UPLOAD_BROKEN, NULL);
	return true;
}

/* --- the transfer ----------------------------------------------------------------------------- */

static void
on_sent(void *ctx, int64_t bytes)
{
	struct bambu *b = ctx;
	struct bambu_upload *u = &b->upload;

	u->sent = bytes;
	timer_set(loop_of(b), &u->stall, bytes >= u->t->size ? STORE_MS : STALL_MS);
	session_upload_progress(b->s, bytes);
}

/* What a fault means where not even all bytes were sent. */
static void
give_up(struct bambu *b, enum http_fault fault)
{
	static const struct {
		enum http_fault fault;
		enum upload_end end;
		bool partial; /* something of the file may be there */
		const char *words;
	} ends[] = {
	    {HTTP_UNREACHABLE, UPLOAD_BROKEN, false, "the printer's FTPS cannot be reached"},
	    {HTTP_TLS, UPLOAD_BROKEN, true, "no encrypted connection for the file came about"},
	    {HTTP_UNTRUSTED, UPLOAD_REFUSED, false, "the printer's certificate is not trusted"},
	    {HTTP_OTHER_HOST, UPLOAD_REFUSED, false, "another printer answers at this address"},
	    {HTTP_TIMEOUT, UPLOAD_BROKEN, true, "the printer took the file too slowly"},
	    {HTTP_DENIED, UPLOAD_REFUSED, false, "the access code was refused"},
	    {HTTP_REFUSED, UPLOAD_REFUSED, true,
		"the printer refused the file; is its storage there and writable?"},
	    {HTTP_NO_SPACE, UPLOAD_NO_SPACE, true, "the printer's storage is full"},
	    {HTTP_FILE, UPLOAD_BROKEN, true, "the file could not be read"},
	    {HTTP_UNUSABLE, UPLOAD_REFUSED, false,
		"the serial number is none that a host can have"},
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		if (ends[i].fault != fault)
			continue;
		if (ends[i].partial)
			fail(b, ends[i].end, ends[i].words);
		else
			finish(b, ends[i].end, ends[i].words);
		return;
	}
	fail(b, UPLOAD_BROKEN, "the transfer broke off");
}

static bool
may_be_there(const struct bambu_upload *u, enum http_fault fault)
{
	return u->sent == u->t->size &&
	    (fault == HTTP_TIMEOUT || fault == HTTP_BROKEN || fault == HTTP_REFUSED ||
		fault == HTTP_TLS);
}

static void
ended(struct bambu *b, enum http_fault fault)
{
	if (fault == HTTP_OK || may_be_there(&b->upload, fault)) {
		b->upload.stored = fault == HTTP_OK;
		ask_size(b);
		return;
	}
	if ((fault == HTTP_TIMEOUT || fault == HTTP_TLS || fault == HTTP_BROKEN ||
		fault == HTTP_REFUSED) &&
	    fall_back(b))
		return;
	give_up(b, fault);
}

static void
on_stored(void *ctx, const struct http_reply *reply)
{
	struct bambu *b = ctx;

	b->upload.call = NULL;
	if (reply->fault == HTTP_OK)
		b->upload.sent = b->upload.t->size;
	else
		log_info("upload", LOG_Z("serial", session_serial(b->s)),
		    LOG_Z("fault", http_fault_name(reply->fault)), LOG_I("status", reply->status),
		    LOG_I("sent", b->upload.sent), LOG_I("size", b->upload.t->size));
	ended(b, reply->fault);
}

static void
on_stall(void *ctx)
{
	struct bambu *b = ctx;

	if (b->upload.call)
		http_cancel(b->upload.call);
	b->upload.call = NULL;
	ended(b, HTTP_TIMEOUT);
}

/* --- the driver's functions ------------------------------------------------------------------- */

void
bambu_upload(void *d, struct transfer *t)
{
	struct bambu *b = d;
	struct bambu_upload *u = &b->upload;
	struct http_client_options o = {
	    .parallel = 1,
	    .user = "bblp",
	    .secret = session_secret(b->s),
	    .ca_file = b->env->ca_path,
	    .tls12_most = true,
	    .no_reuse = true,
	};

	stop(b);
	if (session_record(b->s)->extra.storage == 0) {
		session_upload_done(b->s, UPLOAD_REFUSED, "there is no storage in the printer");
		return;
	}
	if (!bambu_remote_name(t, t->remote, sizeof(t->remote)) ||
	    (strcmp(t->kind, "gcode") == 0 && !b->model->plain_gcode)) {
		session_upload_done(
		    b->s, UPLOAD_REFUSED, "the printer does not print files of this kind");
		return;
	}
	u->t = t;
	u->stored = false;
	u->client = http_client_new(b->env->http, &o);
	if (!send_file(b))
		finish(b, UPLOAD_REFUSED, "the serial number is none that a host can have");
}

/* The name is kept for the removal; whose transfer it was is forgotten. */
void
bambu_abort(void *d)
{
	struct bambu *b = d;
	struct bambu_upload *u = &b->upload;

	if (!u->t || u->phase == UPLOAD_REMOVING) {
		u->t = NULL;
		return;
	}
	if (u->call)
		http_cancel(u->call);
	u->call = NULL;
	fail(b, UPLOAD_BROKEN, NULL);
	u->t = NULL;
}

void
bambu_upload_init(struct bambu *b)
{
	b->upload.stall = (struct timer){.fn = on_stall, .ctx = b};
}
