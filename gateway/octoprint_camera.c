#include "gateway/octoprint_camera.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "gateway/octoprint_state.h"
#include "gateway/reading.h"

/* OctoPrint's own port has no pictures: a web server beside it has, on the usual port. */
enum { OCTOPRINT_PORT = 5000, WEB_PORT = 80 };

struct place {
	const char *name;
	char host[100]; /* the address as URLs have it */
	int port;
};

static bool
part_is(CURLU *u, CURLUPart part, const char *const *wanted)
{
	char *text = NULL;
	bool is = false;

	if (curl_url_get(u, part, &text, 0) != CURLUE_OK)
		return false;
	for (; *wanted && !is; wanted++)
		is = strcasecmp(text, *wanted) == 0;
	curl_free(text);
	return is;
}

static bool
lacks(CURLU *u, CURLUPart part)
{
	char *text = NULL;
	bool none = curl_url_get(u, part, &text, 0) != CURLUE_OK;

	curl_free(text);
	return none;
}

/* The text as a URL of this host. False when it is none, or another host's. */
static bool
resolve(const char *text, const struct place *at, char *out, size_t size)
{
	const char *const own[] = {at->host, NULL}, *const http[] = {"http", "https", NULL},
			  *const local[] = {at->name, "localhost", "127.0.0.1", "[::1]", NULL};
	CURLU *u = curl_url();
	char base[300], *whole = NULL;
	bool good;
	int n;

	snprintf(base, sizeof(base), "http://%s:%d/", at->host, at->port);
	good = u && curl_url_set(u, CURLUPART_URL, base, 0) == CURLUE_OK &&
	    curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK &&
	    part_is(u, CURLUPART_SCHEME, http) && lacks(u, CURLUPART_USER) &&
	    lacks(u, CURLUPART_PASSWORD);
	if (good && part_is(u, CURLUPART_HOST, local))
		good = curl_url_set(u, CURLUPART_HOST, at->host, 0) == CURLUE_OK;
	good = good && part_is(u, CURLUPART_HOST, own) &&
	    curl_url_get(u, CURLUPART_URL, &whole, 0) == CURLUE_OK;
	n = good ? snprintf(out, size, "%s", whole) : -1;
	curl_free(whole);
	curl_url_cleanup(u);
	return n > 0 && (size_t)n < size;
}

static bool
take(struct json_object *v, char *out, size_t size)
{
	return json_object_is_type(v, json_type_string) && reading_text(v, out, size) && out[0];
}

/* The URL of one kind: the old place, then the first webcam that has one. */
static bool
find(struct json_object *webcam, const char *old, const char *compat, char *out, size_t size)
{
	struct json_object *list = reading_member(webcam, "webcams");
	size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;

	if (take(reading_member(webcam, old), out, size))
		return true;
	for (size_t i = 0; i < n && i < 16; i++) {
		struct json_object *one = reading_member(
		    json_object_array_get_idx(list, i), "compat");

		if (take(reading_member(one, compat), out, size))
			return true;
	}
	return false;
}

void
octo_take_camera(struct json_object *settings, const char *name, const char *address, int port,
    struct camera_source *out)
{
	struct place at = {.name = name, .port = port == OCTOPRINT_PORT ? WEB_PORT : port};
	struct json_object *webcam = reading_member(settings, "webcam");
	char text[OCTO_PATH * 2];
	bool enabled = true;

	memset(out, 0, sizeof(*out));
	snprintf(at.host, sizeof(at.host), strchr(address, ':') ? "[%s]" : "%s", address);
	reading_bool(reading_member(webcam, "webcamEnabled"), &enabled);
	if (!enabled)
		return;
	if (find(webcam, "snapshotUrl", "snapshot", text, sizeof(text)) &&
	    resolve(text, &at, out->url, sizeof(out->url)))
		out->kind = CAMERA_HTTP;
	else if (find(webcam, "streamUrl", "stream", text, sizeof(text)) &&
	    resolve(text, &at, out->url, sizeof(out->url)) && !strstr(out->url, ".m3u8"))
		out->kind = CAMERA_MJPEG;
	if (out->kind == CAMERA_NONE)
		memset(out, 0, sizeof(*out));
}
