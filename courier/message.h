/* What a notification tells, whatever the channel: one event, or several of a digest. */
#ifndef COURIER_MESSAGE_H
#define COURIER_MESSAGE_H

#include <json-c/json.h>

#include "base/buf.h"

struct arena;

enum severity { SEVERITY_INFO, SEVERITY_WARNING, SEVERITY_CRITICAL };

struct message_event {
	struct str type, title, timestamp;
	enum severity severity;
};

/* Texts are one line each, without control characters, of at most MESSAGE_LINE bytes. */
enum { MESSAGE_LINE = 400 };
struct message {
	struct json_object *content; /* as the database made it, until the arena's reset */
	struct str rule;             /* STR_NONE: no rule's */
	struct str organization, subject;
	struct message_event *events;
	size_t n;
	int64_t more; /* events that are not among these */
	enum severity severity;
};

/* In the arena. False when the content is not of that form. */
bool message_parse(struct arena *a, struct str content, struct message *out);

/* Appends a text so that it means nothing but itself where it stands. */
typedef void (*message_put)(struct buf *b, struct str text);
/* & < > as entities: for HTML outside of tags, and for Slack, where they begin links and mentions.
 */
void message_put_markup(struct buf *b, struct str text);
/* Events as lines, each behind `mark` of its severity and none cut, in at most so many bytes; how
 * many do not fit or are not among these stands in the last one. */
struct str message_lines(struct arena *a, const struct message *m, message_put put,
    const char *const marks[3], size_t most);
/* "Organization · rule", or the one there is; never empty. */
struct str message_origin(struct arena *a, const struct message *m);

/* Plain text, and as HTML that needs nothing from elsewhere; lines end with CR LF. */
struct str message_text(struct arena *a, const struct message *m);
struct str message_html(struct arena *a, const struct message *m);

#endif
