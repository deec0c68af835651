/* Errors are entries of one catalogue, written in schema/api/errors.yaml and generated to C.
 * A function that can fail returns `const struct err *`: NULL is success. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

struct err {
	const char *code;     /* snake_case, as clients see it */
	int status;           /* HTTP status */
	const char *title;    /* one fixed sentence, for problem+json */
	const char *sqlstate; /* five characters, or NULL when no SQLSTATE maps here */
	int retry_after_s;    /* 0: no Retry-After */
};

#endif
