/* Settings come from the environment, by one table per process; see docs/operations.md. */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include "str.h"

struct config_item {
	const char *name; /* the variable, for example "SOLOPRINT_DB" */
	enum { CFG_STR, CFG_INT, CFG_BOOL } kind;
	void *out;        /* const char ** (borrowed from the environment), int64_t * or bool * */
	const char *dflt; /* NULL: the setting is required */
	int64_t least, most; /* CFG_INT only; units are in the variable's name (_MS, _S, _BYTES) */
	const char *help;
};

/* Reads every item. False when one is missing or malformed; each such item is logged by name, never
 * its value. */
bool config_load(const struct config_item *items, size_t n);

/* Reads a small file (a key, a certificate) into the arena; STR_NONE when it cannot be read or is
 * over cap bytes. */
struct str config_file(struct arena *a, const char *path, size_t cap);

#endif
