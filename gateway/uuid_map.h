/* Pointers by UUID. The values are borrowed. */
#ifndef GATEWAY_UUID_MAP_H
#define GATEWAY_UUID_MAP_H

#include "base/uuid.h"

struct uuid_map {
	struct uuid_map_slot *slots;
	size_t n, room; /* room: 0 or a power of two */
};

struct uuid_map_slot {
	struct uuid key;
	void *value; /* NULL: free */
};

/* A zeroed struct is an empty map. */
void uuid_map_fini(struct uuid_map *m);
void *uuid_map_get(const struct uuid_map *m, struct uuid key); /* NULL: none */
/* value is not NULL; replaces what was there. */
void uuid_map_put(struct uuid_map *m, struct uuid key, void *value);
/* Removes and returns it. */
void *uuid_map_take(struct uuid_map *m, struct uuid key);
/* Walks the map: start with *at = 0; NULL at the end. The map must not be changed meanwhile. */
void *uuid_map_next(const struct uuid_map *m, size_t *at);

#endif
