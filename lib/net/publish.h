/* Publishes to nginx (nchan) at a unix socket of its own: whoever listens to a channel gets what is
 * posted to it. One connection, kept; nothing waits longer than two seconds. */
#ifndef NET_PUBLISH_H
#define NET_PUBLISH_H

#include "base/str.h"

struct publish;

/* Connects when it is first used. socket_path: borrowed until publish_free. */
struct publish *publish_new(const char *socket_path);
void publish_free(struct publish *p);

/* One message to each of these channels, "a,b,c". True when nginx has it, also when nobody listens.
 * False: it may have arrived all the same, and may be sent again. */
bool publish_post(struct publish *p, struct str channels, struct str payload);
/* When the message that was posted last was taken, in Unix time by nginx' clock; 0 when it did not
 * say so. */
int64_t publish_time_s(const struct publish *p);
/* Ends everybody who listens to one of these channels, whatever else they listen to. True as well
 * when nobody does. */
bool publish_end(struct publish *p, struct str channels);

/* A stream listens to "until.<n>" too, and ends when n times PUBLISH_UNTIL_S seconds of Unix time
 * have passed. Whoever publishes calls publish_tick every few seconds or more often; mostly it does
 * nothing. False: to be called again. */
enum { PUBLISH_UNTIL_S = 10 };
bool publish_tick(struct publish *p);

/* Why the last call returned false: words for the log. */
const char *publish_reason(const struct publish *p);
/* Will it be the same whenever it is tried again? (It is too large, or no channel's name.) */
bool publish_refused(const struct publish *p);

#endif
