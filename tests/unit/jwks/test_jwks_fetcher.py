from __future__ import annotations

import asyncio
import heapq
import json
import stat
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.fake_kube import wait_for
from tests.support.jwks_server import EC_KEY, EDDSA_KEY, OTHER_KEY, UNKNOWN_KEY, key_set

from meshpass.api.objectset import ObjectKey
from meshpass.ir import Endpoint
from meshpass.jwks.download import Answer, Validators
from meshpass.jwks.failure import FetchError
from meshpass.jwks.fetcher import KeySetFetcher
from meshpass.translate.keysource import KeyFetch, KeySource

SOURCE = KeySource("https://keys.example.com/jwks?tenant=secret")
OTHER = KeySource("https://keys.example.com/jwks?tenant=secret", "backend")
FETCH = KeyFetch(policies=(ObjectKey("JWTPolicy", "cluster1", "web", "jwt"),))
START = 1_700_000_000.0
DOWN = FetchError("cannot connect: Connection refused", transient=True)
GARBAGE = b"<html>"


class ManualClock:
    """Time that passes only in `advance`."""

    def __init__(self) -> None:
        self.now = START
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        heapq.heappush(self._sleepers, (self.now + seconds, id(woken), woken))
        await woken.wait()

    async def advance(self, seconds: float) -> None:
        """So much time passes, and whoever sleeps wakes in order, each with its time to act."""
        await settle()
        end = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self.now, _, woken = heapq.heappop(self._sleepers)
            woken.set()
            await settle()
        self.now = end
        await settle()


async def settle() -> None:
    """Everybody had a turn, and the threads that write files are done."""
    for _ in range(20):
        await asyncio.sleep(0)
    await asyncio.to_thread(lambda: None)
    for _ in range(20):
        await asyncio.sleep(0)


Said = bytes | FetchError | Exception | Answer | None
"""A body, a failure, an answer with headers; None: nothing comes until the test says so."""


class FakeServer:
    """A Download that says what the test says."""

    def __init__(self) -> None:
        self.says: Said = key_set(EC_KEY)
        self.requests: list[tuple[KeySource, KeyFetch, Validators]] = []
        self.times: list[float] = []
        self.clock = ManualClock()
        self.now_at_once = 0
        self.most_at_once = 0
        self.released = asyncio.Event()

    async def __call__(self, source: KeySource, fetch: KeyFetch, validators: Validators) -> Answer:
        self.requests.append((source, fetch, validators))
        self.times.append(self.clock.now - START)
        self.now_at_once += 1
        self.most_at_once = max(self.most_at_once, self.now_at_once)
        try:
            if self.says is None:
                await self.released.wait()
            match self.says:
                case Exception():
                    raise self.says
                case Answer():
                    return self.says
                case says:
                    return Answer(body=says or key_set(EC_KEY), validators=Validators())
        finally:
            self.now_at_once -= 1

    @property
    def count(self) -> int:
        return len(self.requests)


