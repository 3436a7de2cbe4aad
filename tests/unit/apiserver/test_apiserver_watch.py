"""Watches: what a client sees of changes, in which order, and what happens when it is slow or late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.apiserver import WIDGET_CRD, widget

from meshpass.apiserver.crd import resources_from_crd
from meshpass.apiserver.options import parse_list_options
from meshpass.apiserver.representation import Representation, parse_accept
from meshpass.apiserver.revision import Key
from meshpass.apiserver.status import StatusError
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target
from meshpass.apiserver.watch import Hub, Watch

RESOURCE = resources_from_crd(WIDGET_CRD)[0]
KIND = "example.com/widgets"


class Bench:
    """A storage, its hub, and watches of widgets."""

    def __init__(self, directory: Path, *, history: int = 10_000) -> None:
        self.hub = Hub()
        self.storage = Storage(directory / "state.db", history=history, committed=self.hub.publish)

    def watch(
        self,
        *,
        namespace: str | None = None,
        name: str = "",
        bookmark_seconds: float = 3600,
        representation: Representation | None = None,
        **query: str,
    ) -> Watch:
        options = parse_list_options(RESOURCE, {"watch": "true", **query}, name=name)
        target = Target(resource=RESOURCE, namespace=namespace, name=name)
        shown = representation or Representation()
        return Watch(self.storage, self.hub, target, options, shown, bookmark_seconds=bookmark_seconds)

    def put(self, name: str, *, namespace: str = "default", **labels: str) -> str:
        value = widget(name, namespace=namespace, labels=labels, uid=name)
        return str(self.storage.put(Key(KIND, namespace, name), value).revision)

    def remove(self, name: str, *, namespace: str = "default") -> str:
        return str(self.storage.remove(Key(KIND, namespace, name)).revision)


@pytest.fixture
def bench(tmp_path: Path):
    made = Bench(tmp_path)
    yield made
    made.storage.close()


async def take(lines: AsyncIterator[bytes], count: int) -> list[dict[str, Any]]:
    """The next events; the chunk that holds the last one must not hold more."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(5):
        while len(events) < count:
            chunk = await anext(lines)
            events += [json.loads(line) for line in chunk.splitlines()]
    assert len(events) == count
    return events


