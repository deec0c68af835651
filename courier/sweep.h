/* The hourly sweep of the store (timer store_sweep): removes objects that nothing refers to and
 * uploads that nobody waits for, of the directory and of the S3 service. Every run begins at
 * another place, so that runs that are broken off come round too. */
#ifndef COURIER_SWEEP_H
#define COURIER_SWEEP_H

struct courier;

void timer_store_sweep(struct courier *c);

#endif
