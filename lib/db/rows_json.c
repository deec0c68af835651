#include "db/rows_json.h"

#include <string.h>

#include "base/log.h"

/* pg_type.oid of the types that are not written as JSON strings. */
enum {
	OID_BOOL = 16,
	OID_INT8 = 20,
	OID_INT2 = 21,
	OID_INT4 = 23,
	OID_JSON = 114,
	OID_FLOAT4 = 700,
	OID_FLOAT8 = 701,
	OID_TIMESTAMPTZ = 1184,
	OID_NUMERIC = 1700,
	OID_JSONB = 3802
};

enum { COLUMNS_MOST = 64 };

/* "2026-11-20 20:24:20.123456+00" to "2026-11-20T20:24:20.123Z". Sessions run in UTC with ISO
 * dates. */
static void
write_time(struct buf *b, struct str s)
{
	char out[32] = "\"YYYY-MM-DDThh:mm:ss.000Z\"";
	size_t digits;

	must(s.n >= 22 && s.p[10] == ' ' && memcmp(s.p + s.n - 3, "+00", 3) == 0);
	memcpy(out + 1, s.p, 19);
	out[11] = 'T';
	digits = s.n > 23 ? s.n - 23 : 0;
	if (digits)
		memcpy(out + 21, s.p + 20, digits < 3 ? digits : 3);
	buf_add(b, out, 26);
}

/* NaN and the infinities have no JSON form. */
static void
write_number(struct buf *b, struct str s)
{
	char last = s.n ? s.p[s.n - 1] : 'x';

	if (last >= '0' && last <= '9')
		buf_str(b, s);
	else
		buf_str(b, STR("null"));
}

static void
write_value(struct buf *b, Oid type, struct str s)
{
	if (!s.p) {
		buf_str(b, STR("null"));
		return;
	}
	switch (type) {
	case OID_BOOL:
		buf_str(b, s.p[0] == 't' ? STR("true") : STR("false"));
		break;
	case OID_INT2:
	case OID_INT4:
	case OID_INT8:
	case OID_JSON:
	case OID_JSONB:
		buf_str(b, s);
		break;
	case OID_FLOAT4:
	case OID_FLOAT8:
	case OID_NUMERIC:
		write_number(b, s);
		break;
	case OID_TIMESTAMPTZ:
		write_time(b, s);
		break;
	default:
		buf_json_str(b, s);
	}
}

/* What is written before a value, for example `,"status":{"state":`, is the same in every row. */
struct columns {
	int n;
	struct {
		struct str lead;
		Oid type;
		int index;
	} c[COLUMNS_MOST];
	struct str tail;
	struct buf text; /* holds the leads */
};

/* Moves from object `*open` (empty: the row itself) to the object of this column, and names the
 * column. */
static void
write_lead(struct buf *b, struct str *open, struct str name, bool first)
{
	ptrdiff_t dot = str_index(name, '.');
	struct str object = dot < 0 ? STR_NONE : (struct str){name.p, (size_t)dot};
	struct str member = dot < 0 ? name
				    : (struct str){name.p + dot + 1, name.n - (size_t)dot - 1};
	bool enters = object.n && !str_eq(object, *open);

	if (open->n && !str_eq(object, *open))
		buf_char(b, '}');
	buf_str(b, first ? STR("{") : STR(","));
	if (enters)
		buf_fmt(b, "\"%.*s\":{", STR_ARG(object));
	buf_fmt(b, "\"%.*s\":", STR_ARG(member));
	*open = object;
}

static void
columns_init(struct columns *cols, const struct query *q)
{
	int n = PQnfields(q->result);
	size_t starts[COLUMNS_MOST + 1] = {0};
	struct str open = STR_NONE;

	must(n <= COLUMNS_MOST);
	*cols = (struct columns){.n = 0};
	buf_init(&cols->text, 16384);
	for (int i = 0; i < n; i++) {
		struct str name = str_from(PQfname(q->result, i));

		if (name.p[0] == '_')
			continue;
		starts[cols->n] = cols->text.n;
		write_lead(&cols->text, &open, name, cols->n == 0);
		cols->c[cols->n].type = PQftype(q->result, i);
		cols->c[cols->n++].index = i;
	}
	must(!cols->text.overflow);
	starts[cols->n] = cols->text.n;
	for (int i = 0; i < cols->n; i++)
		cols->c[i].lead = (struct str){cols->text.p + starts[i], starts[i + 1] - starts[i]};
	cols->tail = cols->n == 0 ? STR("{}") : open.n ? STR("}}") : STR("}");
}

static void
write_row(struct buf *b, const struct query *q, const struct columns *cols, int row)
{
	for (int i = 0; i < cols->n; i++) {
		buf_str(b, cols->c[i].lead);
		write_value(b, cols->c[i].type, rows_str(q, row, cols->c[i].index));
	}
	buf_str(b, cols->tail);
}

void
rows_json_row(struct buf *b, const struct query *q, int row)
{
	struct columns cols;

	columns_init(&cols, q);
	write_row(b, q, &cols, row);
	buf_fini(&cols.text);
}

void
rows_json_array(struct buf *b, const struct query *q, int n)
{
	struct columns cols;

	columns_init(&cols, q);
	buf_char(b, '[');
	for (int i = 0; i < n; i++) {
		if (i)
			buf_char(b, ',');
		write_row(b, q, &cols, i);
	}
	buf_char(b, ']');
	buf_fini(&cols.text);
}
