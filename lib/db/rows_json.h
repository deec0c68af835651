/* Rows become JSON: column names are field names, jsonb columns pass through, timestamptz becomes
 * RFC 3339. Columns whose names start with '_' are for the server only and are left out; neighbours
 * named "status.state" and "status.file" make one nested object, "status":{"state":…,"file":…}. */
#ifndef DB_ROWS_JSON_H
#define DB_ROWS_JSON_H

#include "base/buf.h"
#include "db/pg.h"

/* One row as an object. */
void rows_json_row(struct buf *b, const struct query *q, int row);
/* Rows [0, n) as an array of objects. */
void rows_json_array(struct buf *b, const struct query *q, int n);

#endif
