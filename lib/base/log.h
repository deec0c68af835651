/* One JSON object per line on stderr: {"at","level","proc","pid","msg",...}. Fields are named one
 * by one, so that nothing is printed by accident; a secret must never be given to it. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log_field {
	const char *name;
	enum { LOG_STR, LOG_I64 } kind;
	struct str s;
	int64_t i;
};

#define LOG_S(name_, str_) ((struct log_field){(name_), LOG_STR, (str_), 0})
#define LOG_Z(name_, z_) ((struct log_field){(name_), LOG_STR, str_from(z_), 0})
#define LOG_I(name_, i_) ((struct log_field){(name_), LOG_I64, STR_NONE, (int64_t)(i_)})

/* proc: borrowed for the life of the process, for example "api". */
void log_init(const char *proc, enum log_level least);
bool log_level_parse(struct str s, enum log_level *out);
void log_write(enum log_level level, const char *msg, const struct log_field *fields, size_t n);

#define LOG_FIELDS_(...) ((const struct log_field[]){__VA_ARGS__})
#define LOG_AT_(level, msg, ...)                                                                   \
	log_write((level), (msg), LOG_FIELDS_(__VA_ARGS__),                                        \
	    sizeof(LOG_FIELDS_(__VA_ARGS__)) / sizeof(struct log_field))
/* log_info("worker started", LOG_I("pid", pid), LOG_Z("pool", pool)): at least one field. */
#define log_debug(msg, ...) LOG_AT_(LOG_DEBUG, msg, __VA_ARGS__)
#define log_info(msg, ...) LOG_AT_(LOG_INFO, msg, __VA_ARGS__)
#define log_warn(msg, ...) LOG_AT_(LOG_WARN, msg, __VA_ARGS__)
#define log_error(msg, ...) LOG_AT_(LOG_ERROR, msg, __VA_ARGS__)

/* Programmer errors: log and abort. On in production. */
#define must(cond) ((cond) ? (void)0 : must_failed(#cond, __FILE__, __LINE__))
__attribute__((noreturn)) void must_failed(const char *cond, const char *file, int line);

#endif
