/* A Bambu printer's session, as the driver's files share it. Not for others. */
#ifndef GATEWAY_BAMBU_SESSION_H
#define GATEWAY_BAMBU_SESSION_H

#include "gateway/bambu_command.h"
#include "gateway/bambu_ftps.h"
#include "gateway/bambu_tls.h"

struct mosquitto;

struct bambu_env {
	struct bambu_tls tls;
	struct json_tokener *tokener;
	struct ftps *ftps;
	const char *ca_path;
	int ftps_port;
	bool ftps_above; /* ftps_port counts from the printer's MQTT port */
};

/* The command or start whose answer is awaited. */
struct bambu_order {
	bool waiting;
	bool was_unsigned; /* the sign that commands need a signature was there before */
	const char *section, *command;
	uint32_t sequence;
	int64_t sent_us;
	const struct transfer *start; /* NULL: a command */
	struct timer timer;
};

/* After a start no other one, whatever the printer says of itself, until its job has been seen or
 * the time is up: it may go on saying FINISH or IDLE. */
struct bambu_guard {
	int64_t until_ms; /* monotonic; 0: none */
	int32_t task_id;
	bool seen; /* the printer has been busy since */
};

struct bambu {
	struct bambu_env *env;
	struct session *s;
	struct mosquitto *m;
	struct watch watch;
	struct timer tick;
	struct bambu_state state;
	const struct bambu_model *model;
	uint64_t counted; /* bytes received until the last message */
	int64_t asked_ms, ask_wait_ms;
	unsigned generation; /* of the client id; goes up to shake off a half-dead session */
	uint32_t sequence;
	enum conn_reason failure; /* noted in a callback, handled after it */
	char topic[128], request[128];
	char address[64];
	int port;
	struct bambu_order order;
	struct bambu_guard guard;
	struct ftps_job *upload; /* NULL: none runs */
	bool clear_data;         /* learned: its data connections cannot be encrypted */
};

/* bambu.c: false when it cannot be given to the connection. */
bool bambu_send(struct bambu *b, const struct bambu_message *m);
/* The connection is no good: ends it; the next is another client to the printer. */
void bambu_start_over(struct bambu *b);

/* bambu_order.c */
void bambu_order_init(struct bambu *b);
void bambu_command(void *d, const struct command *c);
void bambu_start(void *d, struct transfer *t);
bool bambu_is_its_job(const void *d, const struct transfer *t, const struct record *r);
/* The state has changed. */
void bambu_order_report(struct bambu *b);
void bambu_order_answer(struct bambu *b, const struct bambu_answer *a);
/* The connection ends. tell: say that nobody knows. */
void bambu_order_drop(struct bambu *b, bool tell);

/* bambu_upload.c */
void bambu_upload(void *d, struct transfer *t);
void bambu_abort(void *d);
/* The connection ends. tell: say that it broke. */
void bambu_upload_drop(struct bambu *b, bool tell);

#endif
