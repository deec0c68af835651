/* Every kind of job and every timer: a line here is all that the courier needs to know of one. */
#include "courier/courier.h"
#include "courier/job.h"

const struct job_kind job_kinds[] = {
    {NULL, NULL, 0, NULL}, /* the end */
};
const size_t n_job_kinds = sizeof(job_kinds) / sizeof(job_kinds[0]) - 1;

const struct timer timers[] = {
    {"jobs_prune", timer_jobs_prune}, {NULL, NULL}, /* the end */
};
const size_t n_timers = sizeof(timers) / sizeof(timers[0]) - 1;
