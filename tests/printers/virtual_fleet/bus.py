"""The printers' side of the broker: one MQTT client for the whole fleet."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt

Handler = Callable[[str, dict[str, Any], int], None]


def _client() -> mqtt.Client:
    """paho 1 (Debian's) and 2 differ in one argument; nothing else here depends on the version."""
    api = getattr(mqtt, "CallbackAPIVersion", None)
    return mqtt.Client(api.VERSION1, "fleet") if api is not None else mqtt.Client("fleet")


class Bus:
    """Requests arrive at handler(serial, message, qos) on the event loop; publish() may be called from there."""

    def __init__(self, port: int, password: str, handler: Handler) -> None:
        self.port = port
        self.handler = handler
        self.loop = asyncio.get_running_loop()
        self.ready = asyncio.Event()
        self.client = _client()
        self.client.username_pw_set("fleet", password)
        self.client.reconnect_delay_set(1, 1)
        self.client.max_queued_messages_set(1000)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = self._on_disconnect
        self.client.on_message = self._on_message

    def start(self) -> None:
        self.client.connect_async("127.0.0.1", self.port, keepalive=30)
        self.client.loop_start()

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def publish(self, serial: str, payload: bytes, retain: bool = False) -> None:
        if self.client.is_connected():
            self.client.publish(f"device/{serial}/report", payload, qos=0, retain=retain)

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, code: Any) -> None:
        if code == 0:
            client.subscribe("device/+/request", qos=1)
            self.loop.call_soon_threadsafe(self.ready.set)

    def _on_disconnect(self, *_args: Any) -> None:
        self.loop.call_soon_threadsafe(self.ready.clear)

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            body = json.loads(message.payload)
        except ValueError:
            return
        serial = message.topic.split("/")[1]
        if isinstance(body, dict):
            self.loop.call_soon_threadsafe(self.handler, serial, body, message.qos)
