"""What the print queue should do, said a second time and simply: one organisation, one thing after the other, no locks.
Refusals are SQLSTATEs or the codes of reasons; items and printers are numbered in the order in which they came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

WAITS = ("draft", "pending_approval", "queued")
HOLDS = ("assigned", "dispatching", "printing", "paused", "start_unknown")
ENDED = ("completed", "failed", "cancelled", "rejected")
NOBODY_KNOWS = ("start_unknown", "not_confirmed", "outcome_unknown", "printer_gone", "gateway_lost")
NOT_ITS_FAULT = ("printer_busy", "expired")
CONFLICT, GONE, OFFLINE, CHANGED = "SLP61", "missing", "SLP20", "SLP63"
LEGAL = {
    None: ("draft", "queued"),
    "draft": ("queued", "cancelled"),
    "queued": ("assigned", "cancelled"),
    "assigned": ("queued", "dispatching", "completed", "failed", "cancelled"),
    "dispatching": ("printing", "queued", "start_unknown", "completed", "failed", "cancelled"),
    "printing": ("paused", "start_unknown", "completed", "failed", "cancelled"),
    "paused": ("printing", "start_unknown", "completed", "failed", "cancelled"),
    "start_unknown": ("printing", "queued", "completed", "failed", "cancelled"),
    "failed": ("queued",), "cancelled": ("queued",), "completed": (),
}  # fmt: skip


@dataclass
class Item:
    n: int
    position: int
    state: str = "queued"
    priority: int = 0
    held: bool = False
    has_file: bool = True
    targets: tuple[int, ...] = ()
    nozzle: bool = False
    after_success: bool = False
    generation: int = 0
    printer: int | None = None
    auto_start: bool = False
    attempts: int = 0
    not_before: float = 0
    cancelling: float | None = None  # since when
    stop_told: float | None = None  # when the printer was last told to stop
    sent: bool = False  # under this assignment
    print: int | None = None

    @property
    def rank(self) -> tuple[int, int]:
        return -self.priority, self.position


@dataclass
class Task:
    item: int
    generation: int
    expires: float
    phase: str = "waiting"
    cancelled: bool = False


@dataclass
class Printer:
    n: int
    nozzle: str = "match"  # match, unknown, other
    deleted: bool = False
    connected: bool = True
    state: str = "idle"
    plate_cleared: bool = True
    last_outcome: str | None = None
    last_sent: float = -1
    task: Task | None = None
    print: int | None = None  # that runs
    print_of: tuple[int, int] | None = None  # whose it says it is: item, generation


@dataclass
class Queue:
    items: dict[int, Item] = field(default_factory=dict)
    printers: list[Printer] = field(default_factory=list)
    dispatches: list[tuple[int, int, int]] = field(default_factory=list)
    now: float = 0
    moment: int = 0  # counts transactions
    made: int = 0
    prints: int = 0
    in_order_of: str = "priority"
    plate_required: bool = True
    most_attempts: int = 3

    # --- what clients do ---

    def create(self, copies: int = 1, **wishes: Any) -> list[int]:
        for _ in range(copies):
            self.items[self.made] = Item(self.made, self.made, **wishes)
            self.made += 1
        return list(range(self.made - copies, self.made))

    def update(self, n: int, **patch: Any) -> str | None:
        i = self.items.get(n)
        if not i:
            return GONE
        if i.state in ENDED or (i.state in HOLDS and set(patch) - {"priority"}):
            return CONFLICT
        for name, value in patch.items():
            setattr(i, name, value)
        return None

    def act(self, n: int, action: str, outcome: str = "") -> str | None:
        i = self.items.get(n)
        if not i:
            return GONE
        what = getattr(self, f"_{action}")(i, outcome)
        return None if what is None else str(what)

    def _delete(self, i: Item, _: str) -> str | None:
        if i.state in HOLDS:
            return CONFLICT
        del self.items[i.n]
        return None

    def _cancel(self, i: Item, _: str) -> str | None:
        if i.state == "cancelled":
            return None
        if i.state in WAITS or i.state == "assigned":
            i.state = "cancelled"
        elif i.state == "dispatching":
            p = self.printers[i.printer or 0]
            if p.task and p.task.phase == "waiting":
                p.task, i.state = None, "cancelled"
            else:
                i.cancelling = self.now
                if p.task:
                    p.task.cancelled = True
        elif i.state in ("printing", "paused"):
            if not self.printers[i.printer or 0].connected and i.stop_told != self.now:
                return OFFLINE
            i.cancelling = i.stop_told = self.now
        else:
            return CONFLICT
        return None

    def _hold(self, i: Item, _: str) -> str | None:
        if i.state not in WAITS:
            return CONFLICT
        i.held = True
        return None

    def _release(self, i: Item, _: str) -> str | None:
        if i.state not in WAITS:
            return CONFLICT
        i.held, i.state = False, "queued"
        return None

    def _retry(self, i: Item, _: str) -> str | None:
        if i.state not in ("failed", "cancelled"):
            return CONFLICT
        self.back(i, 0)
        i.attempts = 0
        return None

    def _unassign(self, i: Item, _: str) -> str | None:
        if i.state != "assigned":
            return CONFLICT
        wait = i.not_before
        self.back(i, 0)
        i.not_before = wait
        return None

    def _complete(self, i: Item, outcome: str) -> str | None:
        if i.state != "assigned":
            return CONFLICT
        i.state = outcome
        return None

    def _resolve(self, i: Item, outcome: str) -> str | None:
        if i.state != "start_unknown":
            return CONFLICT
        if outcome == "not_started":
            self.back(i, 0)
        elif outcome == "printing":
            p = self.printers[i.printer or 0]
            running = p.print
            if running is None or p.deleted or any(o.print == running for o in self.items.values() if o is not i):
                return CONFLICT
            i.state, i.print, i.cancelling, i.stop_told = "printing", running, None, None
        else:
            i.state = outcome
        return None

    def back(self, i: Item, wait: float) -> None:
        i.state, i.printer, i.auto_start, i.sent, i.cancelling, i.print = "queued", None, False, False, None, None
        i.not_before = self.now + wait if wait else 0

    def reorder(self, ns: list[int]) -> str | None:
        if any(n not in self.items or self.items[n].state not in WAITS for n in ns):
            return CHANGED
        places = sorted(i.rank for i in (self.items[n] for n in ns))
        for n, (priority, position) in zip(ns, places, strict=True):
            self.items[n].priority, self.items[n].position = -priority, position
        return None

    # --- matching ---

    def fits(self, i: Item, p: Printer) -> list[str]:
        """Why not, by what lasts."""
        why = ["printer_not_targeted"] if i.targets and p.n not in i.targets else []
        return why + (["nozzle_mismatch"] if i.nozzle and p.nozzle == "other" else [])

    def holder(self, p: Printer) -> Item | None:
        return next((i for i in self.items.values() if i.printer == p.n and i.state in HOLDS), None)

    def ready(self, p: Printer) -> bool:
        free = p.connected and p.state in ("idle", "finished") and p.task is None
        return free and (p.plate_cleared or not self.plate_required)

    def startable(self, i: Item, p: Printer) -> bool:
        return (i.state == "queued" and not i.held and i.has_file and i.not_before <= self.now and not self.fits(i, p)
                and not (i.after_success and p.last_outcome not in (None, "completed")))  # fmt: skip

    def line(self) -> list[Item]:
        first_in = self.in_order_of == "first_in"
        return sorted(self.items.values(), key=lambda i: (0, i.position) if first_in else i.rank)

    def claim(self, i: Item, p: Printer, start: bool) -> None:
        i.state, i.printer, i.generation, i.auto_start = "assigned", p.n, i.generation + 1, start
        i.sent, i.print, i.stop_told = False, None, None

    def send(self, i: Item, p: Printer) -> bool:
        if p.task or not i.has_file:
            return False
        p.task, p.last_sent = Task(i.n, i.generation, self.now + 600), self.moment
        i.state, i.sent, i.print, i.cancelling = "dispatching", True, None, None
        self.dispatches.append((i.n, i.generation, p.n))
        return True

    def assign(self, n: int, m: int, override: bool, start: bool) -> Any:
        """None: no such item or printer; reasons that refuse it; else whether it was sent."""
        i, p = self.items.get(n), self.printers[m]
        if p.deleted or not i:
            return None
        never = ["item_draft"] * (i.state == "draft") + ["item_held"] * i.held
        why = self.fits(i, p) if i.state == "queued" else []
        if i.state not in WAITS:
            never, why = ["item_not_queued"], []
        if self.holder(p) not in (None, i):
            never.append("printer_reserved")
        if never or (why and not override):
            return sorted(never + why)
        self.claim(i, p, start and i.has_file)
        return bool(i.auto_start and self.ready(p) and self.send(i, p))

    def dispatch_next(self, m: int) -> Any:
        """None: no such printer; False: nothing was sent; else item and generation."""
        p = self.printers[m]
        if p.deleted:
            return None
        i = self.holder(p)
        if not self.ready(p) or (i and i.state != "assigned"):
            return False
        if not i:
            i = next((x for x in self.line() if self.startable(x, p)), None)
            if not i:
                return False
            self.claim(i, p, True)
        return (i.n, i.generation) if self.send(i, p) else False

    def dispatch(self, most: int) -> list[tuple[int, int, int, bool]]:
        out = []
        for i in sorted(self.items.values(), key=lambda i: i.rank):
            if i.state == "assigned" and i.auto_start and len(out) < most:
                p = self.printers[i.printer or 0]
                if self.ready(p) and self.send(i, p):
                    out.append((i.n, p.n, i.generation, True))
        free = [p for p in self.printers if not p.deleted and self.ready(p) and not self.holder(p)]
        free.sort(key=lambda p: (p.last_sent, p.n))
        for i in self.line():
            good = [p for p in free if self.startable(i, p)]
            if good and len(out) < most:
                p = min(good, key=lambda p: i.nozzle and p.nozzle == "unknown")
                free.remove(p)
                self.claim(i, p, True)
                out.append((i.n, p.n, i.generation, self.send(i, p)))
        return out

    def clear_plate(self, m: int) -> bool:
        self.printers[m].plate_cleared |= not self.printers[m].deleted
        return not self.printers[m].deleted

    # --- what gateways and printers do ---

    def task_take(self, m: int) -> None:
        p = self.printers[m]
        if p.task and p.task.phase == "waiting" and not p.deleted:
            if p.task.expires <= self.now:
                self.task_over(p, "expired")
            else:
                p.task.phase = "begun"

    def task_starting(self, m: int) -> bool:
        t = self.printers[m].task
        may = bool(t and t.phase != "waiting" and not self.printers[m].deleted and not t.cancelled)
        if t and may:
            t.phase = "starting"
        return may

    def task_end(self, m: int, how: str) -> bool:
        p = self.printers[m]
        if p.deleted or not p.task or p.task.phase == "waiting":
            return False
        self.task_over(p, how)
        return True

    def tasks_expire(self) -> None:
        for p in self.printers:
            if p.task and p.task.expires <= self.now and (p.deleted or p.task.phase == "waiting"):
                self.task_over(p, "expired" if p.task.phase == "waiting" else "printer_gone")

    def task_over(self, p: Printer, how: str) -> None:
        t, p.task = p.task, None
        i = self.items.get(t.item) if t else None
        if not t or not i or i.state != "dispatching" or (i.generation, i.printer) != (t.generation, p.n):
            return
        counts = how not in NOT_ITS_FAULT
        if how == "succeeded":
            i.state = "printing"
            if p.print is not None and p.print_of is None:
                i.print = p.print
        elif how == "cancelled":
            i.state = "cancelled"
        elif how in NOBODY_KNOWS:
            i.state = "start_unknown"
        elif how == "file_gone" or (counts and i.attempts + 1 >= self.most_attempts):
            i.state, i.attempts = "failed", i.attempts + 1
        else:
            i.attempts += counts
            if i.cancelling is not None:
                i.state = "cancelled"
            else:
                self.back(i, 15 * 2 ** min(i.attempts, 6))

    def owner(self, p: Printer) -> Item | None:
        """Of the print that the printer is at."""
        i = self.holder(p)
        if not i or i.state == "assigned" or i.print not in (None, p.print):
            return None
        if i.print == p.print or (i.sent and p.print_of == (i.n, i.generation)):
            return i
        return i if p.print_of is None and i.state in ("printing", "start_unknown") else None

    def print_begins(self, m: int, known: bool) -> None:
        """known: by the gateway that started it, as that of the last send to the printer."""
        p = self.printers[m]
        self.status(m, "printing")
        p.print, self.prints = self.prints, self.prints + 1
        p.print_of = next(((i, g) for i, g, q in reversed(self.dispatches) if q == m), None) if known else None
        i = self.owner(p)
        if i and (i.print is None or i.state == "start_unknown"):
            i.print = p.print
            i.state = "printing" if i.state in ("dispatching", "start_unknown") else i.state

    def print_ends(self, m: int, outcome: str) -> None:
        p = self.printers[m]
        i = self.owner(p)
        self.status(m, "idle" if outcome == "unknown" else "finished")
        p.plate_cleared, p.last_outcome = False, outcome
        if i and outcome != "unknown":
            i.state, i.print = outcome, p.print
        elif i and i.state != "start_unknown":
            i.state, i.print = "start_unknown", p.print
        p.print = None

    def status(self, m: int, state: str) -> None:
        p = self.printers[m]
        i = self.holder(p)
        if p.state != state and i and (i.state, state) in (("printing", "paused"), ("paused", "printing")):
            i.state = state
        p.state = state

    def printer_deleted(self, m: int) -> None:
        p = self.printers[m]
        i = self.holder(p)
        p.deleted = True
        if i and i.state == "assigned":
            self.back(i, 0)
        elif i:
            i.state = "start_unknown"
