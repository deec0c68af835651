/* How an item of the queue gets to a printer, and that it never gets there twice: schema/db/deploy/queue_moves.sql and
 * printer_tasks.sql with the gateways of gateway/send.c. What a transaction does is one atomic step, except that it looks at
 * the queue before it has its locks. Gateways stop anywhere, for ever (crash) or for a while (another takes over meanwhile).
 *
 * Defended: a generation is given to a printer at most once; a later one only when it is known, or somebody has said, what
 * became of the earlier ones; a printer is held by at most one item; what was cancelled before the mark is not started.
 *
 * What must break is switched on by -D: NO_LOCK with NO_INDEX (neither the printer's lock nor the unique index; one of them is
 * enough), NO_CAS (an assignment does not ask whether the item is still queued), START_FIRST (a start is given to the printer
 * before it is marked), RESEND (who takes over starts what had been marked), NO_FENCE (marks and ends do not ask for the
 * lease's token), NO_CANCEL (a mark does not ask whether it was cancelled), BLIND (nobody knows: sent again).
 */

#ifndef ITEMS
#define ITEMS 1
#endif
#ifndef PRINTERS
#define PRINTERS 2
#endif
#define GENERATIONS 3 /* 0: none yet */
#define NONE 255

#ifndef CRASHES
#define CRASHES 1
#endif
#ifndef TAKEOVERS
#define TAKEOVERS 1
#endif
#ifndef HUMAN
#define HUMAN 2
#endif

mtype = { queued, dispatching, printing, start_unknown, completed, failed, cancelled };
mtype = { absent, waiting, begun, starting };

typedef item_t {
	mtype state = queued;
	byte generation;
	byte printer = NONE;
	bool cancelling;
	byte issued[GENERATIONS]; /* starts given to a printer */
	bool closed[GENERATIONS]; /* known not to have started, or looked at by somebody */
	bool barred[GENERATIONS]; /* cancelled before it was marked */
};
typedef printer_t {
	bool deleted, locked;
	byte running = NONE, running_generation; /* what it really prints */
	byte owner = NONE, fencing;		 /* its lease */
	mtype phase = absent;			 /* its task */
	byte item, generation, by, token;
	bool cancel;
};

item_t item[ITEMS];
printer_t printer[PRINTERS];
byte crashes, takeovers, human;

#define HOLDS(i) (item[i].state == dispatching || item[i].state == printing || item[i].state == start_unknown)
#define ON(i, p) (HOLDS(i) && item[i].printer == p)
#if ITEMS == 1
#define HELD(p) ON(0, p)
#define AT_MOST_ONE skip
#else
#define HELD(p) (ON(0, p) || ON(1, p))
#define AT_MOST_ONE assert(!(HOLDS(0) && HOLDS(1) && item[0].printer == item[1].printer))
#endif

#define NEXT(i) (item[i].state == queued && item[i].generation + 1 < GENERATIONS)
#ifdef NO_CAS
#define STILL_QUEUED(i) true
#else
#define STILL_QUEUED(i) (item[i].state == queued)
#endif

#ifdef NO_INDEX
#define ALLOWED(p) true
#else
#define ALLOWED(p) !HELD(p)
#endif

/* Looks first, then locks, then looks again at what it locked: sec.dispatch_next, sec.queue_assign, sec.queue_match_fleet. */
proctype dispatcher()
{
	byte p, i;
end:
	do
	:: atomic {
		select (p : 0 .. PRINTERS - 1);
#ifndef NO_LOCK
		!printer[p].locked;
		printer[p].locked = true;
#endif
		select (i : 0 .. ITEMS - 1);
		if
		:: printer[p].deleted || HELD(p) || printer[p].running != NONE || printer[p].phase != absent || !NEXT(i) -> i = NONE
		:: else
		fi
	   };
	   atomic {
		if
		:: i != NONE && STILL_QUEUED(i) && ALLOWED(p) && item[i].generation + 1 < GENERATIONS ->
			item[i].state = dispatching;
			item[i].generation++;
			item[i].printer = p;
			item[i].cancelling = false;
			AT_MOST_ONE;
			printer[p].phase = waiting;
			printer[p].item = i;
			printer[p].generation = item[i].generation;
			printer[p].cancel = false
		:: else
		fi;
		printer[p].locked = false;
		i = 0; p = 0
	   }
	od
}

