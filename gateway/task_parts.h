/* The parts of a printer's tasks, shared between task.c and send.c only. */
#ifndef GATEWAY_TASK_PARTS_H
#define GATEWAY_TASK_PARTS_H

#include "gateway/file_box.h"
#include "gateway/reading.h"
#include "gateway/task.h"

enum failure {
	FAIL_EXPIRED,
	FAIL_UNSUPPORTED,
	FAIL_STATE,
	FAIL_BUSY,
	FAIL_REFUSED,
	FAIL_NOT_CONFIRMED,
	FAIL_UNKNOWN,
	FAIL_FILE_GONE,
	FAIL_STORAGE,
	FAIL_UPLOAD,
	FAIL_UPLOAD_REFUSED,
	FAIL_NO_SPACE,
	FAIL_NOT_STARTED,
	FAIL_START_UNKNOWN
};

enum stage {
	STAGE_WAITING, /* for its turn, until deadline_ms */
	STAGE_SENT,    /* a command: given to the printer, or perhaps by a predecessor */
	STAGE_OPENING, /* a send: the file is being fetched */
	STAGE_READY,   /* open, to be uploaded */
	STAGE_UPLOADING,
	STAGE_MARKING,  /* the start is being written down */
	STAGE_STARTING, /* it is: the printer may be told */
	STAGE_STARTED   /* it was told, or perhaps by a predecessor */
};

struct task {
	struct tasks *ts;
	struct task *next;
	struct uuid job, file;
	enum stage stage;
	int64_t deadline_ms; /* monotonic: until when the stage may last */
	bool is_send, start, marked, cancelled, over;
	bool showed;   /* the record showed it, or a job like it, before it was sent */
	bool answered; /* by `answer`, with `words` */
	enum answer answer;
	char words[200];
	struct command command;
	/* Sends. */
	struct transfer transfer;
	struct file_call *opening;
	struct uuid blob;
	bool remote;
	int tries;
	int64_t again_ms; /* monotonic: no upload before */
	int64_t told_ms;  /* progress, last */
};

struct tasks {
	struct session *s;
	struct task *first;    /* in the order they came */
	struct task *awaiting; /* whose command or start the printer has not answered yet */
	struct timer timer;
	bool running, again;
	int64_t guard_until_ms; /* a start was sent: no other one before */
};

int64_t tasks_now(const struct tasks *ts); /* monotonic */
/* So long from now, by this gateway's patience. */
int64_t tasks_within(const struct tasks *ts, int64_t ms);
struct task *tasks_find(const struct tasks *ts, struct uuid job);

/* Once; later ends are ignored. */
void task_over(struct task *t, const struct task_end *end);
void task_fail(struct task *t, enum failure f);

bool answer_is_refusal(enum answer a);
enum failure answer_failure(enum answer a);

/* send.c */
void task_take_send(struct task *t, const struct work_task *w);
void task_advance_send(struct task *t);
void task_uploaded(struct task *t, enum upload_end end);

#endif
