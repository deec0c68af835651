/* Rows become CSV (RFC 4180): quoted values, lines that end with CR LF. Columns whose names start
 * with '_' are left out. A value that a spreadsheet would take for a formula gets an apostrophe in
 * front. */
#ifndef DB_ROWS_CSV_H
#define DB_ROWS_CSV_H

#include "base/buf.h"
#include "db/pg.h"

/* The columns' names as one line. */
void rows_csv_header(struct buf *b, const struct query *q);
/* Rows [0, n), one line each; NULL is an empty value. */
void rows_csv(struct buf *b, const struct query *q, int n);
/* One value; buf_str(b, STR("\r\n")) ends a line. */
void csv_value(struct buf *b, struct str s);

#endif
