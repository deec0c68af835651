#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/clock.h"

enum { LOG_LINE_MOST = 8192 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *log_proc = "soloprint";
static enum log_level log_least = LOG_INFO;

void
log_init(const char *proc, enum log_level least)
{
	log_proc = proc;
	log_least = least;
}

bool
log_level_parse(struct str s, enum log_level *out)
{
	for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
		if (!str_eq(s, str_from(level_names[i])))
			continue;
		*out = (enum log_level)i;
		return true;
	}
	return false;
}

static void
line_head(struct buf *b, enum log_level level, const char *msg)
{
	char at[40];

	clock_rfc3339_to(at, clock_unix_ms());
	buf_fmt(b, "{\"at\":\"%s\",\"level\":\"%s\",\"proc\":\"%s\",\"pid\":%d,\"msg\":", at,
	    level_names[level], log_proc, (int)getpid());
	buf_json_str(b, str_from(msg));
}

void
log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t n)
{
	struct buf b;
	ssize_t wrote;

	if (level < log_least)
		return;
	buf_init(&b, LOG_LINE_MOST);
	line_head(&b, level, msg);
	for (size_t i = 0; i < n && b.n < LOG_LINE_MOST / 2; i++) {
		struct str value = fields[i].s;

		buf_char(&b, ',');
		buf_json_str(&b, str_from(fields[i].name));
		buf_char(&b, ':');
		if (value.n > 1024)
			value.n = 1024;
		if (fields[i].kind == LOG_I64)
			buf_json_i64(&b, fields[i].i);
		else
			buf_json_str(&b, value);
	}
	buf_str(&b, STR("}\n"));
	wrote = write(STDERR_FILENO, b.p, b.n); /* nowhere left to report a failure */
	(void)wrote;
	buf_fini(&b);
}

void
must_failed(const char *cond, const char *file, int line)
{
	log_error(
	    "assertion failed", LOG_Z("condition", cond), LOG_Z("file", file), LOG_I("line", line));
	abort();
}
