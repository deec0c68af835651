/* File names that others chose. */
#include <curl/curl.h>
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/arena.h"
#include "base/log.h"
#include "net/fetch.h"

enum { NAME_MOST = 255, HEADER_MOST = 4096 };

static bool
hostile(struct str s, size_t at, size_t n)
{
	unsigned char c = (unsigned char)s.p[at];

	return c < 0x20 || c == 0x7f || (n == 2 && c == 0xc2 && (unsigned char)s.p[at + 1] < 0xa0);
}

/* Without the folders before it, of whichever system. */
static struct str
base_name(struct str s)
{
	for (size_t i = s.n; i > 0; i--) {
		if (s.p[i - 1] == '/' || s.p[i - 1] == '\\')
			return (struct str){s.p + i, s.n - i};
	}
	return s;
}

struct str
fetch_filename(struct arena *a, struct str name)
{
	struct str in = base_name(name), out;
	char *to = arena_alloc(a, in.n + 1);
	size_t n = 0, chars = 0, step;

	for (size_t i = 0; i < in.n && chars < NAME_MOST; i += step) {
		step = str_utf8_at(in, i);
		if (!step)
			return STR_NONE;
		if (hostile(in, i, step) || (n == 0 && in.p[i] == ' '))
			continue;
		memcpy(to + n, in.p + i, step);
		n += step;
		chars++;
	}
	to[n] = '\0';
	out = str_trim((struct str){to, n});
	return strspn(to, ". ") == n ? STR_NONE : out;
}

/* The pattern's first group in s; STR_NONE without a match. */
static struct str
group(const char *pattern, struct str s)
{
	int error, rc;
	PCRE2_SIZE at;
	pcre2_code *code = pcre2_compile(
	    (PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_CASELESS, &error, &at, NULL);
	pcre2_match_data *match;
	struct str found = STR_NONE;
	PCRE2_SIZE *ends;

	must(code != NULL);
	match = pcre2_match_data_create_from_pattern(code, NULL);
	must(match != NULL);
	rc = pcre2_match(code, (PCRE2_SPTR)s.p, s.n, 0, 0, match, NULL);
	ends = pcre2_get_ovector_pointer(match);
	if (rc > 1)
		found = (struct str){s.p + ends[2], ends[3] - ends[2]};
	pcre2_match_data_free(match);
	pcre2_code_free(code);
	return found;
}

static struct str
unescaped(struct arena *a, struct str s)
{
	int n;
	char *text = curl_easy_unescape(NULL, s.p, (int)s.n, &n);
	struct str name = text ? fetch_filename(a, (struct str){text, (size_t)n}) : STR_NONE;

	curl_free(text);
	return name;
}

struct str
fetch_disposition(struct arena *a, struct str header)
{
	struct str s;

	if (!header.n || header.n > HEADER_MOST)
		return STR_NONE;
	s = group(
	    ";[ \t]*filename\\*[ \t]*=[ \t]*UTF-8'[a-z0-9-]*'([a-z0-9!#$&+.^_`|~%-]+)", header);
	if (s.n)
		return unescaped(a, s);
	s = group(";[ \t]*filename[ \t]*=[ \t]*\"((?:[^\"\\\\]|\\\\.)*)\"", header);
	if (!s.n)
		s = group(";[ \t]*filename[ \t]*=[ \t]*([^ \t;\"]+)", header);
	return s.n ? fetch_filename(a, s) : STR_NONE;
}
