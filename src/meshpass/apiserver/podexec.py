"""ExecSession: one program that runs in a container, and the client at the other end of a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Final

from starlette.websockets import WebSocket, WebSocketDisconnect

from meshpass.apiserver.channel import (
    Channel,
    ChannelError,
    ChannelProtocol,
    ChannelReader,
    Input,
    InputClosed,
    TerminalSize,
    write_exit,
    write_message,
    write_status,
)
from meshpass.apiserver.podruntime import CommandRequest, ContainerName, PodRuntime, RunningCommand
from meshpass.apiserver.status import StatusError, bad_request, internal

_HELD_INPUT: Final = 1024 * 1024
"""Bytes that are read from a client before its program has taken them."""
_STALLED_SECONDS: Final = 75.0
"""So long a program may leave that much unread. Only what a client sends tells that it is still there, and kubectl gives
up 61 s after its last ping was answered: nobody is left that the program could run for."""

_log = logging.getLogger(__name__)


class ExecSession:
    """Both directions of one session; a slow program holds up its client, and a slow client its program."""

    def __init__(self, socket: WebSocket, protocol: ChannelProtocol, request: CommandRequest) -> None:
        self._socket = socket
        self._reader = ChannelReader(protocol)
        self._request = request
        self._input = InputBuffer(_HELD_INPUT)
        self._last: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    async def run(self, runtime: PodRuntime, name: ContainerName) -> None:
        """The program has ended, and the client knows how; or the client has gone, and the program with it."""
        try:
            async with runtime.run(name, self._request) as command:
                last = await self._converse(command)
        except OSError as error:
            why = f"the command could not be started: {error.strerror}"
            last = write_status(StatusError(why, code=500, reason="InternalError").status())
        except Exception:  # noqa: BLE001 - a WebSocket that was accepted can be answered no other way
            _log.exception("exec failed: %s/%s", name.namespace, name.pod)
            last = write_status(internal().status())
        if last is not None:
            with suppress(WebSocketDisconnect):
                await self._socket.send_bytes(last)
                await self._socket.close()

    async def _converse(self, command: RunningCommand) -> bytes | None:
        """What is said last; None where nobody is there to hear it."""
        async with asyncio.TaskGroup() as group:
            sides = (self._listen(command), self._feed(command), self._speak(command))
            tasks = [group.create_task(side) for side in sides]
            try:
                return await self._last
            finally:
                for task in tasks:
                    task.cancel()

    def _finish(self, last: bytes | None) -> None:
        if not self._last.done():
            self._last.set_result(last)

    async def _listen(self, command: RunningCommand) -> None:
        while (message := await self._socket.receive())["type"] != "websocket.disconnect":
            data = message.get("bytes")
            try:
                # The Python client sends what is text as text.
                await self._hear(command, str(message["text"]).encode() if data is None else data)
            except ChannelError as error:
                return self._finish(write_status(bad_request(str(error)).status()))
            except TimeoutError:
                why = f"the command has not read its standard input for {_STALLED_SECONDS:g} s"
                return self._finish(write_status(StatusError(why, code=504, reason="Timeout").status()))
        return self._finish(None)

    async def _hear(self, command: RunningCommand, message: bytes) -> None:
        for event in self._reader.receive(message):
            match event:
                case Input(data):
                    if self._request.stdin:
                        async with asyncio.timeout(_STALLED_SECONDS):
                            await self._input.put(data)
                case InputClosed():
                    self._input.close()
                case TerminalSize():
                    command.resize(event)

    async def _feed(self, command: RunningCommand) -> None:
        while data := await self._input.get():
            await command.write(data)
        command.close_input()

    async def _speak(self, command: RunningCommand) -> None:
        wanted = {Channel.OUTPUT: self._request.stdout, Channel.ERROR_OUTPUT: self._request.stderr}
        try:
            async with asyncio.TaskGroup() as group:
                for channel, shown in wanted.items():
                    if shown:
                        group.create_task(self._pump(command, channel))
                code = await command.wait()
        except* WebSocketDisconnect:
            self._finish(None)
        else:
            self._finish(write_exit(code))

    async def _pump(self, command: RunningCommand, channel: Channel) -> None:
        while data := await command.read(channel):
            await self._socket.send_bytes(write_message(channel, data))


class InputBuffer:
    """Bytes on their way to a program's standard input, at most ``limit`` and one message of them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._changed = asyncio.Event()
        """Of the one that waits: never both sides do, since one waits while there is nothing, the other while there is."""

    async def put(self, data: bytes) -> None:
        """The data is held; before, what was held has come below the limit."""
        while self._size >= self._limit:
            await self._change()
        self._chunks.append(data)
        self._size += len(data)
        self._changed.set()

    def close(self) -> None:
        """Nothing more comes."""
        self._chunks.append(b"")
        self._changed.set()

    async def get(self) -> bytes:
        """The next bytes; empty at the end."""
        while not self._chunks:
            await self._change()
        data = self._chunks.popleft()
        self._size -= len(data)
        self._changed.set()
        return data

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()
