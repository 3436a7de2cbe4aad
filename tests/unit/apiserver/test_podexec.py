"""One session between a client and a program, with both of them played."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket

from meshpass.apiserver import podexec
from meshpass.apiserver.channel import Channel, ChannelProtocol
from meshpass.apiserver.podexec import ExecSession, InputBuffer
from meshpass.apiserver.podexecrequest import parse_command_request
from meshpass.apiserver.podruntime import CommandRequest, ContainerName
from meshpass.apiserver.status import StatusError

NAME = ContainerName(namespace="n", pod="p", container="c")
ALL = CommandRequest(command=("program",), stdin=True, stdout=True, stderr=True)


class Client:
    """The other end of a WebSocket: says what is put in ``said``, and takes messages while ``reads`` is set."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[dict] = asyncio.Queue()
        self.heard: list[bytes] = []
        self.closed = False
        self.gone = False
        self.reads = asyncio.Event()
        self.reads.set()
        self.said.put_nowait({"type": "websocket.connect"})

    def say(self, data: bytes) -> None:
        self.said.put_nowait({"type": "websocket.receive", "bytes": data})

    def go(self) -> None:
        self.gone = True
        self.said.put_nowait({"type": "websocket.disconnect", "code": 1006})

    async def send(self, message: dict) -> None:
        await self.reads.wait()
        if self.gone:
            raise OSError("gone")
        match message["type"]:
            case "websocket.send":
                self.heard.append(message["bytes"])
            case "websocket.close":
                self.closed = True

    def of(self, channel: Channel) -> bytes:
        return b"".join(data[1:] for data in self.heard if data[0] == channel)

    @property
    def status(self) -> dict:
        assert self.heard[-1][0] == Channel.STATUS
        return json.loads(self.heard[-1][1:])

    async def open(self) -> WebSocket:
        scope = {"type": "websocket", "headers": [], "path": "/", "query_string": b""}
        socket = WebSocket(scope, self.said.get, self.send)  # type: ignore[arg-type]
        await socket.accept()
        return socket


class Program:
    """Writes what is in ``outputs`` and ends with ``code`` when ``over`` is set; takes input while ``takes`` is set."""

    def __init__(self, *, out: tuple[bytes, ...] = (), err: tuple[bytes, ...] = (), code: int = 0) -> None:
        self.outputs = {Channel.OUTPUT: deque(out), Channel.ERROR_OUTPUT: deque(err)}
        self.code = code
        self.over = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self.taken = b""
        self.input_ended = asyncio.Event()
        self.resized = asyncio.Event()
        self.size = (0, 0)
        self.started = asyncio.Event()
        self.ended = False
        self.failure: Exception | None = None

    async def write(self, data: bytes) -> None:
        await self.takes.wait()
        self.taken += data

    def close_input(self) -> None:
        self.input_ended.set()

    async def read(self, channel: Channel) -> bytes:
        if self.outputs[channel]:
            return self.outputs[channel].popleft()
        await self.over.wait()
        return b""

    def resize(self, size) -> None:
        self.size = (size.width, size.height)
        self.resized.set()

    async def wait(self) -> int:
        await self.over.wait()
        return self.code

    # the runtime

    @asynccontextmanager
    async def run(self, name, request) -> AsyncIterator[Program]:
        if self.failure is not None:
            raise self.failure
        self.started.set()
        try:
            yield self
        finally:
            self.ended = True

    runs = refuses = open_log = None


async def converse(client: Client, program: Program, request: CommandRequest = ALL) -> None:
    session = ExecSession(await client.open(), ChannelProtocol.V5, request)
    async with asyncio.timeout(10):
        await session.run(program, NAME)  # type: ignore[arg-type]
    assert program.ended or program.failure is not None


async def test_everything_that_was_written_comes_before_how_it_ended():
    """Both outputs, then the status, then the end."""
    client, program = Client(), Program(out=(b"a", b"b"), err=(b"c",), code=3)
    program.over.set()
    await converse(client, program)
    assert (client.of(Channel.OUTPUT), client.of(Channel.ERROR_OUTPUT)) == (b"ab", b"c")
    assert client.status["details"]["causes"][0]["message"] == "3"
    assert client.closed


async def test_only_what_was_asked_for():
    """Input that was not asked for is dropped, an output is not read."""
    client, program = Client(), Program(out=(b"a",), err=(b"c",))
    client.say(b"\x00input")
    client.say(b'\x04{"Width": 1, "Height": 2}')
    async with asyncio.TaskGroup() as group:
        group.create_task(converse(client, program, CommandRequest(command=("x",), stdout=True)))
        await program.resized.wait()
        program.over.set()
    assert (program.taken, client.of(Channel.ERROR_OUTPUT), program.size) == (b"", b"", (1, 2))


