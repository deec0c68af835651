#include "net/fetch.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/fetch_guard.h"

struct fetch {
	struct fetch_rules rules;
};

/* One request and its redirects. */
struct run {
	const struct fetch_rules *rules;
	const struct fetch_request *in;
	struct fetch_result *out;
	struct arena *arena;
	int64_t deadline_ms;
	CURL *h; /* of this hop */
	bool begun;
	enum fetch_status stopped; /* why a callback broke off; FETCH_OK: none did */
};

struct fetch *
fetch_new(const struct fetch_rules *rules)
{
	struct fetch *f;

	if (rules->ca_file && *rules->ca_file && access(rules->ca_file, R_OK) != 0) {
		log_error("fetch: the certificates cannot be read", LOG_Z("file", rules->ca_file));
		return NULL;
	}
	if (!fetch_networks_ok(rules->test_net, false) || !fetch_networks_ok(rules->deny, true)) {
		log_error("fetch: a list of networks is malformed", LOG_Z("deny", rules->deny),
		    LOG_Z("test_net", rules->test_net));
		return NULL;
	}
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	f = malloc(sizeof(*f));
	must(f != NULL);
	f->rules = *rules;
	return f;
}

void
fetch_free(struct fetch *f)
{
	if (!f)
		return;
	free(f);
	curl_global_cleanup();
}

/* Does any header of this name say something else than `harmless`? */
static bool
says_other(CURL *h, const char *name, struct str harmless)
{
	struct curl_header *header;

	for (size_t i = 0; curl_easy_header(h, name, i, CURLH_HEADER, -1, &header) == CURLHE_OK;
	     i++) {
		if (!str_ieq(str_trim(str_from(header->value)), harmless))
			return true;
	}
	return false;
}

static int
answer_status(CURL *h)
{
	long status = 0;

	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

/* Is the body wanted? */
static enum fetch_status
judge_answer(CURL *h)
{
	if (answer_status(h) / 100 != 2)
		return FETCH_HTTP_ERROR;
	if (says_other(h, "Content-Encoding", STR("identity")) ||
	    says_other(h, "Transfer-Encoding", STR("chunked")))
		return FETCH_ENCODED;
	return FETCH_OK;
}

static size_t
on_bytes(char *p, size_t size, size_t n, void *ctx)
{
	struct run *run = ctx;

	n *= size;
	if (!run->begun)
		run->stopped = judge_answer(run->h);
	run->begun = true;
	if (!run->stopped && (int64_t)n > run->in->most_bytes - run->out->size)
		run->stopped = FETCH_TOO_LARGE;
	if (!run->stopped && !run->in->write(run->in->ctx, p, n))
		run->stopped = FETCH_CANCELLED;
	if (run->stopped)
		return n ? 0 : 1;
	run->out->size += (int64_t)n;
	return n;
}

static int
on_progress(void *ctx, curl_off_t total, curl_off_t done, curl_off_t up, curl_off_t up_done)
{
	struct run *run = ctx;

	(void)done;
	(void)up;
	(void)up_done;
	return !run->in->progress(run->in->ctx, run->out->size, total);
}

static void
set_callbacks(struct run *run)
{
	CURL *h = run->h;

	curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(h, CURLOPT_WRITEDATA, run);
	curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(h, CURLOPT_XFERINFODATA, run);
	curl_easy_setopt(h, CURLOPT_NOPROGRESS, run->in->progress ? 0L : 1L);
	curl_easy_setopt(h, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)run->in->most_bytes);
}

static void
note_headers(struct run *run)
{
	struct curl_header *header;
	char *type = NULL;

	curl_easy_getinfo(run->h, CURLINFO_CONTENT_TYPE, &type);
	run->out->content_type = type ? str_dup(run->arena, str_from(type)) : STR_NONE;
	if (curl_easy_header(run->h, "Content-Disposition", 0, CURLH_HEADER, -1, &header) ==
	    CURLHE_OK)
		run->out->filename = fetch_disposition(run->arena, str_from(header->value));
}

/* A Location header's value as seen from the URL it came from, in the arena. */
static struct str
resolved(struct arena *a, const struct fetch_url *from, const char *location)
{
	CURLU *u = curl_url();
	char *text = NULL;
	struct str to = str_dup(a, str_from(location));

	must(u != NULL);
	if (curl_url_set(u, CURLUPART_URL, from->text.p, 0) == CURLUE_OK &&
	    curl_url_set(u, CURLUPART_URL, location, CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE) ==
		CURLUE_OK &&
	    curl_url_get(u, CURLUPART_URL, &text, 0) == CURLUE_OK)
		to = str_dup(a, str_from(text));
	curl_free(text);
	curl_url_cleanup(u);
	return to;
}

/* Where the answer redirects to; STR_NONE when it does not. */
static struct str
redirect(const struct run *run, const struct fetch_url *from)
{
	int status = run->out->http_status;
	bool is_one = status == 301 || status == 302 || status == 303 || status == 307 ||
	    status == 308;
	struct curl_header *header;

	if (!is_one ||
	    curl_easy_header(run->h, "Location", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return STR_NONE;
	return resolved(run->arena, from, header->value);
}

static enum fetch_status
finish_hop(struct run *run, const struct fetch_guard *g, CURLcode code)
{
	enum fetch_status judged;

	run->out->http_status = answer_status(run->h);
	if (run->stopped)
		return run->stopped;
	if (code != CURLE_OK && code != CURLE_FILESIZE_EXCEEDED)
		return fetch_verdict(g, code);
	judged = judge_answer(run->h);
	return judged != FETCH_OK ? judged : fetch_verdict(g, code);
}

static enum fetch_status
hop(struct run *run, const struct fetch_url *url, struct str *next)
{
	struct fetch_guard guard;
	int64_t left_ms = run->deadline_ms - clock_mono_ms();
	enum fetch_status status;

	*next = STR_NONE;
	if (left_ms <= 0)
		return FETCH_TIMEOUT;
	run->h = curl_easy_init();
	must(run->h != NULL);
	run->begun = false;
	run->stopped = FETCH_OK;
	fetch_prepare(run->h, &guard, run->rules, url);
	set_callbacks(run);
	curl_easy_setopt(run->h, CURLOPT_TIMEOUT_MS, (long)left_ms);
	status = finish_hop(run, &guard, curl_easy_perform(run->h));
	if (status == FETCH_HTTP_ERROR)
		*next = redirect(run, url);
	else
		note_headers(run);
	curl_easy_cleanup(run->h);
	return status;
}

/* From one answer to the next, each URL judged anew. */
static enum fetch_status
follow(struct run *run)
{
	struct str at = run->in->url;
	bool http = true;

	for (int hops = 0;; hops++) {
		struct fetch_url url;
		enum fetch_status status = fetch_url_check(run->rules, run->arena, at, &url);

		if (status != FETCH_OK)
			return status;
		if (url.http && !http)
			return FETCH_BAD_URL;
		http = url.http;
		status = hop(run, &url, &at);
		if (!at.p)
			return status;
		if (hops >= run->in->redirects_most)
			return FETCH_TOO_MANY_REDIRECTS;
	}
}

void
fetch_run(
    struct fetch *f, struct arena *a, const struct fetch_request *in, struct fetch_result *out)
{
	struct run run = {
	    .rules = &f->rules,
	    .in = in,
	    .out = out,
	    .arena = a,
	    .deadline_ms = clock_mono_ms() + in->timeout_ms,
	};

	*out = (struct fetch_result){.filename = STR_NONE, .content_type = STR_NONE};
	out->status = follow(&run);
}
