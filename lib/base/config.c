#include "base/config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"

static bool
set_int(const struct config_item *it, const char *text)
{
	int64_t v;

	if (!str_to_i64(str_from(text), &v) || v < it->least || v > it->most)
		return false;
	*(int64_t *)it->out = v;
	return true;
}

static bool
set_bool(const struct config_item *it, const char *text)
{
	struct str s = str_from(text);
	bool yes = str_eq(s, STR("1")) || str_eq(s, STR("true"));

	if (!yes && !str_eq(s, STR("0")) && !str_eq(s, STR("false")))
		return false;
	*(bool *)it->out = yes;
	return true;
}

static bool
set_item(const struct config_item *it, const char *text)
{
	switch (it->kind) {
	case CFG_INT:
		return set_int(it, text);
	case CFG_BOOL:
		return set_bool(it, text);
	case CFG_STR:
		*(const char **)it->out = text;
		return true;
	}
	return false;
}

bool
config_load(const struct config_item *items, size_t n)
{
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		const char *text = getenv(items[i].name);

		if (!text || !*text)
			text = items[i].dflt;
		if (!text) {
			log_error("setting is missing", LOG_Z("name", items[i].name),
			    LOG_Z("help", items[i].help));
			ok = false;
		} else if (!set_item(&items[i], text)) {
			log_error("setting is malformed", LOG_Z("name", items[i].name),
			    LOG_Z("help", items[i].help));
			ok = false;
		}
	}
	return ok;
}

struct str
config_file(struct arena *a, const char *path, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *p = arena_alloc(a, cap + 1);
	size_t n = 0;
	ssize_t got = 1;

	if (fd < 0)
		return STR_NONE;
	while (got > 0 && n <= cap) {
		got = read(fd, p + n, cap + 1 - n);
		n += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	return got < 0 || n > cap ? STR_NONE : (struct str){p, n};
}
