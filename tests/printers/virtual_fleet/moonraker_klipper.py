"""The Klipper behind a virtual Moonraker: a print in virtual seconds, heaters, and the G-code that tests send."""

from __future__ import annotations

import asyncio
import collections
import re
import time
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]
AMBIENT_C = 24.0
SLICE_S = 0.25


class Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Klipper:
    """notify(method, *params) tells the world; notify("job", action, job) is for the history."""

    def __init__(self, clock: Any, options: Json, notify: Callable[..., None]) -> None:
        self.clock, self.options, self.notify = clock, options, notify
        self.heaters = {"extruder": [AMBIENT_C, 0.0], "heater_bed": [AMBIENT_C, 0.0]}
        if options.get("tools", 1) > 1:
            self.heaters |= {f"extruder{i}": [AMBIENT_C, 0.0] for i in range(1, int(options["tools"]))}
        self.warmed = time.monotonic()
        self.fan, self.speed = 0.0, 1.0
        self.pins = {name: 0.0 for name in options.get("pins", [])}
        self.excluded: list[str] = []
        self.scripts: collections.deque[str] = collections.deque(maxlen=200)
        self.task: asyncio.Task[None] | None = None
        self.running = asyncio.Event()
        self.come_up()

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    # --- Klipper itself ------------------------------------------------------------------------------
    def come_up(self) -> None:
        self.state, self.message = "ready", "Printer is ready"
        self.homed, self.relative, self.paused = "", False, False
        self.reset()

    def ready(self) -> None:
        if self.state != "ready":
            raise Refused(400, "Unknown" if self.state == "shutdown" else self.message)

    def shut_down(self, why: str) -> None:
        if self.busy:
            self._end_job("klippy_shutdown")
        self.reset()
        self.state = "shutdown"
        self.message = f'{why}\nOnce the underlying issue is corrected, use the\n"FIRMWARE_RESTART" command.\n'
        for pair in self.heaters.values():
            pair[1] = 0.0

    def gone(self) -> None:
        if self.busy:
            self._end_job("klippy_disconnect")
        self.reset()
        self.state = "disconnected"

    # --- objects -------------------------------------------------------------------------------------
    def targets(self) -> Json:
        return {name: pair[1] for name, pair in self.heaters.items()} | {"fan": self.fan, "speed": self.speed}

    def _warm(self) -> None:
        now = time.monotonic()
        passed, self.warmed = (now - self.warmed) * self.clock.scale, now
        for pair in self.heaters.values():
            pair[0] += ((pair[1] or AMBIENT_C) - pair[0]) * min(1.0, 0.05 * passed)

    def objects(self) -> Json:
        self._warm()
        out: Json = {
            "gcode": {}, "webhooks": {"state": self.state, "state_message": self.message}, "configfile": {}, "mcu": {},
            "gcode_move": {"speed_factor": self.speed, "extrude_factor": 1.0},
            "print_stats": {
                "filename": self.file, "total_duration": round(self.total_s, 3),
                "print_duration": round(self.print_s, 3), "filament_used": 0.0, "state": self.print_state,
                "message": self.print_message, "info": {"total_layer": self.layers, "current_layer": self.layer},
            },
            "virtual_sdcard": {"progress": self.progress, "is_active": self.print_state == "printing"},
            "display_status": {"progress": 0.0, "message": None}, "pause_resume": {"is_paused": self.paused},
            "exclude_object": {"objects": [], "excluded_objects": self.excluded, "current_object": None},
            "fan": {"speed": self.fan, "rpm": None}, "gcode_macro CANCEL_PRINT": {},
            "toolhead": {"homed_axes": self.homed, "position": [0.0, 0.0, 0.0, 0.0]}, "idle_timeout": {},
        }  # fmt: skip
        for name, pair in self.heaters.items():
            out[name] = {"temperature": round(pair[0], 2), "target": pair[1], "power": 0.0}
        out |= {f"output_pin {name}": {"value": value} for name, value in self.pins.items()}
        return out | {name: {} for name in self.options.get("objects", [])}

    # --- a print -------------------------------------------------------------------------------------
    @property
    def busy(self) -> bool:
        return self.print_state in ("printing", "paused")

    def reset(self) -> None:
        self.stop()
        self.file, self.print_state, self.print_message = "", "standby", ""
        self.total_s = self.print_s = self.progress = 0.0
        self.layer: int | None = None
        self.layers: int | None = None
        self.paused = False

    def _job(self, status: str, **more: Any) -> Json:
        times = {"total_duration": self.total_s, "print_duration": self.print_s, "filament_used": 0.0}
        return {"filename": self.file, "status": status, "start_time": self.started} | times | more

    def _end_job(self, status: str) -> None:
        self.stop()
        self.notify("job", "finished", self._job(status, end_time=time.time()))

    def play(self, file: str, options: Json) -> bool:
        if self.busy or self.state != "ready":
            return False
        self.reset()
        self.file, self.print_state, self.started = file, "printing", time.time()
        self.running.set()
        self.task = asyncio.get_running_loop().create_task(self._play(options))
        self.notify("notify_gcode_response", f"File opened:{file} Size:623")
        self.notify("notify_gcode_response", "File selected")
        self.notify("job", "added", self._job("in_progress", end_time=None))
        return True

    async def _play(self, options: Json) -> None:
        seconds, self.layers = float(options.get("seconds", 2400)), int(options.get("layers", 50))
        self.heaters["extruder"][1], self.heaters["heater_bed"][1] = 215.0, 60.0
        await self._pass(float(options.get("prepare_s", 30)), 0)
        done = 0.0
        for layer in range(1, self.layers + 1):
            self.layer = layer
            await self._pass(seconds / self.layers, 1)
            done += seconds / self.layers
            self.progress = min(1.0, done / seconds)
        self.heaters["extruder"][1] = self.heaters["heater_bed"][1] = 0.0
        self.notify("notify_gcode_response", "Done printing file")
        self.print_state = "complete"
        self.notify("job", "finished", self._job("completed", end_time=time.time()))

    async def _pass(self, seconds: float, extruding: int) -> None:
        left = seconds
        while left > 0:
            real = min(SLICE_S, left / self.clock.scale)
            await asyncio.sleep(real)
            await self.running.wait()
            left -= real * self.clock.scale
            self.total_s += real * self.clock.scale
            self.print_s += extruding * real * self.clock.scale

    def pause(self) -> bool:
        """Without a print it is a state of its own, as recorded."""
        self.paused = True
        self.notify("notify_gcode_response", "// action:paused")
        if self.print_state != "printing":
            return False
        self.running.clear()
        self.print_state = "paused"
        return True

    def resume(self) -> bool:
        self.paused = False
        self.notify("notify_gcode_response", "// action:resumed")
        if self.print_state != "paused":
            return False
        self.print_state = "printing"
        self.running.set()
        return True

    def cancel(self) -> bool:
        self.notify("notify_gcode_response", "// action:cancel")
        if not self.busy:
            return False
        self._end_job("cancelled")
        self.print_state, self.progress, self.paused = "cancelled", 0.0, False
        self.heaters["extruder"][1] = self.heaters["heater_bed"][1] = 0.0
        return True

    def fail(self, message: str) -> bool:
        if not self.busy:
            return False
        self._end_job("error")
        self.print_state, self.print_message = "error", message
        self.notify("notify_gcode_response", f"!! {message}")
        return True

    # --- G-code --------------------------------------------------------------------------------------
    async def script(self, text: str) -> None:
        self.ready()
        self.scripts.append(text)
        for line in text.split("\n"):
            words = line.split(";")[0].split()
            if words:
                await self._line(words[0].upper(), dict(self._pairs(words[1:])))

    @staticmethod
    def _pairs(words: list[str]) -> list[tuple[str, str]]:
        named = [tuple(word.split("=", 1)) if "=" in word else (word[:1], word[1:]) for word in words]
        return [(str(key).upper(), str(value)) for key, value in named]

    async def _line(self, command: str, args: dict[str, str]) -> None:
        handler = getattr(self, f"_do_{command.lower()}", None)
        macros = [each.split()[1].upper() for each in self.options.get("objects", []) if "gcode_macro" in each]
        if command in macros:
            return
        if handler is None:
            self.notify("notify_gcode_response", f'// Unknown command:"{command}"')
            return
        handler(args)

    def _error(self, message: str) -> None:
        self.notify("notify_gcode_response", f"!! {message}")
        raise Refused(400, message)

    def _set(self, name: str, value: str) -> None:
        if name not in self.heaters:
            self._error(f"The value '{name}' is not valid for HEATER")
        if not 0 <= float(value) <= 300:
            self._error(f"Requested temperature ({value}) out of range (0.0:300.0)")
        self.heaters[name][1] = float(value)

    def _do_set_heater_temperature(self, args: dict[str, str]) -> None:
        self._set(args["HEATER"], args.get("TARGET", "0"))

    def _do_m104(self, args: dict[str, str]) -> None:
        self._set("extruder" + (args.get("T", "0") if args.get("T", "0") != "0" else ""), args.get("S", "0"))

    def _do_m140(self, args: dict[str, str]) -> None:
        self._set("heater_bed", args.get("S", "0"))

    def _do_m106(self, args: dict[str, str]) -> None:
        self.fan = round(float(args.get("S", "255")) / 255, 4)

    def _do_m220(self, args: dict[str, str]) -> None:
        self.speed = float(args["S"]) / 100

    def _do_g28(self, args: dict[str, str]) -> None:
        wanted = "".join(sorted(key.lower() for key in args)) or "xyz"
        self.homed = "".join(sorted(set(self.homed) | set(wanted)))

    def _do_g90(self, _args: dict[str, str]) -> None:
        self.relative = False

    def _do_g91(self, _args: dict[str, str]) -> None:
        self.relative = True

    def _do_g1(self, args: dict[str, str]) -> None:
        if any(axis in args and axis.lower() not in self.homed for axis in "XYZ"):
            self._error("Must home axis first: 0.000 0.000 0.000 [0.000]")

    def _do_exclude_object(self, args: dict[str, str]) -> None:
        self.excluded = [*self.excluded, args["NAME"].upper()]

    def _do_set_pin(self, args: dict[str, str]) -> None:
        if args["PIN"] not in self.pins:
            self._error(f"The value '{args['PIN']}' is not valid for PIN")
        self.pins[args["PIN"]] = float(args["VALUE"])

    def _do_sdcard_reset_file(self, _args: dict[str, str]) -> None:
        if self.busy:
            self._end_job("cancelled")
        self.reset()

    def _do_clear_pause(self, _args: dict[str, str]) -> None:
        self.paused = False

    def _do_m117(self, _args: dict[str, str]) -> None:
        return None

    def _do_m105(self, _args: dict[str, str]) -> None:
        pairs = [f"{name[:1].upper()}:{pair[0]:.1f} /{pair[1]:.1f}" for name, pair in self.heaters.items()]
        self.notify("notify_gcode_response", re.sub("E", "T0", " ".join(pairs)))
