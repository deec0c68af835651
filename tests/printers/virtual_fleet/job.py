"""A print from start to end, in virtual seconds, as seen in the printer's record."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .printer import Printer

USER_CANCEL = 0x0300400C
RUNOUT = 0x07008011
FILE_MISSING = 0x05004003
RUNOUT_HMS = {"attr": 0x07002000, "code": 0x00020001}
STAGES = ((13, 10), (2, 60), (7, 45), (14, 20), (1, 60))  # (stg_cur, seconds): home, bed, nozzle, wipe, level
STAGE_CHANGE_FILAMENT = 4
SLICE_S = 0.25


@dataclasses.dataclass
class Job:
    """What to print. Trays are used in turn, changed every change_every layers."""

    name: str = "benchy"
    file: str = "benchy.gcode.3mf"
    layers: int = 40
    layer_s: float = 60.0
    trays: tuple[int, ...] = (0, 1)
    change_every: int = 15
    nozzle_c: float = 220.0
    bed_c: float = 55.0
    task_id: str = "0"
    subtask_id: str = "0"
    project_id: str = "0"

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> Job:
        known = {field.name for field in dataclasses.fields(cls)}
        given = {key: value for key, value in options.items() if key in known}
        if "trays" in given:
            given["trays"] = tuple(int(each) for each in given["trays"])
        return cls(**given)

    @classmethod
    def from_request(cls, body: dict[str, Any], options: dict[str, Any]) -> Job:
        job = cls.from_options(options)
        file = str(body.get("file") or body.get("url") or body.get("param") or job.file)
        job.file = file.rsplit("/", 1)[-1]
        job.name = str(body.get("subtask_name") or job.file)
        for key in ("task_id", "subtask_id", "project_id"):
            setattr(job, key, str(body.get(key, "0")))
        mapping = [each for each in body.get("ams_mapping", []) if isinstance(each, int) and 0 <= each < 16]
        if mapping:
            job.trays = tuple(mapping)
        elif body.get("use_ams") is False:
            job.trays = ()
        return job


class Player:
    """Plays one job at a time into printer.record."""

    def __init__(self, printer: Printer) -> None:
        self.printer = printer
        self.task: asyncio.Task[None] | None = None
        self.late: asyncio.Task[None] | None = None
        self.running = asyncio.Event()
        self.running.set()

    @property
    def active(self) -> bool:
        return self.task is not None and not self.task.done()

    def _set(self, **fields: Any) -> None:
        self.printer.record |= fields
        self.printer.touch()

    async def _pass(self, seconds: float) -> None:
        """Lets virtual time pass; stands still while paused."""
        left = seconds
        while left > 0:
            real = min(SLICE_S, left / self.printer.clock.scale)
            await asyncio.sleep(real)
            await self.running.wait()
            left -= real * self.printer.clock.scale

    def play(self, job: Job, sticky_s: float = 0, lacks_file: bool = False) -> bool:
        """sticky_s: real seconds in which the old state stands beside the new job's numbers."""
        if self.active:
            return False
        self._drop_late()
        self.running.set()
        self.task = asyncio.get_running_loop().create_task(self._play(job, sticky_s, lacks_file))
        return True

    async def autoplay(self, options: dict[str, Any]) -> None:
        """Prints one job after another, for demonstrations."""
        await asyncio.sleep(float(options.get("delay_s", 1)))
        while True:
            self.play(Job.from_options(options))
            if self.task is not None:
                await asyncio.wait([self.task])
            await asyncio.sleep(float(options.get("rest_s", 120)))

    async def _play(self, job: Job, sticky_s: float = 0, lacks_file: bool = False) -> None:
        record = self.printer.record
        if sticky_s:
            self._set(subtask_name=job.name, task_id=job.task_id, subtask_id=job.subtask_id)
            await asyncio.sleep(sticky_s)
        self._set(gcode_state="IDLE", mc_percent=0, layer_num=0, mc_remaining_time=0, print_error=0)
        self._set(mc_print_error_code="0", fail_reason="0")
        await self._pass(3)
        self._set(gcode_state="PREPARE", gcode_file=job.file, subtask_name=job.name, print_type="local")
        self._set(task_id=job.task_id, subtask_id=job.subtask_id, project_id=job.project_id)
        if lacks_file:
            self._set(gcode_state="FAILED", **self._error_fields(FILE_MISSING))
            return
        for percent in (0, 40, 100):
            self._set(gcode_file_prepare_percent=str(percent))
            await self._pass(1)
        total = job.layers * job.layer_s + sum(each[1] for each in STAGES)
        self._set(
            gcode_state="RUNNING", mc_remaining_time=math.ceil(total / 60), stg=[each[0] for each in STAGES]
        )
        await self._warm_up(job)
        self._set(
            stg_cur=self._printing_stage(),
            total_layer_num=job.layers,
            cooling_fan_speed="15",
            fan_gear=0x00FF,
        )
        self._set(heatbreak_fan_speed="15")
        for layer in range(1, job.layers + 1):
            await self._layer(job, layer)
        self._cool()
        self._set(
            gcode_state="FINISH", mc_percent=100, mc_remaining_time=0, stg_cur=self.printer.model.no_stage
        )
        record["print_type"] = "idle"

    def _printing_stage(self) -> int:
        return 0 if self.printer.model.style == "full" else self.printer.model.no_stage

    async def _warm_up(self, job: Job) -> None:
        self.printer.temps["bed"][1] = job.bed_c
        for stage, seconds in STAGES:
            self._set(stg_cur=stage)
            if stage == 7:
                self.printer.temps["nozzle"][1] = job.nozzle_c
            await self._pass(seconds)
        await self._change_tray(job.trays[0] if job.trays else None)

    async def _layer(self, job: Job, layer: int) -> None:
        self._set(layer_num=layer)
        if job.trays and layer > 1 and layer % job.change_every == 0:
            await self._change_tray(job.trays[(layer // job.change_every) % len(job.trays)])
        await self._pass(job.layer_s)
        left = (job.layers - layer) * job.layer_s
        self._set(mc_percent=min(99, layer * 100 // job.layers), mc_remaining_time=math.ceil(left / 60))
        self._use_filament()

    async def _change_tray(self, tray: int | None) -> None:
        ams = self.printer.record["ams"]
        if tray is None or tray // 4 >= len(ams["ams"]):
            return
        stage = self.printer.record["stg_cur"]
        ams["tray_tar"] = str(tray)
        self._set(ams_status=258, stg_cur=STAGE_CHANGE_FILAMENT)
        await self._pass(20)
        self._set(ams_status=261)
        await self._pass(20)
        ams["tray_pre"] = ams["tray_now"]
        ams["tray_now"] = str(tray)
        ams["version"] += 1
        self._in_use(tray)
        self._set(ams_status=768, stg_cur=stage)

    def _in_use(self, tray: int) -> None:
        """Newer models tell the slot in use per extruder; their tray_now is local to the unit."""
        if not self.printer.model.packed:
            return
        head = self.printer.record["device"]["extruder"]["info"][0]
        head["snow"] = head["star"] = (tray // 4) << 8 | tray % 4
        self.printer.record["ams"]["tray_now"] = str(tray % 4)

    def _use_filament(self) -> None:
        ams = self.printer.record["ams"]
        now = int(ams["tray_tar"])
        if now // 4 < len(ams["ams"]):
            slot = ams["ams"][now // 4]["tray"][now % 4]
            slot["remain"] = max(0, slot["remain"] - (self.printer.record["layer_num"] % 20 == 0))

    def _cool(self) -> None:
        self.printer.temps["nozzle"][1] = self.printer.temps["bed"][1] = 0.0
        self._set(cooling_fan_speed="0", heatbreak_fan_speed="0", fan_gear=0, stg=[])

    def pause(self, stage: int, **fields: Any) -> bool:
        if not self.active or self.printer.record["gcode_state"] != "RUNNING":
            return False
        self.running.clear()
        self.stage_before = self.printer.record["stg_cur"]
        self._set(gcode_state="PAUSE", stg_cur=stage, **fields)
        return True

    def runout(self) -> bool:
        hms = self.printer.record["hms"] + [dict(RUNOUT_HMS)]
        return self.pause(6, print_error=RUNOUT, hms=hms)

    def resume(self) -> bool:
        if self.printer.record["gcode_state"] != "PAUSE":
            return False
        hms = [each for each in self.printer.record["hms"] if each != RUNOUT_HMS]
        self._set(gcode_state="RUNNING", stg_cur=self.stage_before, print_error=0, hms=hms)
        self.running.set()
        return True

    def abort(self) -> None:
        self._drop_late()
        if self.task is not None:
            self.task.cancel()

    def _end(self, **fields: Any) -> None:
        self.abort()
        self._cool()
        self._set(gcode_state="FAILED", stg_cur=self.printer.model.no_stage, mc_remaining_time=0, **fields)

    def _error_fields(self, error: int) -> dict[str, Any]:
        return {"print_error": error, "mc_print_error_code": str(error & 0xFFFF), "fail_reason": str(error)}

    def cancel(self, code: int = USER_CANCEL) -> bool:
        """Real printers say FAILED first; the code that tells a cancel from a failure follows 4 s later."""
        if not self.active:
            return False
        self._end(print_error=0, mc_percent=0)
        delay_s = float(self.printer.options.get("late_code_s", 4.0))
        self.late = asyncio.get_running_loop().create_task(self._late_code(code, delay_s))
        return True

    async def _late_code(self, code: int, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        self._set(**self._error_fields(code))

    def _drop_late(self) -> None:
        if self.late is not None:
            with contextlib.suppress(RuntimeError):
                self.late.cancel()
            self.late = None

    def fail(self, code: int) -> bool:
        if not self.active:
            return False
        self._end(**self._error_fields(code))
        return True
