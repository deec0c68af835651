/* Notes for the history: what makes one, how many there can be, how they are written. */
#include "gateway/notes.h"
#include "gateway/status.h"

#include "tap.h"

static struct rec_errors
errors_of(const char *a, const char *b)
{
	struct rec_errors e = {0};

	for (int i = 0; i < 2; i++) {
		const char *code = i ? b : a;

		if (!code)
			continue;
		snprintf(e.e[e.n].code, sizeof(e.e[0].code), "%s", code);
		e.e[e.n++].severity = SEVERITY_SERIOUS;
	}
	return e;
}

static void
test_errors(void)
{
	struct notes n = {0};
	struct rec_errors none = {0}, a = errors_of("A", NULL), ab = errors_of("A", "B"),
			  b = errors_of("B", NULL);

	notes_errors(&n, &none);
	is_int(n.n, 0, "none were there, none are");
	notes_errors(&n, &a);
	notes_errors(&n, &a);
	is_int(n.n, 1, "one appears, once");
	ok(n.list[0].active && strcmp(n.list[0].code, "A") == 0, "which");
	notes_errors(&n, &ab);
	notes_errors(&n, &b);
	is_int(n.n, 3, "another, and the first one goes");
	ok(!n.list[2].active && strcmp(n.list[2].code, "A") == 0, "which");
	is_str(str_from(n.list[2].a), STR("serious"), "how bad it was");
	notes_errors(&n, &none);
	is_int(n.n, 4, "nothing is left");
	notes_fini(&n);
}

static void
test_recall(void)
{
	struct notes n = {0};
	struct rec_errors a = errors_of("A", NULL), none = {0};

	notes_recall(&n, STR("A much-too-long-to-be-a-code-of-anything B"));
	notes_errors(&n, &a);
	is_int(n.n, 1, "what was told before is no news; what is gone is");
	ok(!n.list[0].active && strcmp(n.list[0].code, "B") == 0, "which");
	notes_errors(&n, &none);
	is_int(n.n, 2, "and then the other");
	notes_fini(&n);
	notes_recall(&n, STR_NONE);
	is_int(n.n_told, 0, "nothing to recall");
}

static void
test_bounds(void)
{
	struct notes n = {0};

	for (int i = 0; i < NOTES_MOST; i++)
		note_connection(&n, i % 2 ? "connected" : "connecting", NULL);
	is_int(n.n, NOTES_MOST, "so many");
	n.sending = 2;
	note_connection(&n, "disconnected", "unreachable");
	is_int(n.n, NOTES_MOST, "no more");
	is_int(n.lost, 1, "one was given up");
	is_str(str_from(n.list[0].a), STR("connecting"), "not one that is on its way");
	is_str(str_from(n.list[NOTES_MOST - 1].a), STR("disconnected"), "the newest is there");
	for (int i = 0; i < 1000; i++)
		note_connection(&n, "connected", NULL);
	ok(n.lost > 1000 - 40, "a printer that changes all the time is cut short: %d lost",
	    (int)n.lost);
	n.sending = n.n;
	notes_sent(&n);
	is_int(n.n, 0, "sent");
	ok(n.list == NULL, "an empty list costs nothing");
	notes_fini(&n);
}

static void
test_line(void)
{
	struct notes n = {0};
	struct rec_errors bad = errors_of("a\"\\b", NULL);
	struct uuid u;
	struct buf b;

	ok(uuid_parse(STR("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"), &u), "id");
	buf_init(&b, 4096);
	note_state(&n, u, "printing", "failed", "cancelled");
	n.list[0].at_ms = 1700000000123;
	note_line(&b, u, u, &n.list[0]);
	is_str(buf_view(&b),
	    STR("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\t0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\t2023-11-14T22:13:20.123Z\t"
		"0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\tstate\t"
		"{\"from\":\"printing\",\"to\":\"failed\",\"outcome\":\"cancelled\"}\n"),
	    "a line");
	notes_errors(&n, &bad);
	n.list[1].id = u;
	n.list[1].at_ms = 1700000000123;
	buf_clear(&b);
	note_line(&b, u, u, &n.list[1]);
	is_str(buf_view(&b),
	    STR("0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\t0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\t2023-11-14T22:13:20.123Z\t"
		"0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\terror\t"
		"{\"severity\":\"serious\",\"code\":\"a\\\\\"\\\\\\\\b\",\"active\":true}\n"),
	    "what JSON escapes, COPY's format escapes again");
	buf_fini(&b);
	notes_fini(&n);
}

static void
test_status(void)
{
	struct status s;

	status_init(&s, NULL, uuid_v7(), uuid_v7());
	status_connection(&s, CONN_CONNECTED, REASON_NONE);
	status_connection(&s, CONN_CONNECTED, REASON_NONE);
	status_event(&s, (struct status_event){.type = EVENT_STATE_CHANGED, .to = PRINTER_IDLE});
	status_event(&s, (struct status_event){.type = EVENT_ONLINE});
	is_int(s.notes.n, 2, "a connection, a state; that it is online says the connection");
	ok(uuid_eq(s.notes.list[1].id, s.events[0].id), "the event and its row have one id");
	status_fini(&s);
}

int
main(void)
{
	test_errors();
	test_recall();
	test_bounds();
	test_line();
	test_status();
	return tap_done();
}
