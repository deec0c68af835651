/* Uploads to a Bambu printer. */
#include <string.h>

#include "base/log.h"
#include "gateway/bambu_session.h"
#include "gateway/http_url.h"

static void
on_sent(void *ctx, int64_t bytes)
{
	struct bambu *b = ctx;

	session_upload_progress(b->s, bytes);
}

static void
on_done(void *ctx, const struct ftps_result *result)
{
	static const enum upload_end ends[] = {
	    [FTPS_STORED] = UPLOAD_DONE,
	    [FTPS_REFUSED] = UPLOAD_REFUSED,
	    [FTPS_NO_SPACE] = UPLOAD_NO_SPACE,
	    [FTPS_BROKEN] = UPLOAD_BROKEN,
	};
	struct bambu *b = ctx;

	b->upload = NULL;
	b->clear_data = b->clear_data || (result->end == FTPS_STORED && result->clear_data);
	if (result->end != FTPS_STORED || result->curl != 0)
		log_info("upload", LOG_Z("serial", session_serial(b->s)),
		    LOG_Z("end", result->words ? result->words : "stored"),
		    LOG_I("curl", result->curl), LOG_I("status", result->status),
		    LOG_I("sent", result->sent), LOG_I("there", result->size));
	session_upload_done(b->s, ends[result->end], result->words);
}

/* The serial number stands where a URL has its host. */
static bool
is_host(const char *serial)
{
	static const char good[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

	return *serial && strspn(serial, good) == strlen(serial) && strlen(serial) <= 63;
}

static const char *
why_not(struct bambu *b, struct transfer *t)
{
	if (session_record(b->s)->extra.storage == 0)
		return "there is no storage in the printer";
	if (!bambu_remote_name(t, t->remote, sizeof(t->remote)) ||
	    (strcmp(t->kind, "gcode") == 0 && !b->model->plain_gcode))
		return "the printer does not print files of this kind";
	return is_host(session_serial(b->s)) ? NULL : "the serial number is none";
}

void
bambu_upload(void *d, struct transfer *t)
{
	struct bambu *b = d;
	const char *words = why_not(b, t);
	struct ftps_file file = {
	    .serial = session_serial(b->s),
	    .secret = session_secret(b->s),
	    .ca_path = b->env->ca_path,
	    .address = b->address,
	    .port = b->env->ftps_above ? b->port + b->env->ftps_port : b->env->ftps_port,
	    .name = t->remote,
	    .fd = t->fd,
	    .size = t->size,
	    .clear_data = b->clear_data,
	    .may_clear_data = b->model->clear_data,
	};

	bambu_abort(d);
	if (words)
		session_upload_done(b->s, UPLOAD_REFUSED, words);
	else
		b->upload = ftps_store(b->env->ftps, &file, on_sent, on_done, b);
}

void
bambu_abort(void *d)
{
	struct bambu *b = d;

	if (b->upload)
		ftps_cancel(b->upload);
	b->upload = NULL;
}

void
bambu_upload_drop(struct bambu *b, bool tell)
{
	bool ran = b->upload != NULL;

	bambu_abort(b);
	if (ran && tell)
		session_upload_done(b->s, UPLOAD_BROKEN, "the connection to the printer was lost");
}
