/* Checks what clients send against the contract. The tables are generated from schema/api
 * (gen/inputs.h); this module only walks them. Every failure names its field by a JSON pointer (RFC
 * 6901). */
#ifndef HTTP_VALIDATE_H
#define HTTP_VALIDATE_H

#include "base/str.h"
#include "base/uuid.h"

struct arena;
struct err;
struct json_object;

struct str_list {
	struct str *v;
	size_t n;
};

struct uuid_list {
	struct uuid *v;
	size_t n;
};

/* The C type at field.offset: */
enum field_type {
	F_STR,         /* struct str */
	F_I64,         /* int64_t */
	F_F64,         /* double */
	F_BOOL,        /* bool */
	F_UUID,        /* struct uuid */
	F_TIME,        /* struct str: RFC 3339 text, already checked */
	F_STR_LIST,    /* struct str_list */
	F_UUID_LIST,   /* struct uuid_list */
	F_OBJECT,      /* struct json_object *, checked against field.shape */
	F_OBJECT_LIST, /* struct json_object * (an array of objects, or of numbers), each item
			  checked against field.item */
	F_JSON,        /* struct json_object *, any value */
	F_MAP,         /* struct json_object *, an object whose members have any name that fits the
			  pattern, each checked against field.item */
	F_SCALAR       /* struct json_object *: a string, a number or a boolean */
};

enum field_flags {
	F_REQUIRED = 1,
	F_NULLABLE = 2,
	F_UNIQUE = 4 /* a list without equal items */
};

/* A regular expression; compiled at its first use and kept for the life of the process. */
struct pattern {
	const char *text;
	void *code;
};

struct shape;

struct field {
	const char *name;
	enum field_type type;
	unsigned flags;
	size_t offset;              /* in the operation's input struct */
	int64_t least, most;        /* numbers: range; strings: code points; lists, maps: items */
	double fleast, fmost;       /* F_F64 only */
	struct pattern *pattern;    /* or NULL */
	const char *const *choices; /* NULL-terminated, or NULL */
	const char *format; /* uuid, date-time, uri, host, hostname, ipv4, ipv6, cidr; or NULL */
	const char *dflt;   /* default as text ("50", "true", "name"), or NULL */
	const struct field *item;  /* lists, maps: what each item must be */
	const struct shape *shape; /* F_OBJECT */
};

/* An object, or a set of query parameters. Bit i of the uint64_t at set_offset says that fields[i]
 * was given, bit i at null_offset that it was given as null. size 0: nested, checked but not bound
 * to a struct.
 *
 * With `variants` it is one of several objects, told apart by the member `tag`: that one whose name
 * is the tag's value. They share one struct, and `bits` gives their fields' places in its bits. */
struct shape {
	const char *name;
	const struct field *fields;
	size_t n;
	size_t size, set_offset, null_offset;
	uint64_t any_of;     /* bit i: fields[i] is one of which at least one must be given; or 0 */
	bool only_one;       /* … and at most one */
	const uint8_t *bits; /* or NULL: bit i is fields[i] */
	const struct field *tag;
	const struct shape *const *variants; /* NULL-terminated, or NULL */
};

/* Was field i (an enum constant such as CREATEPRINTER_B_NAME) given? Given as null? */
#define FIELD_SET(in, i) ((((in)->set >> (i)) & 1U) != 0)
#define FIELD_NULL(in, i) ((((in)->null >> (i)) & 1U) != 0)

#define VIOLATIONS_MAX 20

struct violation {
	struct str pointer, code, message; /* arena, or literals */
};

struct violations {
	struct violation v[VIOLATIONS_MAX];
	size_t n;
};

/* Notes one violation; beyond VIOLATIONS_MAX they are dropped. Keeps the three strings (arena or
 * literals). */
void violation_add(struct violations *v, struct str pointer, struct str code, struct str message);

/* A parsed JSON value (NULL is JSON's null) → the operation's input struct of s->size bytes,
 * cleared first, defaults filled. err_validation_failed with at least one violation. *out borrows
 * from body. */
const struct err *validate_body(struct arena *a, const struct shape *s, struct json_object *body,
    void *out, struct violations *v);
/* The raw query string, without '?' → struct. s NULL: every parameter is unknown.
 * err_unknown_parameter or err_invalid_parameter; pointers look like "/query/limit". */
const struct err *validate_query(
    struct arena *a, const struct shape *s, struct str query, void *out, struct violations *v);
/* One path segment → the member at f->offset of *out. err_invalid_parameter; pointer
 * "/path/printer_id". */
const struct err *validate_path(
    struct arena *a, const struct field *f, struct str segment, void *out, struct violations *v);
/* One text value, for example of a header, into f->offset of *out; where: the pointer's first part,
 * STR("header"). */
bool validate_text(struct arena *a, const struct field *f, struct str where, struct str text,
    void *out, struct violations *v);

#endif
