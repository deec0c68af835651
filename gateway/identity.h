/* Which gateway this is. The name is the host's and the configured one. While a process lives, no
 * other of the same host, name and database can be the only one of that name; so what a former one
 * held in the database is free. */
#ifndef GATEWAY_IDENTITY_H
#define GATEWAY_IDENTITY_H

#include <stdbool.h>

struct identity {
	char name[192];
	bool sole;
	int fd; /* an abstract socket: the kernel gives it up when the process ends, however it ends
		 */
};

/* When the name is taken by a living process, the process id is added to it. */
void identity_init(struct identity *id, const char *name, const char *database);
void identity_fini(struct identity *id);

#endif