class Rig:
    """A fetcher, its server, its clock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.server = FakeServer()
        self.clock = self.server.clock
        self.fetcher = self.make()

    def make(self) -> KeySetFetcher:
        return KeySetFetcher(
            self.directory,
            self.server,
            clock=self.clock,
            monotonic=self.clock,
            sleep=self.clock.sleep,
            random=lambda: 0.0,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[KeySetFetcher]:
        # One thread: what `settle` sends there comes after the files that are being written.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            task = tasks.create_task(self.fetcher.run())
            yield self.fetcher
            task.cancel()

    def kids(self, source: KeySource = SOURCE) -> list[str] | None:
        known = self.fetcher.key_sets.get(source)
        return None if known is None or known.jwks is None else [key["kid"] for key in json.loads(known.jwks)["keys"]]

    def problem(self, source: KeySource = SOURCE) -> str:
        return self.fetcher.key_sets[source].problem


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path / "jwks")


async def test_a_source_is_fetched_and_kept_fresh(rig):
    """At 90 % of the time that the keys are good for, less jitter, with one request each."""
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        assert await fetcher.wait_changed(0) == 1
        assert rig.kids() == ["one"]
        assert rig.problem() == ""
        await rig.clock.advance(1000)
    assert rig.server.times == [0, 270, 540, 810]
    assert fetcher.revision == 1


async def test_key_sets_are_replaced_and_never_changed(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await fetcher.wait_changed(0)
        before = fetcher.key_sets
        rig.server.says = key_set(EC_KEY, OTHER_KEY)
        await rig.clock.advance(270)
        assert fetcher.revision == 2
        assert sorted(rig.kids()) == ["one", "two"]
        assert before[SOURCE] != fetcher.key_sets[SOURCE]


async def test_following_the_same_again_changes_nothing(rig):
    async with rig.running() as fetcher:
        for _ in range(5):
            fetcher.follow({SOURCE: FETCH})
            await settle()
        fetcher.follow({SOURCE: replace(FETCH, policies=())})
        await settle()
        assert (rig.server.count, fetcher.revision) == (1, 1)
        assert fetcher.report()[0].policies == ()


async def test_one_url_with_two_destinations_is_two_sources(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH, OTHER: replace(FETCH, endpoints=(Endpoint("127.0.0.1", 1),))})
        await settle()
        assert sorted(source.destination for source, *_ in rig.server.requests) == ["", "backend"]


async def test_a_source_that_goes_is_asked_no_more(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH, OTHER: FETCH})
        await settle()
        fetcher.follow({OTHER: FETCH})
        assert set(fetcher.key_sets) == {OTHER}
        await rig.clock.advance(270)
        assert [source for source, *_ in rig.server.requests[2:]] == [OTHER]


async def test_a_source_that_comes_back_has_its_old_keys_at_once(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        fetcher.follow({})
        assert dict(fetcher.key_sets) == {}
        rig.server.says = DOWN
        fetcher.follow({SOURCE: FETCH})
        assert rig.kids() == ["one"]


async def test_a_request_under_way_ends_with_its_source(rig):
    rig.server.says = None
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await wait_for(lambda: rig.server.now_at_once == 1)
        fetcher.follow({})
        await wait_for(lambda: rig.server.now_at_once == 0)
        assert dict(fetcher.key_sets) == {}


@pytest.mark.parametrize(
    ("answer", "next_at"),
    [
        (Answer(body=key_set(EC_KEY), lifetime=100, validators=Validators()), 90),
        (Answer(body=key_set(EC_KEY), lifetime=0, validators=Validators()), 9),
        (Answer(body=key_set(EC_KEY), lifetime=10**6, validators=Validators()), 270),
    ],
)
async def test_the_server_shortens_the_time_within_bounds(rig, answer, next_at):
    rig.server.says = answer
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        assert fetcher.report()[0].next_fetch_in == pytest.approx(next_at)


async def test_a_304_keeps_the_keys_and_counts_as_fresh(rig):
    rig.server.says = Answer(body=key_set(EC_KEY, UNKNOWN_KEY), validators=Validators('"v1"'))
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        problem = rig.problem()
        rig.server.says = Answer(body=None, lifetime=None, validators=Validators('"v1"'))
        await rig.clock.advance(270)
        assert [validators for *_, validators in rig.server.requests] == [Validators(), Validators('"v1"')]
        assert (rig.kids(), rig.problem(), fetcher.revision) == (["one"], problem, 1)
        assert fetcher.report()[0].age_seconds == 0


async def test_last_good_keys_stay_while_the_server_is_down(rig):
    """However long; requests become rare, and the words about it do not change with time."""
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        rig.server.says = DOWN
        await rig.clock.advance(100_000)
        assert rig.kids() == ["one"]
        assert rig.problem() == (
            "could not be fetched again: cannot connect: Connection refused; the keys of 2023-11-14T22:13:20Z are in use"
        )
        assert fetcher.revision == 2
        report = fetcher.report()[0]
        assert (report.age_seconds, report.last_error) == (100_000, DOWN.reason)
        assert 100_000 / 62 < rig.server.count / 2 < 100_000 / 55
        rig.server.says = key_set(OTHER_KEY)
        await rig.clock.advance(61)
        assert (rig.kids(), rig.problem(), fetcher.revision) == (["two"], "", 3)
        assert fetcher.report()[0].last_error == ""


async def test_retries_and_pauses_follow_the_policy(rig):
    rig.server.says = DOWN
    fetch = KeyFetch(retries=3, retry_base_seconds=2, retry_max_seconds=5, failed_refetch_seconds=20)
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: fetch})
        await rig.clock.advance(60)
    assert rig.server.times == [0, 2, 6, 11, 31, 33, 37, 42]


async def test_the_first_failure_is_told_before_the_retries_are_over(rig):
    rig.server.says = DOWN
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: replace(FETCH, retries=5)})
        await fetcher.wait_changed(0)
        assert fetcher.key_sets[SOURCE].jwks is None
        assert rig.problem() == "could not be fetched: cannot connect: Connection refused"
        assert rig.server.count == 1


async def test_a_single_failure_that_a_retry_mends_is_nobodys_business(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        rig.server.says = DOWN
        await rig.clock.advance(270)
        rig.server.says = key_set(EC_KEY)
        await rig.clock.advance(1)
        assert (rig.server.count, fetcher.revision, fetcher.report()[0].last_error) == (3, 1, "")


async def test_what_will_not_change_soon_is_not_retried(rig):
    rig.server.says = FetchError("the URL has a fragment")
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: replace(FETCH, retries=5, failed_refetch_seconds=30)})
        await rig.clock.advance(29)
        assert rig.server.count == 1


@pytest.mark.parametrize(
    "bad",
    [GARBAGE, b"{}", key_set(UNKNOWN_KEY), RuntimeError("a bug"), ExceptionGroup("many", [OSError()])],
    ids=["html", "no set", "no key", "bug", "bugs"],
)
async def test_a_bad_answer_never_replaces_good_keys(rig, bad):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        rig.server.says = bad
        await rig.clock.advance(300)
        assert rig.kids() == ["one"]
        assert "the keys of 2023-11-14T22:13:20Z are in use" in rig.problem()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary() | st.just(key_set(OTHER_KEY)) | st.just(key_set(EDDSA_KEY)), max_size=6))
def test_any_bodies_leave_the_last_good_keys(tmp_path_factory, bodies):
    """After any answers the keys are those of the last usable one, in memory and on disk."""

    async def check() -> None:
        rig = Rig(tmp_path_factory.mktemp("jwks"))
        good = key_set(EC_KEY)
        async with rig.running() as fetcher:
            fetcher.follow({SOURCE: FETCH})
            await settle()
            for body in bodies:
                rig.server.says = body or b" "
                await fetcher.refresh()
                await settle()
                good = body if body.startswith(b'{"keys"') else good
            assert rig.kids() == [key["kid"] for key in json.loads(good)["keys"]]
        rig.fetcher = rig.make()
        assert rig.kids() == [key["kid"] for key in json.loads(good)["keys"]]

    asyncio.run(check())


async def test_keys_that_are_not_used_are_named(rig):
    rig.server.says = key_set(EC_KEY, UNKNOWN_KEY)
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        assert rig.problem().startswith("some of its keys cannot be used (key later is not used")


async def test_a_restart_with_the_server_down_keeps_every_key(rig):
    """The saved keys are there before the first translation, and the first request is conditional."""
    rig.server.says = Answer(body=key_set(EC_KEY), lifetime=None, validators=Validators('"v1"'))
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
    before = fetcher.key_sets
    await rig.clock.advance(1000)
    rig.server.says = DOWN
    rig.fetcher = rig.make()
    assert rig.fetcher.key_sets == before
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        assert (fetcher.key_sets, fetcher.revision) == (before, 0)
        await rig.clock.advance(10)
        assert rig.kids() == ["one"]
        assert "the keys of 2023-11-14T22:13:20Z are in use" in rig.problem()
        assert rig.server.requests[1][2] == Validators('"v1"')
        assert fetcher.report()[0].age_seconds == 1010


async def test_files_are_private_and_hold_public_keys_only(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
    (file,) = rig.directory.iterdir()
    assert stat.S_IMODE(rig.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    saved = json.loads(file.read_text())
    assert saved.keys() == {"url", "destination", "jwks", "fetchedAt", "etag", "lastModified", "skipped"}


async def test_files_of_other_sources_go_with_the_first_follow_after_a_start(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH, OTHER: FETCH})
        await settle()
    (rig.directory / ".cut-short.new").touch()
    rig.fetcher = rig.make()
    assert set(rig.fetcher.key_sets) == {SOURCE, OTHER}
    rig.fetcher.follow({SOURCE: FETCH})
    assert set(rig.fetcher.key_sets) == {SOURCE}
    assert len(list(rig.directory.iterdir())) == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: "null",
        lambda text: text.replace("keys.example.com", "evil.example.com"),
        lambda text: text.replace("fetchedAt", "fetched"),
        lambda text: text.replace("P-256", "P-999"),
        lambda text: text.replace('\\"kty\\":', '\\"d\\":\\"AA\\",\\"kty\\":'),
        lambda text: text + "\udcff",
    ],
    ids=["empty", "cut", "null", "other url", "other field", "bad key", "private", "no text"],
)
async def test_files_that_are_not_what_was_saved_are_ignored(rig, spoil, caplog):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
    (file,) = rig.directory.iterdir()
    file.write_bytes(spoil(file.read_text()).encode("utf-8", "surrogateescape"))
    assert dict(rig.make().key_sets) == {}
    assert "saved key set ignored" in caplog.text


async def test_a_disk_that_takes_nothing_stops_nothing(rig, caplog):
    rig.directory.touch()
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await wait_for(lambda: rig.kids() == ["one"])
        await wait_for(lambda: "key set not saved" in caplog.text)


async def test_refresh_asks_now_and_returns_when_that_is_done(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH, OTHER: FETCH, KeySource("https://else.example.com/"): FETCH})
        await settle()
        rig.server.says = key_set(OTHER_KEY)
        (report, other) = await fetcher.refresh("https://keys.example.com/jwks")
        assert [key.kid for key in report.keys] == ["two"]
        assert (report.destination, other.destination) == ("", "backend")
        assert rig.server.count == 5
        assert len(await fetcher.refresh(SOURCE.url)) == 2
        assert len(await fetcher.refresh()) == 3
        assert await fetcher.refresh("https://unknown.example.com/") == ()


async def test_refreshes_at_the_same_time_are_one_request(rig):
    """One that is under way may have been answered before the rotation: all later callers share the next one."""
    rig.server.says = None
    async with rig.running() as fetcher, asyncio.TaskGroup() as tasks:
        fetcher.follow({SOURCE: FETCH})
        await wait_for(lambda: rig.server.count == 1)
        waiting = [tasks.create_task(fetcher.refresh()) for _ in range(10)]
        await settle()
        assert rig.server.count == 1
        rig.server.says = key_set(EC_KEY)
        rig.server.released.set()
        await asyncio.wait(waiting)
        assert (rig.server.count, rig.server.most_at_once) == (2, 1)


async def test_refresh_does_not_wait_for_pauses(rig):
    rig.server.says = DOWN
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: replace(FETCH, retry_base_seconds=1000, retry_max_seconds=1000)})
        await settle()
        rig.server.says = key_set(EC_KEY)
        (report,) = await fetcher.refresh()
        assert report.last_error == ""
        assert rig.server.count == 2


async def test_refresh_ends_when_its_source_goes(rig):
    rig.server.says = None
    async with rig.running() as fetcher, asyncio.TaskGroup() as tasks:
        fetcher.follow({SOURCE: FETCH})
        refreshing = tasks.create_task(fetcher.refresh())
        await settle()
        fetcher.follow({})
        fetcher.follow({SOURCE: FETCH})
        await wait_for(refreshing.done)


async def test_an_unknown_kid_causes_a_request_within_limits(rig):
    """At most one within 5 s of any other; four at once, then two a minute, however many tokens come."""
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: replace(FETCH, cache_seconds=86400)})
        await rig.clock.advance(1)
        for _ in range(100):
            for _ in range(10):
                fetcher.note_unknown_kid(SOURCE, "new")
            await rig.clock.advance(1)
    assert rig.server.times == [0, 5, 10, 15, 20, 35, 65, 95]


async def test_an_unknown_kid_that_is_known_by_now_causes_nothing(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        fetcher.note_unknown_kid(SOURCE, "two")
        rig.server.says = key_set(EC_KEY, OTHER_KEY)
        await fetcher.refresh()
        fetcher.note_unknown_kid(SOURCE, "two")
        fetcher.note_unknown_kid(OTHER, "two")
        await rig.clock.advance(200)
        assert rig.server.count == 2


async def test_an_unknown_kid_does_not_hurry_a_server_that_fails(rig):
    rig.server.says = DOWN
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: replace(FETCH, retries=0, failed_refetch_seconds=60)})
        await settle()
        for _ in range(50):
            fetcher.note_unknown_kid(SOURCE)
            await rig.clock.advance(1)
        assert rig.server.count == 1


async def test_rotation_is_seen_by_its_first_token(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await rig.clock.advance(60)
        rig.server.says = key_set(OTHER_KEY)
        fetcher.note_unknown_kid(SOURCE, "two")
        await settle()
        assert rig.kids() == ["two"]


async def test_changed_settings_apply_at_once(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        fetcher.follow({SOURCE: replace(FETCH, cache_seconds=100)})
        await settle()
        assert fetcher.report()[0].next_fetch_in == 90
        await rig.clock.advance(90)
        assert rig.server.count == 2


async def test_new_endpoints_of_a_failing_destination_are_tried_soon(rig):
    rig.server.says = DOWN
    async with rig.running() as fetcher:
        fetcher.follow({OTHER: replace(FETCH, endpoints=())})
        await rig.clock.advance(500)
        count = rig.server.count
        for port in range(1, 20):
            fetcher.follow({OTHER: replace(FETCH, endpoints=(Endpoint("127.0.0.1", port),))})
            await settle()
        assert rig.server.count <= count + 1
        rig.server.says = key_set(EC_KEY)
        await rig.clock.advance(1)
        assert rig.kids(OTHER) == ["one"]


async def test_reports_say_nothing_secret(rig):
    async with rig.running() as fetcher:
        fetcher.follow({SOURCE: FETCH})
        await settle()
        (report,) = fetcher.report()
    assert report.url == "https://keys.example.com/jwks"
    assert "secret" not in repr(report)
    assert [(key.kid, key.kty, key.alg) for key in report.keys] == [("one", "EC", "ES256")]


async def test_many_sources_are_fetched_once_each_and_not_all_at_once(rig):
    sources = {KeySource(f"https://{number}.example.com/"): FETCH for number in range(200)}
    rig.server.says = None
    async with rig.running() as fetcher:
        fetcher.follow(sources)
        await wait_for(lambda: rig.server.now_at_once == 64)
        await settle()
        assert rig.server.count == 64
        rig.server.says = key_set(EC_KEY)
        rig.server.released.set()
        await wait_for(lambda: len(fetcher.key_sets) == 200)
        assert rig.server.count == 200
