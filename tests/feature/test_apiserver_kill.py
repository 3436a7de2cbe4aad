"""A whole API server is killed again and again while clients write and watch."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2 as httpx
import msgspec
import pytest
from tests.support.apiserver import make_client, make_tls_files, widget

WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
WRITERS = 4
KILLS = 3
WRITES_BETWEEN_KILLS = 60


@dataclass(slots=True)
class Told:
    """What clients were told by the server, across all its lives."""

    revisions: dict[int, tuple[str, str]] = field(default_factory=dict)
    """Acknowledged revision: the object and its ``spec.size``, or "gone"."""
    last: dict[str, int] = field(default_factory=dict)
    """The newest acknowledged revision of each object."""
    unanswered: set[str] = field(default_factory=set)
    """Objects whose last write may or may not have happened."""
    grew: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def take(self, name: str, revision: int, size: str) -> None:
        assert revision not in self.revisions, f"revision {revision} was given out twice"
        self.revisions[revision] = (name, size)
        self.last[name] = revision
        self.unanswered.discard(name)
        async with self.grew:
            self.grew.notify_all()

    async def wait_for(self, count: int) -> None:
        async with self.grew:
            await self.grew.wait_for(lambda: len(self.revisions) >= count)


@asynccontextmanager
async def run_process(directory: Path, port: int) -> AsyncIterator[int]:
    """A server; killed with SIGKILL at the end of the block. Yields its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.support.apiserver_process", str(directory), str(port)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


async def write_on(client: httpx.AsyncClient, told: Told, writer: int, finished: asyncio.Event) -> None:
    """Create, change and delete own objects until the end; an unanswered write is looked at and not repeated blindly."""
    for number in itertools.count():
        name = f"w{writer}-{number % 5}"
        if finished.is_set():
            return
        told.unanswered.add(name)
        try:
            patch = {"spec": {"size": number + 1}}
            headers = {"content-type": "application/merge-patch+json"}
            answer = await client.patch(f"{WIDGETS}/{name}", json=patch, headers=headers)
            if answer.status_code == 404:
                answer = await client.post(WIDGETS, json=widget(name, size=number + 1))
            elif number % 7 == 6:
                told.last[name] = await _accept(told, name, answer)
                told.unanswered.add(name)
                await client.delete(f"{WIDGETS}/{name}")
                told.last.pop(name)
                told.unanswered.discard(name)
                continue
        except httpx.TransportError:
            await asyncio.sleep(0.02)  # the server is down: not a wait for time, only politeness
            continue
        await _accept(told, name, answer)


async def _accept(told: Told, name: str, answer: httpx.Response) -> int:
    assert answer.status_code in {200, 201}, answer.text
    body = answer.json()
    revision = int(body["metadata"]["resourceVersion"])
    await told.take(name, revision, str(body["spec"]["size"]))
    return revision


async def watch_on(client: httpx.AsyncClient, start: str, seen: list[tuple[int, str, str]]) -> None:
    """One watch after the other, each from the last resourceVersion that was seen; every event in ``seen``."""
    version = start
    while True:
        query = {"watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        try:
            async with client.stream("GET", WIDGETS, params=query, timeout=30) as answer:
                assert answer.status_code == 200
                async for line in answer.aiter_lines():
                    try:
                        event = msgspec.json.decode(line)
                    except msgspec.DecodeError:
                        break  # cut short by the kill
                    assert event["type"] != "ERROR", event
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        size = "gone" if event["type"] == "DELETED" else str(event["object"]["spec"]["size"])
                        seen.append((int(version), event["object"]["metadata"]["name"], size))
        except httpx.TransportError:
            await asyncio.sleep(0.02)


def check(told: Told, seen: list[list[tuple[int, str, str]]], listed: dict[str, int]) -> None:
    """What was acknowledged, what watches saw and what is stored are one history."""
    for name, revision in told.last.items():
        if name not in told.unanswered:
            assert listed[name] == revision
    for events in seen:
        numbers = [number for number, _, _ in events]
        assert numbers == sorted(set(numbers)), "an event twice or out of order"
        happened = {number: (name, size) for number, name, size in events}
        assert told.revisions.items() <= happened.items(), "an acknowledged change that no event tells of"
    assert seen[0] == seen[1] == seen[2]
    assert len(told.revisions) >= KILLS * WRITES_BETWEEN_KILLS
    replayed: dict[str, int] = {}
    for number, name, size in seen[0]:
        replayed.pop(name, None)
        if size != "gone":
            replayed[name] = number
    assert replayed == listed


@pytest.mark.timeout(60)
async def test_kills_in_the_middle_of_writes(tmp_path: Path):
    """Nothing acknowledged is lost, no revision is used twice, and a watch resumed from its last version has every
    change exactly once and in order.
    """
    tls = make_tls_files(tmp_path)
    told, finished = Told(), asyncio.Event()
    seen: list[list[tuple[int, str, str]]] = [[] for _ in range(3)]
    async with run_process(tmp_path, 0) as port:
        url = f"https://127.0.0.1:{port}"
        async with make_client(url, tls.certificate) as reader:
            start = (await reader.get(WIDGETS)).json()["metadata"]["resourceVersion"]
    async with asyncio.TaskGroup() as group:
        async with asyncio.TaskGroup() as writing:
            clients = [make_client(url, tls.certificate) for _ in range(WRITERS + len(seen))]
            for writer, client in enumerate(clients[:WRITERS]):
                writing.create_task(write_on(client, told, writer, finished))
            watching = [
                group.create_task(watch_on(client, start, events))
                for client, events in zip(clients[WRITERS:], seen, strict=True)
            ]
            for kill in range(1, KILLS + 1):
                async with run_process(tmp_path, port):
                    await told.wait_for(kill * WRITES_BETWEEN_KILLS)
            finished.set()
        async with run_process(tmp_path, port), make_client(url, tls.certificate) as reader:
            # A last write, and everybody has seen it.
            final = (await reader.post(WIDGETS, json=widget("final"))).json()
            last = int(final["metadata"]["resourceVersion"])
            while not all(events and events[-1][0] == last for events in seen):  # noqa: ASYNC110 - three lists, no event
                await asyncio.sleep(0.01)
            for task in watching:
                task.cancel()
            listed: dict[str, Any] = {
                item["metadata"]["name"]: item for item in (await reader.get(WIDGETS)).json()["items"]
            }
        for client in clients:
            await client.aclose()

    check(told, seen, {name: int(item["metadata"]["resourceVersion"]) for name, item in listed.items()})