def seen(events: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [
        (event["type"], event["object"]["metadata"].get("name", ""), event["object"]["metadata"]["resourceVersion"])
        for event in events
    ]


async def test_a_watch_from_a_revision_replays_and_then_follows(bench: Bench):
    """Nothing between the list and the watch is lost, nothing comes twice."""
    start = bench.put("a")
    second = bench.put("b")
    lines = bench.watch(resourceVersion=start).lines()

    assert seen(await take(lines, 1)) == [("ADDED", "b", second)]

    third = bench.put("b")
    fourth = bench.remove("a")

    assert seen(await take(lines, 2)) == [("MODIFIED", "b", third), ("DELETED", "a", fourth)]


@pytest.mark.parametrize("query", [{}, {"resourceVersion": "0"}], ids=["unset", "zero"])
async def test_a_watch_without_a_revision_starts_with_what_is_there(bench: Bench, query: dict[str, str]):
    """Synthetic ADDED events, then changes."""
    first, second = bench.put("a"), bench.put("b")
    lines = bench.watch(**query).lines()

    assert seen(await take(lines, 2)) == [("ADDED", "a", first), ("ADDED", "b", second)]

    assert seen_next(bench.put("c"), "c") == seen(await take(lines, 1))


def seen_next(revision: str, name: str) -> list[tuple[str, str, str]]:
    return [("ADDED", name, revision)]


async def test_an_object_that_starts_or_stops_matching_is_added_or_deleted(bench: Bench):
    """A selector's watch is a watch of the set of matching objects."""
    bench.put("a", app="x")
    lines = bench.watch(resourceVersion=str(bench.storage.revision), labelSelector="app=y").lines()
    joined = bench.put("a", app="y")
    stayed = bench.put("a", app="y", more="z")
    left = bench.put("a", app="x")
    bench.put("a", app="w")
    bench.remove("a")
    again = bench.put("b", app="y")
    gone = bench.remove("b")

    events = await take(lines, 5)

    assert seen(events) == [
        ("ADDED", "a", joined),
        ("MODIFIED", "a", stayed),
        ("DELETED", "a", left),
        ("ADDED", "b", again),
        ("DELETED", "b", gone),
    ]
    assert events[2]["object"]["metadata"]["labels"] == {"app": "y", "more": "z"}


async def test_a_watch_sees_its_namespace_and_name_alone(bench: Bench):
    """Neither other namespaces nor, on an object's URL, other names."""
    lines = bench.watch(namespace="one", resourceVersion=str(bench.storage.revision)).lines()
    named = bench.watch(namespace="one", name="b", resourceVersion=str(bench.storage.revision)).lines()
    bench.put("a", namespace="two")
    first = bench.put("a", namespace="one")
    second = bench.put("b", namespace="one")

    assert seen(await take(lines, 2)) == [("ADDED", "a", first), ("ADDED", "b", second)]
    assert seen(await take(named, 1)) == [("ADDED", "b", second)]


async def test_a_compacted_start_is_refused_with_410(tmp_path: Path):
    """The client must list again; silence would lose changes."""
    bench = Bench(tmp_path, history=3)
    old = bench.put("a")
    for _ in range(5):
        bench.put("a")
    bench.storage.compact()

    with pytest.raises(StatusError) as failure:
        bench.watch(resourceVersion=old)

    assert (failure.value.code, failure.value.reason) == (410, "Expired")
    assert str(failure.value).startswith("too old resource version")
    bench.storage.close()


async def test_a_watch_that_the_log_outlives_ends_with_an_error_event(tmp_path: Path):
    """A client that stops reading costs a cursor; when it comes back too late it is told so."""
    bench = Bench(tmp_path, history=3)
    lines = bench.watch(resourceVersion=bench.put("a")).lines()
    bench.put("b")
    await take(lines, 1)
    for _ in range(600):
        bench.put("b")
    bench.storage.compact()

    (event,) = await take(lines, 1)

    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    with pytest.raises(StopAsyncIteration):
        await anext(lines)
    bench.storage.close()


async def test_a_backlog_comes_in_bounded_chunks(bench: Bench):
    """However long the backlog, one step of a watch holds no more than 256 changes."""
    start = bench.put("a")
    with bench.storage.transaction():
        for _ in range(700):
            bench.put("a")
    lines = bench.watch(resourceVersion=start).lines()

    sizes = [len((await anext(lines)).splitlines()) for _ in range(3)]

    assert sizes == [256, 256, 188]


async def test_the_future_is_refused(bench: Bench):
    """A revision that has not happened: 504 with the cause that client-go looks for."""
    with pytest.raises(StatusError) as failure:
        bench.watch(resourceVersion="999999")

    assert failure.value.code == 504
    assert failure.value.details["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_bookmarks_carry_the_newest_revision(bench: Bench):
    """An idle watch learns that other kinds moved on, so that its next start is not compacted."""
    lines = bench.watch(resourceVersion=bench.put("a"), allowWatchBookmarks="true", bookmark_seconds=0.01).lines()
    waiting = asyncio.get_running_loop().create_task(take(lines, 1))
    newest = bench.storage.put(Key("other/things", "", "x"), {"metadata": {"uid": "u"}}).revision

    (bookmark,) = await waiting

    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["kind"] == "Widget"
    assert bookmark["object"]["metadata"]["resourceVersion"] == str(newest)


async def test_a_timeout_ends_the_watch_with_a_bookmark(bench: Bench):
    """The last thing a client hears is from where to go on."""
    revision = bench.put("a")
    lines = bench.watch(resourceVersion=revision, allowWatchBookmarks="true", timeoutSeconds="1").lines()

    events = [json.loads(chunk) async for chunk in lines]

    assert seen(events) == [("BOOKMARK", "", revision)]


async def test_a_watch_list_marks_the_end_of_the_initial_events(bench: Bench):
    """sendInitialEvents: everything there, then the bookmark with the annotation, then changes."""
    first = bench.put("a")
    lines = bench.watch(
        sendInitialEvents="true", resourceVersionMatch="NotOlderThan", allowWatchBookmarks="true"
    ).lines()

    added, end = await take(lines, 1) + await take(lines, 1)

    assert seen([added]) == [("ADDED", "a", first)]
    assert (end["type"], end["object"]["metadata"]["annotations"]) == (
        "BOOKMARK",
        {"k8s.io/initial-events-end": "true"},
    )
    assert end["object"]["metadata"]["resourceVersion"] == first


async def test_tables_are_watched_as_tables(bench: Bench):
    """``kubectl get -w`` reads every event as a Table of one row."""
    shown = parse_accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
    bench.put("a")
    (event,) = await take(bench.watch(representation=shown).lines(), 1)

    assert event["object"]["kind"] == "Table"
    assert [row["cells"][0] for row in event["object"]["rows"]] == ["a"]


async def test_closing_the_hub_ends_every_watch(bench: Bench):
    """Shutdown waits for no client."""
    lines = bench.watch(resourceVersion=bench.put("a")).lines()
    ended = asyncio.get_running_loop().create_task(anext(lines, None))
    await asyncio.sleep(0)

    bench.hub.close()

    assert await asyncio.wait_for(ended, 1) is None
    assert not bench.hub._waiting


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"resourceVersionMatch": "NotOlderThan"}, "resourceVersionMatch"),
        ({"sendInitialEvents": "true"}, "resourceVersionMatch"),
        ({"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}, "allowWatchBookmarks"),
    ],
)
async def test_contradictory_options_are_422(bench: Bench, query: dict[str, str], field: str):
    """The rules of Kubernetes' ValidateListOptions."""
    with pytest.raises(StatusError) as failure:
        bench.watch(**query)

    assert failure.value.code == 422
    assert failure.value.details["causes"][0]["field"] == field
