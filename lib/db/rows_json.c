#include "db/rows_json.h"

#include <string.h>

#include "base/log.h"

/* pg_type.oid of the types that are not written as JSON strings. */
enum {
	OID_BOOL = 16, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_JSON = 114, OID_FLOAT4 = 700, OID_FLOAT8 = 701,
	OID_TIMESTAMPTZ = 1184, OID_NUMERIC = 1700, OID_JSONB = 3802
};

enum { COLUMNS_MOST = 64 };

/* "2026-11-20 20:24:20.123456+00" to "2026-11-20T20:24:20.123Z". Sessions run in UTC with ISO dates. */
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

struct columns {
	int n;
	struct {
		struct str name;
		Oid type;
		int index;
	} c[COLUMNS_MOST];
};

static void
columns_of(const struct query *q, struct columns *cols)
{
	int n = PQnfields(q->result);

	must(n <= COLUMNS_MOST);
	cols->n = 0;
	for (int i = 0; i < n; i++) {
		struct str name = str_from(PQfname(q->result, i));

		if (name.p[0] == '_')
			continue;
		cols->c[cols->n].name = name;
		cols->c[cols->n].type = PQftype(q->result, i);
		cols->c[cols->n++].index = i;
	}
}

static void
write_row(struct buf *b, const struct query *q, const struct columns *cols, int row)
{
	for (int i = 0; i < cols->n; i++) {
		buf_str(b, i ? STR(",\"") : STR("{\""));
		buf_str(b, cols->c[i].name);
		buf_str(b, STR("\":"));
		write_value(b, cols->c[i].type, rows_str(q, row, cols->c[i].index));
	}
	buf_str(b, cols->n ? STR("}") : STR("{}"));
}

void
rows_json_row(struct buf *b, const struct query *q, int row)
{
	struct columns cols;

	columns_of(q, &cols);
	write_row(b, q, &cols, row);
}

void
rows_json_array(struct buf *b, const struct query *q, int n)
{
	struct columns cols;

	columns_of(q, &cols);
	buf_char(b, '[');
	for (int i = 0; i < n; i++) {
		if (i)
			buf_char(b, ',');
		write_row(b, q, &cols, i);
	}
	buf_char(b, ']');
}
