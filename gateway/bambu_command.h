/* What is said to a Bambu printer: commands and starts as messages of its request topic, and which
 * answer belongs to which. */
#ifndef GATEWAY_BAMBU_COMMAND_H
#define GATEWAY_BAMBU_COMMAND_H

#include "gateway/bambu_model.h"
#include "gateway/bambu_state.h"
#include "gateway/session.h"

/* One message: {section: {"sequence_id": …, "command": …, …}}. An answer has the same three. */
struct bambu_message {
	struct buf json;
	const char *section, *command; /* of a constant table */
	uint32_t sequence;
	int qos;
};

enum { BAMBU_MESSAGES = 3 };

/* What one command comes to: all are sent in order, the answer to one of them counts. */
struct bambu_messages {
	int n, awaited;
	struct bambu_message m[BAMBU_MESSAGES];
};

/* What a command depends on. */
struct bambu_about {
	const struct bambu_model *model;
	const struct bambu_state *state;
	const struct record *record;
	uint32_t *sequence; /* of the message before; goes up with each */
};

/* ANSWER_ACCEPTED: can be sent. Else why it cannot, *words perhaps in words (constant). *out is to
 * be ended with bambu_messages_fini in any case. */
enum answer bambu_command_messages(const struct command *c, const struct bambu_about *about,
    struct bambu_messages *out, const char **words);
/* The same for the start of an uploaded file. */
enum answer bambu_start_messages(const struct transfer *t, const struct bambu_about *about,
    struct bambu_messages *out, const char **words);
void bambu_messages_fini(struct bambu_messages *m);
/* For builders: begins one more message up to its command, which bambu_message_end closes. */
struct bambu_message *bambu_message_begin(struct bambu_messages *out,
    const struct bambu_about *about, const char *section, const char *command, int qos);
void bambu_message_end(struct bambu_message *m);

/* A file's name at the printer: of the owner's name what every file system and URL takes, made
 * unique by the task; false when it is of a kind that Bambu printers do not print. */
bool bambu_remote_name(const struct transfer *t, char *out, size_t size);
/* The job that a record shows is this transfer's. */
bool bambu_is_job(const struct bambu_state *b, const struct transfer *t, const struct record *r);

/* An answer of the printer, to anybody's message. */
struct bambu_answer {
	char section[12], command[32], sequence[16];
	bool good;
	bool unsigned_;  /* refused for want of a signature */
	bool busy;       /* refused because a job runs */
	char words[128]; /* the reason, "" when it says none */
};

/* False when the message is no answer. */
bool bambu_answer_read(struct json_object *message, struct bambu_answer *out);
/* It answers this message. */
bool bambu_answer_is_of(
    const struct bambu_answer *a, const char *section, const char *command, uint32_t sequence);

#endif
