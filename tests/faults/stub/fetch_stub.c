/* The fetcher as a program: a URL per line in, what became of it per line out, as JSON. Rules come
 * from the settings of the courier, limits from arguments: bytes, milliseconds, redirects. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/fetch.h"
#include "store/digest.h"

enum { ARENA_MOST = 16 << 20, LINE_MOST = 64 << 10 };

static bool
on_bytes(void *ctx, const void *p, size_t n)
{
	digest_add(ctx, p, n);
	return true;
}

static bool
on_progress(void *ctx, int64_t done, int64_t total)
{
	(void)ctx;
	return done <= total || total >= 0;
}

/* Not of getrusage: that remembers what ran in the process before. */
static long
peak_kib(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kib = -1;

	must(f != NULL);
	while (kib < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, "VmHWM:", 6) == 0)
			kib = strtol(line + 6, NULL, 10);
	fclose(f);
	return kib;
}

static void
tell(struct arena *a, const struct fetch_result *r, struct str sha256, int64_t ms)
{
	struct buf b;
	const struct {
		const char *name;
		struct str text;
	} texts[] = {{"reason", fetch_reason(a, r)}, {"sentence", fetch_sentence(a, r)},
	    {"filename", r->filename}, {"content_type", r->content_type}, {"sha256", sha256}};

	buf_init(&b, 1 << 20);
	buf_fmt(&b, "{\"http\":%d,\"size\":%lld,\"ms\":%lld,\"peak_kib\":%ld,\"transient\":%s",
	    r->http_status, (long long)r->size, (long long)ms, peak_kib(),
	    fetch_transient(r) ? "true" : "false");
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		buf_fmt(&b, ",\"%s\":", texts[i].name);
		if (texts[i].text.p)
			buf_json_str(&b, texts[i].text);
		else
			buf_str(&b, STR("null"));
	}
	printf("%.*s}\n", STR_ARG(buf_view(&b)));
	fflush(stdout);
	buf_fini(&b);
}

static void
run(struct fetch *f, struct str url, char **limits)
{
	struct arena *a = arena_new(ARENA_MOST);
	struct digest *d = digest_new();
	uint8_t sha256[DIGEST_LEN];
	struct fetch_request in = {
	    .url = url, .write = on_bytes, .progress = on_progress, .ctx = d};
	struct fetch_result out;
	int64_t from = clock_mono_ms(), redirects = 0;

	must(str_to_i64(str_from(limits[0]), &in.most_bytes));
	must(str_to_i64(str_from(limits[1]), &in.timeout_ms));
	must(str_to_i64(str_from(limits[2]), &redirects));
	in.redirects_most = (int)redirects;
	fetch_run(f, a, &in, &out);
	digest_end(d, sha256);
	tell(a, &out, str_hex(a, sha256, DIGEST_LEN), clock_mono_ms() - from);
	digest_free(d);
	arena_free(a);
}

int
main(int argc, char **argv)
{
	struct fetch_rules rules = {
	    .ca_file = getenv("SOLOPRINT_FETCH_CA"),
	    .own_url = getenv("SOLOPRINT_PUBLIC_URL"),
	    .deny = getenv("SOLOPRINT_FETCH_DENY"),
	    .http = getenv("SOLOPRINT_FETCH_HTTP") != NULL,
	};
	static char line[LINE_MOST];
	struct fetch *f = fetch_new(&rules);

	if (argc != 4 || !f)
		return 2;
	while (fgets(line, sizeof(line), stdin))
		run(f, (struct str){line, strcspn(line, "\n")}, argv + 1);
	fetch_free(f);
	return 0;
}
