/* Jobs on single objects of the store, and how jobs use the S3 service. */
#ifndef COURIER_MOVES_H
#define COURIER_MOVES_H

#include "courier/job.h"
#include "store/s3.h"

/* blob.move {blob_id, to}: brings an object to another location and has the old one removed after a
 * grace time. The bytes are compared with the blob's digest before anything refers to them. */
enum job_end job_blob_move(struct job *j);
/* blob.delete {blob_id, location}: removes an object unless the blob claims it. */
enum job_end job_blob_delete(struct job *j);

/* The S3 client, which keeps the job's lease while it works and stops when the job must. NULL after
 * job_error when no service is configured: return JOB_RETRY. */
struct s3 *job_s3(struct job *j);
/* What to return when a call did not end with S3_DONE; says why with job_error. */
enum job_end job_s3_failed(struct job *j, enum s3_end end);

#endif
