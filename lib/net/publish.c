#include "net/publish.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	UNTIL_MOST = 6,
	TIMEOUT_MS = 2000,
	URL_MOST = 2048,
	REASON_MOST = 64,
	ANSWER_MOST = 512,
	CREATED = 201,
	ACCEPTED = 202
};

struct publish {
	CURL *curl;
	struct curl_slist *headers;
	char answer[ANSWER_MOST + 1];
	size_t n_answer;
	int64_t ended; /* the last of the times (UNTIL_S) whose streams were ended; 0: none yet */
	const char *socket_path;
	bool refused;
	char reason[REASON_MOST];
};

struct publish *
publish_new(const char *socket_path)
{
	static const char *const headers[] = {
	    "Expect:", "Accept: application/json", "Content-Type: application/json"};
	struct publish *p = calloc(1, sizeof(*p));

	must(p != NULL && curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
	p->socket_path = socket_path;
	p->curl = curl_easy_init();
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct curl_slist *more = curl_slist_append(p->headers, headers[i]);

		must(more != NULL);
		p->headers = more;
	}
	must(p->curl != NULL);
	return p;
}

void
publish_free(struct publish *p)
{
	if (!p)
		return;
	curl_easy_cleanup(p->curl);
	curl_slist_free_all(p->headers);
	free(p);
}

bool
publish_refused(const struct publish *p)
{
	return p->refused;
}

const char *
publish_reason(const struct publish *p)
{
	return p->reason;
}

/* The beginning of an answer is enough. */
static size_t
take(char *bytes, size_t size, size_t n, void *ctx)
{
	struct publish *p = ctx;
	size_t room = ANSWER_MOST - p->n_answer, most = size * n < room ? size * n : room;

	memcpy(p->answer + p->n_answer, bytes, most);
	p->n_answer += most;
	p->answer[p->n_answer] = '\0';
	return size * n;
}

/* Everything but method and body. The handle keeps its connection across resets. */
static bool
prepare(struct publish *p, struct str channels)
{
	char url[URL_MOST];
	int n = snprintf(url, sizeof(url), "http://nginx/%.*s", STR_ARG(channels));

	p->refused = n < 0 || (size_t)n >= sizeof(url);
	if (p->refused) {
		snprintf(p->reason, sizeof(p->reason), "too many channels");
		return false;
	}
	curl_easy_reset(p->curl);
	curl_easy_setopt(p->curl, CURLOPT_URL, url); /* copied */
	curl_easy_setopt(p->curl, CURLOPT_UNIX_SOCKET_PATH, p->socket_path);
	curl_easy_setopt(p->curl, CURLOPT_PROXY, "");
	curl_easy_setopt(p->curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(p->curl, CURLOPT_TIMEOUT_MS, (long)TIMEOUT_MS);
	curl_easy_setopt(p->curl, CURLOPT_HTTPHEADER, p->headers);
	curl_easy_setopt(p->curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(p->curl, CURLOPT_WRITEDATA, p);
	p->n_answer = 0;
	p->answer[0] = '\0';
	return true;
}

/* The answer's status; 0 when there was none. */
static long
perform(struct publish *p)
{
	CURLcode rc = curl_easy_perform(p->curl);
	long status = 0;

	if (rc != CURLE_OK) {
		snprintf(p->reason, sizeof(p->reason), "%s", curl_easy_strerror(rc));
		return 0;
	}
	curl_easy_getinfo(p->curl, CURLINFO_RESPONSE_CODE, &status);
	snprintf(p->reason, sizeof(p->reason), "status %ld", status);
	p->refused = status / 100 == 4 && status != 429;
	return status;
}

bool
publish_post(struct publish *p, struct str channels, struct str payload)
{
	long status;

	if (!prepare(p, channels))
		return false;
	curl_easy_setopt(p->curl, CURLOPT_POST, 1L);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)payload.n);
	curl_easy_setopt(p->curl, CURLOPT_POSTFIELDS, payload.p ? payload.p : "");
	status = perform(p);
	return status == CREATED || status == ACCEPTED;
}

bool
publish_end(struct publish *p, struct str channels)
{
	long status;

	if (!prepare(p, channels))
		return false;
	curl_easy_setopt(p->curl, CURLOPT_CUSTOMREQUEST, "DELETE");
	status = perform(p);
	return status == 200 || status == 404;
}

int64_t
publish_time_s(const struct publish *p)
{
	static const char name[] = "\"last_message_id\": \"";
	const char *at = strstr(p->answer, name);
	struct str id = str_from(at ? at + sizeof(name) - 1 : "");
	int64_t s;

	return str_to_i64(str_cut(&id, ':'), &s) ? s : 0;
}

bool
publish_tick(struct publish *p)
{
	int64_t now = clock_unix_s() / PUBLISH_UNTIL_S;
	int64_t from = p->ended && now - p->ended <= UNTIL_MOST ? p->ended + 1 : now - UNTIL_MOST;
	char channels[URL_MOST / 2];
	size_t n = 0;

	if (now == p->ended)
		return true;
	for (int64_t t = from; t <= now; t++)
		n += (size_t)snprintf(
		    channels + n, sizeof(channels) - n, "%suntil.%lld", n ? "," : "", (long long)t);
	if (!publish_end(p, (struct str){channels, n}))
		return false;
	p->ended = now;
	return true;
}