/* A task is gone; what is left of it would only make states that differ in nothing. */
inline forget(p)
{
	printer[p].phase = absent;
	printer[p].item = 0;
	printer[p].generation = 0;
	printer[p].by = 0;
	printer[p].token = 0;
	printer[p].cancel = false
}

/* What an item becomes when its send has ended: sec.queue_follow_send. */
inline follow_send(p, how)
{
	if
	:: item[printer[p].item].state == dispatching && item[printer[p].item].generation == printer[p].generation ->
		if
		:: how == printing -> item[printer[p].item].state = printing
		:: how == cancelled -> item[printer[p].item].state = cancelled
		:: how == start_unknown ->
#ifdef BLIND
			item[printer[p].item].state = queued
#else
			item[printer[p].item].state = start_unknown
#endif
		:: how == failed && item[printer[p].item].cancelling -> item[printer[p].item].state = cancelled
		:: how == failed && !item[printer[p].item].cancelling -> item[printer[p].item].state = queued
		fi
	:: else
	fi;
	AT_MOST_ONE;
	forget(p)
}

#ifdef NO_FENCE
#define MINE(p) (printer[p].phase != absent && printer[p].phase != waiting && printer[p].item == i && printer[p].generation == g)
#else
#define MINE(p) (!printer[p].deleted && printer[p].owner == _pid && printer[p].fencing == token && printer[p].phase != absent \
		&& printer[p].phase != waiting && printer[p].by == _pid && printer[p].token == token \
		&& printer[p].item == i && printer[p].generation == g)
#endif

#define TO_DO(p) (printer[p].owner == _pid && !printer[p].deleted && printer[p].phase != absent)
#define SHOWN(p) (printer[p].running == i && printer[p].running_generation == g)
#define ITS(p) (item[printer[p].running].generation == printer[p].running_generation && item[printer[p].running].printer == p && !printer[p].deleted)
#define STATE(p) item[printer[p].running].state

#define GOES_AWAY  :: atomic { crashes < CRASHES -> crashes++; printer[p].owner = (printer[p].owner == _pid -> NONE : printer[p].owner); goto idle }

inline issue()
{
	item[i].issued[g]++;
	assert(item[i].issued[g] <= 1);
	assert(g < 2 || item[i].issued[1] == 0 || item[i].closed[1]);
	assert(!item[i].barred[g]);
	if
	:: printer[p].running == NONE -> /* it takes it */
		printer[p].running = i;
		printer[p].running_generation = g;
		refused = false
	:: item[i].closed[g] = true; refused = true /* it says no */
	:: refused = false /* the message is lost, or the printer says nothing */
	fi
}

