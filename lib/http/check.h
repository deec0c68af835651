/* The checks that bodies, queries and paths share; part of the validator (http/validate.h), not for
 * handlers. `to` is where a good value goes, NULL when it is only checked; `at` names it. False: a
 * violation was noted. */
#ifndef HTTP_CHECK_H
#define HTTP_CHECK_H

#include "http/pointer.h"
#include "http/validate.h"

struct check {
	struct arena *arena;
	struct violations *v;
};

/* Notes a violation; always false. code: a literal; message: arena or literal. */
bool check_fail(struct check *w, const struct pointer *at, const char *code, struct str message);

/* base + offset; NULL stays NULL. */
void *check_slot(void *base, size_t offset);
/* s->n when there is no such field. */
size_t check_field_index(const struct shape *s, struct str name);
/* Fields whose bit is not in `set`: a violation when required, else their default goes to *out. */
void check_missing(
    struct check *w, const struct shape *s, uint64_t set, const struct pointer *at, void *out);

/* The members of which one, or only one, must be given. */
void check_any_of(struct check *w, const struct shape *s, uint64_t set, const struct pointer *at);

/* Strings, UUIDs and times; *to borrows s. */
bool check_text(
    struct check *w, const struct field *f, struct str s, const struct pointer *at, void *to);
bool check_i64(
    struct check *w, const struct field *f, int64_t i, const struct pointer *at, void *to);
bool check_bool(bool b, void *to);
/* Any of them, written as text. */
bool check_scalar(
    struct check *w, const struct field *f, struct str s, const struct pointer *at, void *to);

bool check_count(struct check *w, const struct field *f, size_t n, const struct pointer *at);
/* list: the struct str_list or struct uuid_list, of n items. */
bool check_unique(
    struct check *w, const struct field *f, const void *list, size_t n, const struct pointer *at);
/* Adds n cleared items to the list at `to`; gives the first one's place, and in *size how far apart
 * they are. */
void *check_list_grow(struct check *w, const struct field *f, void *to, size_t n, size_t *size);

#endif
