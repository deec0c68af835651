/* Every kind of job and every timer: a line here is all that the courier needs to know of one. */
#include "courier/kinds.h"
#include "courier/courier.h"
#include "courier/job.h"
#include "courier/moves.h"
#include "courier/sweep.h"

/* Name, function, ms before the second attempt, what clears up. */
const struct job_kind job_kinds[] = {
    {"file.import", import_run, 10000, import_given_up},      /* fetched from a URL */
    {"file.finalize", finalize_run, 5000, finalize_given_up}, /* an upload's parts made one */
    {"file.analyze", analyze_run, 5000, analyze_given_up},    /* read by soloprint-scan */
    {"file.expire", expire_run, 10000, NULL},                 /* an upload that never came */
    {"file.purge", purge_run, 10000, NULL},                   /* out of the trash */
    {"blob.move", job_blob_move, 10000, NULL},                /* to another store */
    {"blob.delete", job_blob_delete, 10000, NULL},            /* its object */
    {NULL, NULL, 0, NULL},                                    /* the end */
};
const size_t n_job_kinds = sizeof(job_kinds) / sizeof(job_kinds[0]) - 1;

/* Name, function, often. */
const struct timer timers[] = {
    {"jobs_prune", timer_jobs_prune, false},           /* what ended long ago */
    {"store_sweep", timer_store_sweep, false},         /* what is in the store and nobody's */
    {"tasks_expire", timer_tasks_expire, false},       /* what no gateway began in time */
    {"printer_history", timer_printer_history, false}, /* months to come, months gone by */
    {"events_prune", timer_events_prune, false},       /* events, deliveries, notifications */
    {"queue", timer_queue, true},                      /* what may be printed next, every second */
    {NULL, NULL, false},                               /* the end */
};
const size_t n_timers = sizeof(timers) / sizeof(timers[0]) - 1;
