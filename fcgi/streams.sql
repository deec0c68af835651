-- Live streams: what each begins with, and its channels.

-- name: stream_open :one
-- params: uuid, uuid, int8, int8, int, int
SELECT o.channels, o.sequence, o.snapshot, m.missed, o.gap OR m.cut AS gap
	FROM sec.stream_open($1, $2, to_timestamp($3), $4, $5) AS o,
		LATERAL (SELECT '[' || coalesce(string_agg(x.payload, ',' ORDER BY x.n) FILTER (WHERE x.bytes <= $6), '') || ']' AS missed,
				coalesce(bool_or(x.bytes > $6), false) AS cut
			FROM (SELECT u.payload, u.n, sum(octet_length(u.payload)) OVER (ORDER BY u.n) AS bytes
				FROM unnest(o.missed) WITH ORDINALITY AS u (payload, n)) AS x) AS m;