proctype gateway()
{
	byte p, i, g, token;
	bool refused;
idle:
	atomic { p = 0; i = 0; g = 0; token = 0; refused = false };
end:
	if
	/* A lease that nobody holds, or whose holder is not heard of any more. */
	:: atomic {
		takeovers < TAKEOVERS ->
		select (p : 0 .. PRINTERS - 1);
		if
		:: !printer[p].deleted && printer[p].owner != _pid ->
			takeovers++;
			printer[p].owner = _pid;
			printer[p].fencing++
		:: else
		fi
	   };
	   goto idle
	/* sec.task_take */
	:: atomic {
		TO_DO(0) || TO_DO(PRINTERS - 1) ->
		if
		:: TO_DO(0) -> p = 0
		:: TO_DO(PRINTERS - 1) -> p = PRINTERS - 1
		fi;
		i = printer[p].item;
		g = printer[p].generation;
		token = printer[p].fencing;
		printer[p].by = _pid;
		printer[p].token = token;
		if
		:: printer[p].phase == waiting -> printer[p].phase = begun; goto upload
		:: printer[p].phase == begun -> goto upload
#ifdef RESEND
		:: printer[p].phase == starting -> goto start
#else
		:: printer[p].phase == starting -> goto watch
#endif
		fi
	   }
	fi;
upload:
	if
	GOES_AWAY
	:: atomic { MINE(p) -> follow_send(p, failed) }; goto idle /* refused, no space, busy, cannot be reached */
	:: atomic { !MINE(p) -> goto idle }
#ifdef START_FIRST
	:: goto start
#else
	:: goto mark
#endif
	fi;
mark: /* sec.task_starting */
	if
	GOES_AWAY
	:: atomic {
		if
		:: !MINE(p) -> goto idle
#ifndef NO_CANCEL
		:: MINE(p) && printer[p].cancel -> follow_send(p, cancelled); goto idle
		:: MINE(p) && !printer[p].cancel -> printer[p].phase = starting
#else
		:: MINE(p) -> printer[p].phase = starting
#endif
		fi
	   }
	fi;
#ifdef START_FIRST
	goto watch;
#endif
start: /* the last look, and the order */
	if
	GOES_AWAY
	:: atomic { printer[p].running != NONE ->
		if
		:: MINE(p) -> follow_send(p, failed)
		:: else
		fi;
		goto idle }
	:: atomic { printer[p].running == NONE -> issue() }
	fi;
#ifdef START_FIRST
	goto mark;
#endif
watch:
	if
	GOES_AWAY
	:: atomic { !MINE(p) -> goto idle }
	/* It shows: the print's row may come before the send's end, or without it. */
	:: atomic { MINE(p) && SHOWN(p) -> follow_send(p, printing) }; goto idle
	:: atomic { MINE(p) && SHOWN(p) && ITS(p) && item[i].state == dispatching -> item[i].state = printing }; goto watch
	:: atomic { MINE(p) && refused -> follow_send(p, failed) }; goto idle
	:: atomic { MINE(p) && !refused -> follow_send(p, start_unknown) }; goto idle
	fi
}

/* Prints end, and show themselves late. */
proctype world()
{
	byte p;
end:
	do
	:: atomic {
		select (p : 0 .. PRINTERS - 1);
		if
		:: printer[p].running != NONE ->
			if
			:: ITS(p) && (STATE(p) == printing || STATE(p) == start_unknown || STATE(p) == dispatching) -> STATE(p) = completed
			:: else
			fi;
			printer[p].running = NONE;
			printer[p].running_generation = 0
		:: printer[p].running != NONE && ITS(p) && STATE(p) == start_unknown -> STATE(p) = printing
		:: else
		fi;
		p = 0
	   }
	od
}

/* Cancels, tries again, resolves, takes a printer away: sec.queue_act and the trigger behind a printer's deletion. */
proctype person()
{
	byte i, p;
end:
	do
	:: atomic {
		human < HUMAN ->
		human++;
		select (i : 0 .. ITEMS - 1);
		if
		:: item[i].state == queued -> item[i].state = cancelled
		:: item[i].state == dispatching -> /* sec.job_cancel */
			p = item[i].printer;
			if
			:: printer[p].phase == waiting -> item[i].barred[item[i].generation] = true; forget(p); item[i].state = cancelled
			:: else ->
				item[i].barred[item[i].generation] = (printer[p].phase == begun);
				printer[p].cancel = true;
				item[i].cancelling = true
			fi
		:: item[i].state == cancelled || item[i].state == failed -> /* they know what they do */
			item[i].state = queued;
			item[i].closed[item[i].generation] = true
		:: item[i].state == start_unknown -> /* looked at */
			item[i].closed[item[i].generation] = true;
			if
			:: item[i].state = queued
			:: item[i].state = completed
			:: item[i].state = cancelled
			fi
		:: !printer[0].locked && !printer[0].deleted ->
			printer[0].deleted = true;
			i = 0;
			do
			:: i < ITEMS ->
				if
				:: ON(i, 0) && item[i].state != start_unknown -> item[i].state = start_unknown
				:: else
				fi;
				i++
			:: else -> break
			od
		:: else
		fi;
		AT_MOST_ONE;
		i = 0; p = 0
	   }
	od
}

init {
	byte p;

	atomic {
		for (p : 0 .. PRINTERS - 1) {
			printer[p].owner = 1 /* the first that is run */
		}
		run gateway();
		run gateway();
		run dispatcher();
		run dispatcher();
		run world();
		run person()
	}
}
