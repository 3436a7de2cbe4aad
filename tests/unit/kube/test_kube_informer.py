from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.fake_kube import FakeClock, FakeKube, Refusal, wait_for

from meshpass.api.kinds import CORE_KINDS, KINDS
from meshpass.kube.informer import Informer
from meshpass.kube.store import ObjectStore

SECRET = next(kind for kind in CORE_KINDS if kind.kind == "Secret")
POLICY = next(kind for kind in KINDS if kind.kind == "JWTPolicy")


class Rig:
    """An informer of Secrets between a fake server and a real store, in virtual time."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = FakeKube([SECRET, POLICY])
        self.client = self.server.client(self.clock)
        self.store = ObjectStore()
        self.store.expect("cluster1", [SECRET])
        self.informer = Informer(
            self.client, SECRET, self.store, sleep=self.clock.sleep, clock=self.clock, jitter=lambda: 0.0
        )

    async def wait_equal(self) -> None:
        """Returns once the store holds exactly what the server does."""
        await self.store.wait_until(lambda: self.seen() == self.server.names("secrets"))

    def seen(self) -> set[tuple[str, str, str]]:
        versions = self.store.versions("cluster1", "Secret")
        return {(key.namespace, key.name, version) for key, version in versions.items()}

    async def wait_watching(self) -> None:
        await wait_for(lambda: bool(self.server.streams))

    def count(self, *, watches: bool) -> int:
        return sum(("watch" in request.url.params) is watches for request in self.server.requests)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    for name in ("a", "b"):
        rig.server.put("secrets", name)
    async with running(rig):
        yield rig


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rig.informer.run())
        yield
        task.cancel()


async def test_informer_lists_then_follows_every_kind_of_event(rig):
    await rig.store.wait_synced()
    await rig.wait_watching()
    rig.server.put("secrets", "c")
    rig.server.put("secrets", "a", data={"k": "dg=="})
    rig.server.remove("secrets", "b")
    await rig.wait_equal()

    assert {name for _, name, _ in rig.seen()} == {"a", "c"}
    assert rig.count(watches=False) == 1
    watch = rig.server.requests[-1].url.params
    assert watch["allowWatchBookmarks"] == "true"
    assert 300 <= int(watch["timeoutSeconds"]) <= 600


async def test_informer_reads_long_lists_in_pages(rig):
    await rig.wait_watching()
    for number in range(1201):
        rig.server.put("secrets", f"s{number}")
    rig.server.expire_watches()
    await rig.wait_equal()

    lists = [request.url.params for request in rig.server.requests if "watch" not in request.url.params]
    assert [params.get("continue", "").partition(":")[0] for params in lists] == ["", "", "500", "1000"]


async def test_informer_lists_in_one_piece_when_the_continue_token_expires(rig):
    await rig.wait_watching()
    for number in range(600):
        rig.server.put("secrets", f"s{number}")
    rig.server.refusals.append(Refusal(410, continued=True))
    rig.server.expire_watches()
    await rig.wait_equal()

    lists = [request.url.params for request in rig.server.requests if "watch" not in request.url.params]
    assert [params.get("limit") for params in lists] == ["500", "500", "500", None]
    assert "continue" in lists[2]


async def test_informer_resumes_at_once_where_a_watch_ended_well(rig):
    await rig.wait_watching()
    rig.clock.now += 400
    rig.server.end_watches()
    rig.server.put("secrets", "c")
    await rig.wait_equal()

    assert rig.clock.delays == []
    assert rig.count(watches=False) == 1
    assert rig.server.requests[-1].url.params["resourceVersion"] == "102"


async def test_informer_pauses_when_watches_end_as_soon_as_they_start(rig):
    for _ in range(4):
        await rig.wait_watching()
        rig.server.end_watches()
    await rig.wait_watching()

    assert rig.clock.delays == [0.05, 0.1, 0.2, 0.4]
    assert rig.count(watches=False) == 1


async def test_informer_resumes_from_a_bookmark(rig):
    await rig.wait_watching()
    rig.server.version = 500
    rig.server.bookmark()
    await rig.store.wait_until(lambda: rig.store.progress("cluster1", "Secret") == 500)
    rig.server.break_watches()
    rig.server.compact()
    await rig.wait_watching()

    assert rig.server.requests[-1].url.params["resourceVersion"] == "500"
    assert rig.count(watches=False) == 1


async def test_informer_lists_again_after_410_as_an_answer_and_finds_deletions(rig):
    await rig.wait_watching()
    rig.server.break_watches()
    rig.server.remove("secrets", "a")
    rig.server.put("secrets", "c")
    rig.server.compact()
    await rig.wait_equal()

    assert {name for _, name, _ in rig.seen()} == {"b", "c"}
    assert rig.count(watches=False) == 2


async def test_informer_lists_again_after_410_as_an_event(rig):
    await rig.wait_watching()
    rig.server.remove("secrets", "a")
    rig.server.expire_watches()
    rig.server.remove("secrets", "b")
    await rig.wait_equal()

    assert rig.seen() == set()
    assert rig.count(watches=False) == 2


async def test_informer_that_always_gets_410_slows_down(rig):
    await rig.wait_watching()
    rig.server.refusals.extend(Refusal(410, watches=True) for _ in range(5))
    rig.server.break_watches()
    await rig.wait_watching()

    assert rig.clock.delays == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]


async def test_informer_other_error_event_resumes_without_a_list(rig):
    await rig.wait_watching()
    rig.server.send_line(b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd is away"}}\n')
    rig.server.streams.clear()
    rig.server.put("secrets", "c")
    await rig.wait_equal()

    assert rig.count(watches=False) == 1


async def test_informer_losing_the_server_changes_nothing_and_tries_within_bounds(rig, caplog):
    await rig.wait_watching()
    before = rig.store.objects
    rig.server.down = True
    rig.server.break_watches()
    await wait_for(lambda: len(rig.clock.delays) == 20)

    assert rig.store.objects is before
    assert rig.clock.delays[:4] == [0.05, 0.1, 0.2, 0.4]
    assert max(rig.clock.delays) == 30
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == ["watch lost"]

    rig.server.put("secrets", "c")
    rig.server.down = False
    await rig.wait_equal()
    assert rig.count(watches=False) == 1
    rig.clock.delays.clear()
    rig.server.break_watches()
    await rig.wait_watching()
    assert rig.clock.delays == [0.05]


async def test_informer_starts_before_its_server():
    rig = Rig()
    rig.server.down = True
    async with running(rig):
        await wait_for(lambda: len(rig.clock.delays) == 3)
        assert not rig.store.synced
        rig.server.down = False
        await rig.store.wait_synced()


@pytest.mark.parametrize("code", [401, 403, 404])
async def test_informer_refused_request_keeps_the_objects(rig, code):
    """Not even 404, which says that the kind is gone, empties the store: policies must not vanish by accident."""
    await rig.wait_watching()
    before = rig.store.objects
    rig.server.refusals.extend(Refusal(code) for _ in range(3))
    rig.server.break_watches()
    await wait_for(lambda: not rig.server.refusals)

    assert rig.store.objects is before
    await rig.wait_watching()
    assert rig.count(watches=False) == 1


@pytest.mark.parametrize(
    "line", [b"{not json\n", b'{"type":"NOISE","object":{}}\n', b'{"type":"ADDED","object":{"metadata":{}}}\n', b"[]\n"]
)
async def test_informer_lists_again_after_a_line_that_is_no_event(rig, line):
    await rig.wait_watching()
    rig.server.send_line(line)
    rig.server.streams.clear()
    rig.server.remove("secrets", "a")
    await rig.wait_equal()

    assert rig.count(watches=False) == 2


async def test_informer_drops_a_line_that_the_connection_cut_off(rig):
    await rig.wait_watching()
    rig.server.send_line(b'{"type":"DELETED","object":{"metadata":{"name":"a"')
    rig.server.break_watches()
    await rig.wait_watching()

    assert rig.seen() == rig.server.names("secrets")
    assert rig.count(watches=False) == 1


async def test_informer_joins_lines_that_arrive_in_pieces(rig):
    await rig.wait_watching()
    line = (
        '{"type":"ADDED","object":{"apiVersion":"v1","kind":"Secret","metadata":{"name":"c\u0085d","namespace":"n",'
        '"resourceVersion":"900"}}}\n\n'
    ).encode()
    for byte in line:
        rig.server.send_line(bytes([byte]))
    await rig.store.wait_until(lambda: ("n", "c\u0085d", "900") in rig.seen())


@pytest.mark.parametrize("version", [5, 100_000], ids=["lower", "higher"])
async def test_informer_lists_again_when_the_server_counts_anew(rig, version):
    """A server that lost its history answers 504 (version from its future) or 410 (from before its time)."""
    await rig.wait_watching()
    rig.server.remove("secrets", "a")
    await rig.wait_equal()
    await rig.wait_watching()
    rig.server.objects[("secrets", "default", "b")]["data"] = {"k": "dg=="}
    rig.server.restart(version=version)
    if version > 100:
        rig.server.compact()
    await rig.wait_equal()

    assert rig.count(watches=False) == 2


async def test_informer_lists_again_when_an_event_is_older_than_the_last(rig):
    """A server with another history that does not notice it sends events with lower versions."""
    await rig.wait_watching()
    rig.server.version = 7
    rig.server.compacted = 0
    rig.server.history.clear()
    rig.server.put("secrets", "a")
    rig.server.remove("secrets", "b")
    await rig.wait_equal()

    assert rig.count(watches=False) == 2