async def test_input_and_its_end():
    """Text messages are input too, as the Python client sends them."""
    client, program = Client(), Program()
    client.say(b"\x00one ")
    client.said.put_nowait({"type": "websocket.receive", "text": "\x00zwölf", "bytes": None})
    client.say(b"\xff\x00")
    async with asyncio.TaskGroup() as group:
        group.create_task(converse(client, program))
        await program.input_ended.wait()
        program.over.set()
    assert program.taken == "one zwölf".encode()
    assert client.status["status"] == "Success"


async def test_a_client_that_goes_ends_the_program():
    """Also while nothing is written, and while what is written waits for it."""
    for reads in (True, False):
        client, program = Client(), Program(out=(b"x",) * 3)
        async with asyncio.TaskGroup() as group:
            group.create_task(converse(client, program))
            await program.started.wait()
            if not reads:
                client.reads.clear()
            client.go()
        assert not client.closed


async def test_a_slow_client_holds_up_the_program():
    """No more than one piece per output is on its way."""
    client, program = Client(), Program(out=(b"x",) * 100)
    async with asyncio.TaskGroup() as group:
        group.create_task(converse(client, program))
        await program.started.wait()
        client.reads.clear()
        for _ in range(50):
            await asyncio.sleep(0)
        before = len(program.outputs[Channel.OUTPUT])
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(program.outputs[Channel.OUTPUT]) == before
        client.reads.set()
        program.over.set()
    assert client.of(Channel.OUTPUT) == b"x" * 100


async def test_a_program_that_takes_no_input_holds_up_the_client(monkeypatch: pytest.MonkeyPatch):
    """For so long; then nobody can be there any more, and it ends."""
    monkeypatch.setattr(podexec, "_HELD_INPUT", 10)
    monkeypatch.setattr(podexec, "_STALLED_SECONDS", 0.05)
    client, program = Client(), Program()
    program.takes.clear()
    for _ in range(20):
        client.say(b"\x00xxxxx")
    await converse(client, program)
    assert client.status["reason"] == "Timeout"
    assert client.said.qsize() > 10


async def test_nonsense_ends_the_session():
    """With the reason."""
    client, program = Client(), Program()
    client.say(b"\x04}")
    await converse(client, program)
    assert (client.status["code"], client.status["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize("failure", [OSError(11, "Resource temporarily unavailable"), RuntimeError("SeCrEt")])
async def test_what_cannot_be_started_is_told(failure, caplog):
    """In the error's words where the system refused, and in none where we are to blame."""
    client, program = Client(), Program()
    program.failure = failure
    await converse(client, program)
    told = client.status["message"]
    assert told == (
        "the command could not be started: Resource temporarily unavailable"
        if isinstance(failure, OSError)
        else "Internal error occurred"
    )


async def test_the_buffer_is_bounded():
    """A message more than the limit at most; what comes out is what came in, then the end."""
    buffer = InputBuffer(10)
    await buffer.put(b"x" * 9)
    await buffer.put(b"y" * 100)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await buffer.put(b"z")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(buffer.put(b"z"))
        assert await buffer.get() == b"x" * 9
        assert not waiting.done()
        assert await buffer.get() == b"y" * 100
    buffer.close()
    assert [await buffer.get(), await buffer.get()] == [b"z", b""]


def test_what_a_query_asks_for():
    """Words in order; booleans as apimachinery reads them; a terminal has no errors of its own."""
    query = QueryParams("command=a&command=b+c&stdout=true&stderr=1&stdin=false&tty=0")
    assert parse_command_request(query) == CommandRequest(command=("a", "b c"), stdout=True, stderr=True)
    query = QueryParams("command=a&stdout=true&stderr=true&stdin=&tty=true")
    assert parse_command_request(query) == CommandRequest(command=("a",), stdin=True, stdout=True, tty=True)


@pytest.mark.parametrize(
    "query", ["stdout=true", "command=&stdout=true", "command=a", "command=a&stdout=false", "command=a%00b&stdout=true"]
)
def test_what_asks_for_nothing_is_refused(query):
    """No command, no stream, or no word that a program could have."""
    with pytest.raises(StatusError) as caught:
        parse_command_request(QueryParams(query))
    assert caught.value.code == 400


def test_a_request_does_not_show_its_words():
    """Wherever it is printed."""
    assert "SeCrEt" not in repr(CommandRequest(command=("curl", "SeCrEt")))
