/* The publisher's loop. */
#ifndef COURIER_PUBLISH_H
#define COURIER_PUBLISH_H

struct courier;

void publish_work(struct courier *c);

#endif
