/* Files to a Moonraker, and where its camera is. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "gateway/http_url.h"
#include "gateway/moonraker_link.h"
#include "gateway/reading.h"

#define FOLDER "SoLoPrint"

enum { CREATED = 201, WEBCAMS_MOST = 64, WEB_PORT = 80, STALL_MS = 60000 };

/* A web server in front may look at the name. */
bool
moonraker_url(const struct moonraker *m, char *out, size_t size, const char *path)
{
	return http_url(out, size, "http", session_host(m->s), m->port, "", path) ||
	    http_url(out, size, "http", m->address, m->port, "", path);
}

/* --- uploads ---------------------------------------------------------------------------------- */

static void
on_sent(void *ctx, int64_t bytes)
{
	struct moonraker *m = ctx;

	session_upload_progress(m->s, bytes);
}

static enum upload_end
judge(const struct http_reply *r, const char *words)
{
	if (strcasestr(words, "no space left") || r->status == 507)
		return UPLOAD_NO_SPACE;
	if (r->status == 403 && (strcasestr(words, "loaded") || strcasestr(words, "print")))
		return UPLOAD_BUSY; /* the file is being printed */
	/* Its sum was wrong, or the server was not up to it: once more may do. */
	if (r->status == 422 || r->status >= 500 || strcasestr(words, "checksum"))
		return UPLOAD_BROKEN;
	return r->status == 0 ? UPLOAD_BROKEN : UPLOAD_REFUSED;
}

static void
on_uploaded(void *ctx, const struct http_reply *r)
{
	struct moonraker *m = ctx;
	struct transfer *t = m->transfer;
	struct json_object *answer = reading_object(m->env->tokener, r->body);
	struct json_object *item = reading_member(answer, "item");
	char words[MOONRAKER_WORDS] = "", remote[sizeof(t->remote)] = "";
	enum upload_end end = UPLOAD_DONE;

	m->upload = NULL;
	m->transfer = NULL;
	reading_text(
	    reading_member(reading_member(answer, "error"), "message"), words, sizeof(words));
	reading_text(reading_member(item, "path"), remote, sizeof(remote));
	json_object_put(answer);
	if (r->fault == HTTP_OK && r->status == CREATED) {
		if (remote[0])
			memcpy(t->remote, remote, sizeof(t->remote));
	} else {
		end = judge(r, words);
		if (!words[0] && r->status)
			snprintf(words, sizeof(words), "HTTP %d", r->status);
		else if (!words[0])
			snprintf(words, sizeof(words), "%s", http_fault_name(r->fault));
	}
	session_upload_done(m->s, end, words[0] ? words : NULL);
}

/* In a folder of our own: nobody's file is replaced. */
static void
remote_name(const struct transfer *t, char *out, size_t size)
{
	snprintf(out, size, FOLDER "/%.200s", t->filename);
}

void
moonraker_upload(void *d, struct transfer *t)
{
	struct moonraker *m = d;
	struct http_header key = {"X-Api-Key", session_secret(m->s)};
	struct http_field fields[3] = {{"root", "gcodes"}, {"path", FOLDER}};
	char url[MOONRAKER_URL], sum[65] = "";
	struct http_request r = {.method = "POST",
	    .url = url,
	    .address = m->address,
	    .headers = &key,
	    .n_headers = session_secret(m->s)[0] ? 1 : 0,
	    .file = true,
	    .fd = t->fd,
	    .file_size = t->size,
	    .file_field = "file",
	    .file_name = t->filename,
	    .fields = fields,
	    .n_fields = 2,
	    .stall_ms = STALL_MS,
	    .sent = on_sent};

	if (t->has_sha256) {
		for (size_t i = 0; i < sizeof(t->sha256); i++)
			snprintf(sum + 2 * i, 3, "%02x", t->sha256[i]);
		fields[r.n_fields++] = (struct http_field){"checksum", sum};
	}
	if (!moonraker_url(m, url, sizeof(url), "/server/files/upload")) {
		session_upload_done(m->s, UPLOAD_BROKEN, NULL);
		return;
	}
	remote_name(t, t->remote, sizeof(t->remote));
	m->transfer = t;
	m->upload = http_send(m->client, &r, on_uploaded, m);
}

/* Moonraker drops what did not come whole by itself. */
void
moonraker_abort(void *d)
{
	struct moonraker *m = d;
	struct http_call *call = m->upload;

	m->upload = NULL;
	m->transfer = NULL;
	if (call)
		http_cancel(call);
}

void
moonraker_upload_lost(struct moonraker *m)
{
	if (!m->upload)
		return;
	moonraker_abort(m);
	session_upload_done(m->s, UPLOAD_BROKEN, "the connection to the printer was lost");
}

bool
moonraker_is_job(const void *d, const struct transfer *t, const struct record *r)
{
	char path[sizeof(t->remote)], file[sizeof(r->job.file)];

	(void)d;
	if (t->remote[0])
		memcpy(path, t->remote, sizeof(path));
	else /* another gateway brought it */
		remote_name(t, path, sizeof(path));
	reading_clean(str_from(path), file, sizeof(file));
	return r->job.present && strcmp(file, r->job.file) == 0;
}

/* --- the camera ------------------------------------------------------------------------------- */

/* What is no whole URL is one of the web front end at the same host. */
static void
absolute(const struct moonraker *m, struct json_object *v, char out[512])
{
	char text[384] = "", path[400];

	out[0] = '\0';
	if (!v || !reading_text(v, text, sizeof(text)) || !text[0])
		return;
	if (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) {
		if (http_url_is_good(text, true))
			snprintf(out, 512, "%s", text);
		return;
	}
	snprintf(path, sizeof(path), "%s%s", text[0] == '/' ? "" : "/", text);
	if (!http_url(out, 512, "http", m->address, WEB_PORT, "", path))
		out[0] = '\0';
}

void
moonraker_take_webcams(struct moonraker *m, struct json_object *result)
{
	struct json_object *list = reading_member(result, "webcams");
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	m->stream_url[0] = m->snapshot_url[0] = '\0';
	for (size_t i = 0; i < n && i < WEBCAMS_MOST; i++) {
		struct json_object *cam = json_object_array_get_idx(list, i);
		char service[32] = "";
		bool enabled = true;

		reading_bool(reading_member(cam, "enabled"), &enabled);
		reading_text(reading_member(cam, "service"), service, sizeof(service));
		if (!enabled)
			continue;
		if (strncmp(service, "mjpegstreamer", 13) == 0)
			absolute(m, reading_member(cam, "stream_url"), m->stream_url);
		absolute(m, reading_member(cam, "snapshot_url"), m->snapshot_url);
		if (m->stream_url[0] || m->snapshot_url[0])
			return;
	}
}

void
moonraker_camera(const void *d, struct camera_source *out)
{
	const struct moonraker *m = d;
	const char *url = m->stream_url[0] ? m->stream_url : m->snapshot_url;

	memset(out, 0, sizeof(*out));
	if (!url[0])
		return;
	out->kind = m->stream_url[0] ? CAMERA_MJPEG : CAMERA_HTTP;
	snprintf(out->url, sizeof(out->url), "%s", url);
}
