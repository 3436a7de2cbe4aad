"""Load from a process of its own: keep-alive connections, each sending its next request when its answer has come.

Talks to its parent in lines of JSON: takes ``{"seconds": …, "connections": [[request, status], …]}`` (0 seconds: until
the next line comes), answers with what it counted.
"""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Self

from bench.wire import RECEIVE_BYTES, WireError, response_size

_LOOK_AT_CLOCK = 256
_DRAIN_SECONDS = 5.0


@dataclass(slots=True)
class Counted:
    """What became of the requests of one run."""

    requests: int = 0
    seconds: float = 0.0
    failed: int = 0
    """No answer, or a 5xx."""
    wrong: int = 0
    """Answered, with another status than the one that is right."""
    closed: int = 0
    """Connections that the other side closed, or said that it would."""
    statuses: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What one connection sends, and the status that every answer has to have."""

    request: bytes
    status: int


class LoadProcess:
    """The parent's end."""

    def __init__(self, process: subprocess.Popen[str], address: tuple[str, int]) -> None:
        self._process = process
        self._address = address

    def run(self, kinds: Sequence[Kind], seconds: float) -> Counted:
        """Load for some seconds, one connection for each of ``kinds``."""
        self.begin(kinds, seconds)
        return self.result()

    def begin(self, kinds: Sequence[Kind], seconds: float = 0.0) -> None:
        connections = [[one.request.decode(), one.status] for one in kinds]
        self._say({"address": self._address, "seconds": seconds, "connections": connections})

    def end(self) -> Counted:
        """Stop what was begun without an end; no request is left without its answer."""
        self._say({})
        return self.result()

    def result(self) -> Counted:
        assert self._process.stdout is not None
        return Counted(**json.loads(self._process.stdout.readline()))

    def _say(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()


@contextmanager
def run_load(address: tuple[str, int]) -> Iterator[LoadProcess]:
    """Inside, a process waits for what load to make on the sidecar at ``address``."""
    command = [sys.executable, "-m", "bench.load"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield LoadProcess(process, address)
        finally:
            process.terminate()


class _Client:
    """One connection of the child."""

    def __init__(self, address: tuple[str, int], kind: Kind) -> None:
        self.kind = kind
        self.waiting = False
        self._address = address
        self._rest = b""
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def again(self) -> Self:
        """The same client on a new connection."""
        self.socket.close()
        return type(self)(self._address, self.kind)

    def send(self) -> None:
        self.socket.send(self.kind.request)
        self.waiting = True

    def take(self) -> bytes | None:
        """The answer, once it is complete. Raises OSError or WireError where the connection is gone."""
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise WireError("closed")
        if self._rest:
            data = self._rest + data
        size = response_size(data)
        if size is None or len(data) < size:
            self._rest = data
            return None
        self._rest = b""
        self.waiting = False
        return data


class _Run:
    """One run of the child."""

    def __init__(self, address: tuple[str, int], kinds: Sequence[Kind]) -> None:
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        self.counted = Counted()
        for kind in kinds:
            self._add(_Client(address, kind))

    def go(self, seconds: float) -> Counted:
        started = time.monotonic()
        for client in self._clients.values():
            client.send()
        done = 0
        while not self._over(started, seconds):
            while done < _LOOK_AT_CLOCK:
                done += self._turn(resend=True)
            done = 0
        self.counted.seconds = time.monotonic() - started
        deadline = time.monotonic() + _DRAIN_SECONDS
        while any(client.waiting for client in self._clients.values()) and time.monotonic() < deadline:
            self._turn(resend=False)
        self.counted.failed += sum(client.waiting for client in self._clients.values())
        for client in self._clients.values():
            client.socket.close()
        self._poll.close()
        return self.counted

    def _over(self, started: float, seconds: float) -> bool:
        if seconds:
            return time.monotonic() - started >= seconds
        return bool(select.select([sys.stdin], [], [], 0)[0])

    def _turn(self, *, resend: bool) -> int:
        ready = self._poll.poll(1.0)
        for number, _event in ready:
            client = self._clients[number]
            try:
                answer = client.take()
            except (OSError, WireError):
                self._replace(number, resend=resend)
                continue
            if answer is None:
                continue
            self._count(client, answer)
            if resend:
                client.send()
        return max(len(ready), 1)

    def _count(self, client: _Client, answer: bytes) -> None:
        counted, status = self.counted, int(answer[9:12])
        counted.requests += 1
        if status != client.kind.status:
            counted.statuses[str(status)] = counted.statuses.get(str(status), 0) + 1
            if status >= 500:
                counted.failed += 1
            else:
                counted.wrong += 1
        if b"onnection: close" in answer:
            counted.closed += 1

    def _replace(self, number: int, *, resend: bool) -> None:
        client = self._clients.pop(number)
        self._poll.unregister(number)
        self.counted.closed += 1
        self.counted.failed += client.waiting
        fresh = client.again()
        self._add(fresh)
        if resend:
            fresh.send()

    def _add(self, client: _Client) -> None:
        self._clients[client.socket.fileno()] = client
        self._poll.register(client.socket.fileno(), select.EPOLLIN)


def main() -> None:
    # Unbuffered: select() sees only what is still in the pipe, so nothing may be read ahead.
    lines = open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)  # noqa: SIM115
    while line := lines.readline():
        message = json.loads(line)
        if not message:
            continue
        kinds = [Kind(request=request.encode(), status=status) for request, status in message["connections"]]
        counted = _Run(tuple(message["address"]), kinds).go(message["seconds"])
        sys.stdout.write(json.dumps(asdict(counted)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
