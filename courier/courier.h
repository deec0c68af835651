/* What a process of the courier works with: the publisher, a sender, or a worker that does one job
 * at a time. All but the sender's requests is blocking. */
#ifndef COURIER_COURIER_H
#define COURIER_COURIER_H

#include "base/arena.h"
#include "base/uuid.h"
#include "db/pg.h"
#include "net/fetch.h"
#include "proc/worker.h"

struct job;
struct s3;
struct s3_config;
struct seal_private;
struct store;

struct courier_config {
	const char *db, *name;
	bool unnamed;        /* statements are sent as text: for poolers */
	const char *storage; /* directory of the local store; "": none */
	const char *scan;    /* path of soloprint-scan; "": beside this program */
	struct fetch_rules fetch;
	int64_t import_most_bytes;
	const char *key;            /* PEM file that opens sealed secrets; "": they stay shut */
	const char *events_publish; /* nginx' socket for events; "": none are sent there */
	const char *smtp_url;       /* with user and password, never logged; "": no mail */
	const char *smtp_ca, *mail_from;
	int64_t senders, workers, lease_ms, drain_ms;
};

struct courier {
	const struct courier_config *cfg;
	struct uuid id; /* this process', new at each start */
	struct str name;
	struct pg *pg;
	struct seal_private *key; /* a sender's; NULL: nothing sealed can be opened */
	/* A worker's. */
	struct store *store; /* NULL without SOLOPRINT_STORAGE */
	const struct s3_config *s3_config;
	struct s3 *s3;         /* NULL when no service is configured; jobs use job_s3 */
	struct arena *arena;   /* as long as the process */
	struct arena *scratch; /* for one round trip; emptied by the next one who needs it */
	struct uuid served;    /* organisation of the last job: the next ones come first */
	int64_t beat_at_ms, timers_at_ms;
};

/* How many processes there are. */
int64_t courier_processes(const struct courier_config *cfg);
/* The life of one of them. Returns the exit status. */
int courier_work(const struct courier_config *cfg, const struct proc_worker *w);

/* For work that takes long and belongs to no job (timers): tells that this worker lives, at most
 * every five seconds however often it is called. False: the process is ending, stop. */
bool courier_beat(struct courier *c);

/* Runs statements as one transaction in no organisation; false when it failed, which has been
 * logged. Results stay in the queries' arena. */
bool courier_ask(struct courier *c, struct query *list);

/* --- claim.c: from the index and back --------------------------------------------------------- */

/* Claims a job; NULL when there is none to do. */
struct job *job_claim(struct courier *c);
/* Runs the job and ends it, whatever comes. */
void job_do(struct job *j);
void job_free(struct job *j);

/* How long to wait after `attempt` (1 …) has failed: base, doubled with each, at most an hour, and
 * of that from one half to one and a half. random: any. */
int64_t job_backoff_ms(int64_t base_ms, int attempt, uint16_t random);

/* --- timers ----------------------------------------------------------------------------------- */

/* What is due again and again: a row of sec.timers and a line in the table of kinds.c. Whichever
 * worker comes first does it; a run that breaks off is not made good before the next one. Calls
 * courier_beat now and then. */
struct timer {
	const char *name;
	void (*run)(struct courier *c);
	bool often; /* every few seconds: its runs are no news */
};

extern const struct timer timers[];
extern const size_t n_timers;

/* Runs the timers that are due. */
void timers_run(struct courier *c);

/* Forgets finished jobs and expired idempotency keys (timer jobs_prune). */
void timer_jobs_prune(struct courier *c);
/* Forgets events and what was sent of them after 30 days. */
void timer_events_prune(struct courier *c);
void timer_tasks_expire(struct courier *c);
/* Makes the coming months of the printers' history and drops those of 90 days ago. */
void timer_printer_history(struct courier *c);
void timer_queue(struct courier *c);

#endif
