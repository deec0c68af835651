#include "db/rows_csv.h"

#include <csv.h>
#include <string.h>

#include "base/log.h"

/* Values that spreadsheets compute (OWASP, CSV injection). */
static bool
is_formula(struct str s)
{
	return s.n && memchr("=+-@\t\r", s.p[0], 6) != NULL;
}

void
csv_value(struct buf *b, struct str s)
{
	struct buf guarded;
	struct str value = s;
	char *out;
	size_t n;

	buf_init(&guarded, s.n + 1);
	if (is_formula(s)) {
		buf_char(&guarded, '\'');
		buf_str(&guarded, s);
		value = buf_view(&guarded);
	}
	n = csv_write(NULL, 0, value.n ? value.p : "", value.n);
	out = buf_room(b, n);
	if (out)
		csv_write(out, n, value.n ? value.p : "", value.n);
	buf_fini(&guarded);
}

/* Calls for every column that is shown. */
static bool
shown(const struct query *q, int column)
{
	return PQfname(q->result, column)[0] != '_';
}

void
rows_csv_header(struct buf *b, const struct query *q)
{
	const char *comma = "";

	for (int c = 0; c < PQnfields(q->result); c++) {
		if (!shown(q, c))
			continue;
		buf_str(b, str_from(comma));
		csv_value(b, str_from(PQfname(q->result, c)));
		comma = ",";
	}
	buf_str(b, STR("\r\n"));
}

static void
write_line(struct buf *b, const struct query *q, int row)
{
	const char *comma = "";

	for (int c = 0; c < PQnfields(q->result); c++) {
		if (!shown(q, c))
			continue;
		buf_str(b, str_from(comma));
		csv_value(b, rows_str(q, row, c));
		comma = ",";
	}
	buf_str(b, STR("\r\n"));
}

void
rows_csv(struct buf *b, const struct query *q, int n)
{
	for (int row = 0; row < n; row++)
		write_line(b, q, row);
}
