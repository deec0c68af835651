/* Answers of a Bambu printer. All clients' come on one topic. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "gateway/bambu_command.h"
#include "gateway/reading.h"

enum {
	ERR_BUSY = 0x05004004,
	ERR_NOT_SIGNED = 0x05024007,
	ERR_BADLY_SIGNED = 0x05024009,
};

/* The section that the message consists of, and what is in it. */
static struct json_object *
find_section(struct json_object *message, char *name, size_t size)
{
	static const char *const sections[] = {"print", "system", "info", "pushing", "camera"};

	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++) {
		struct json_object *v = reading_member(message, sections[i]);

		if (!json_object_is_type(v, json_type_object))
			continue;
		snprintf(name, size, "%s", sections[i]);
		return v;
	}
	return NULL;
}

/* The reason, where it says more than that it did not work. */
static void
read_words(struct json_object *v, struct bambu_answer *out)
{
	static const char *const empty[] = {"success", "fail", "failed"};

	reading_text(reading_member(v, "reason"), out->words, sizeof(out->words));
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++)
		if (strcasecmp(out->words, empty[i]) == 0)
			memset(out->words, 0, sizeof(out->words));
}

bool
bambu_answer_read(struct json_object *message, struct bambu_answer *out)
{
	struct json_object *v;
	char result[16];
	int64_t code = 0;

	memset(out, 0, sizeof(*out));
	v = find_section(message, out->section, sizeof(out->section));
	if (!v || !reading_text(reading_member(v, "result"), result, sizeof(result)) ||
	    !reading_text(reading_member(v, "command"), out->command, sizeof(out->command)) ||
	    strcmp(out->command, "push_status") == 0)
		return false;
	reading_text(reading_member(v, "sequence_id"), out->sequence, sizeof(out->sequence));
	reading_i64(reading_member(v, "err_code"), &code);
	read_words(v, out);
	out->good = strcasecmp(result, "success") == 0;
	if (out->good)
		return true;
	out->unsigned_ = strstr(out->words, "verify failed") != NULL || code == ERR_NOT_SIGNED ||
	    code == ERR_BADLY_SIGNED;
	out->busy = code == ERR_BUSY;
	return true;
}

bool
bambu_answer_is_of(
    const struct bambu_answer *a, const char *section, const char *command, uint32_t sequence)
{
	int64_t n;

	return str_to_i64(str_from(a->sequence), &n) && n == sequence &&
	    strcmp(a->section, section) == 0 && strcmp(a->command, command) == 0;
}
