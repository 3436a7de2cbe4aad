from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.fake_kube import FakeClock, FakeKube, Refusal, wait_for

from meshpass.api.kinds import KINDS
from meshpass.api.objectset import ObjectKey
from meshpass.kube.event import EventRecorder
from meshpass.kube.informer import Informer
from meshpass.kube.status import StatusWriter, with_transition_times
from meshpass.kube.store import ObjectStore

POLICY = next(kind for kind in KINDS if kind.kind == "JWTPolicy")
EVENT = type("EventKind", (), {"group": "", "version": "v1", "kind": "Event", "plural": "events", "namespaced": True})
START = datetime(2026, 1, 1, tzinfo=UTC)
KEY = ObjectKey("JWTPolicy", "cluster1", "default", "p0")


def make_status(accepted: str = "True", routes: int = 1, reason: str = "Accepted") -> dict:
    condition = {"type": "Accepted", "status": accepted, "reason": reason, "observedGeneration": 1}
    return {"numSelectedRoutes": routes, "conditions": [condition]}


class Rig:
    """A status writer between a fake server with policies p0 … p9 and a store that an informer fills."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.server = FakeKube([POLICY, EVENT()])
        for number in range(10):
            self.server.put("jwtpolicies", f"p{number}", spec={})
        self.client = self.server.client(self.clock)
        self.store = ObjectStore()
        self.store.expect("cluster1", [POLICY])
        self.informer = Informer(self.client, POLICY, self.store, sleep=self.clock.sleep, jitter=lambda: 0.0)
        clients = {"cluster1": self.client}
        self.writer = StatusWriter(clients, self.store, clock=self.now, sleep=self.clock.sleep, jitter=lambda: 0.0)
        self.recorder = EventRecorder(clients, self.store, clock=self.now, sleep=self.clock.sleep, jitter=lambda: 0.0)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.clock.now)

    def stored(self, name: str = "p0") -> dict:
        return self.server.objects[("jwtpolicies", "default", name)]

    def patches(self) -> int:
        return sum(request.method == "PATCH" for request in self.server.requests)

    async def wait_seen(self) -> None:
        """Returns once the store holds what the server does."""

        def seen() -> bool:
            versions = self.store.versions("cluster1", "JWTPolicy")
            return {(k.namespace, k.name, v) for k, v in versions.items()} == self.server.names("jwtpolicies")

        await self.store.wait_until(seen)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    async with running(rig):
        await rig.store.wait_synced()
        yield rig


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        started = [tasks.create_task(part.run()) for part in (rig.informer, rig.writer, rig.recorder)]
        yield
        for task in started:
            task.cancel()


async def test_status_is_written_once_and_causes_no_new_object_set(rig):
    revision = rig.store.revision
    rig.writer.submit({KEY: make_status()})
    await rig.writer.wait_idle()
    rig.writer.submit({KEY: make_status()})
    await rig.writer.wait_idle()
    await rig.wait_seen()
    rig.writer.submit({KEY: make_status()})
    await rig.writer.wait_idle()

    expected = make_status()
    expected["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    assert rig.stored()["status"] == expected
    assert rig.patches() == 1
    assert rig.store.revision == revision
    assert rig.server.requests[-1].url.params.get("fieldManager", "meshpass") == "meshpass"


async def test_status_transition_time_moves_only_when_the_condition_flips(rig):
    async def write(status: dict) -> str:
        rig.clock.now += 60
        rig.writer.submit({KEY: status})
        await rig.writer.wait_idle()
        await rig.wait_seen()
        return rig.stored()["status"]["conditions"][0]["lastTransitionTime"]

    assert await write(make_status()) == "2026-01-01T00:01:00Z"
    assert await write(make_status(routes=2)) == "2026-01-01T00:01:00Z"
    assert await write(make_status(reason="AcceptedToo")) == "2026-01-01T00:01:00Z"
    assert await write(make_status("False", reason="Invalid")) == "2026-01-01T00:04:00Z"
    assert rig.patches() == 4


async def test_status_fields_that_are_no_longer_desired_go(rig):
    rig.writer.submit({KEY: {**make_status(), "extra": {"a": 1, "b": 2}}})
    await rig.writer.wait_idle()
    rig.writer.submit({KEY: {"extra": {"a": 1}}})
    await rig.writer.wait_idle()

    assert rig.stored()["status"] == {"extra": {"a": 1}}


async def test_status_latest_desired_wins_and_few_requests_are_in_flight(rig):
    rig.server.gate = asyncio.Event()
    keys = [KEY._replace(name=f"p{number}") for number in range(10)]
    rig.writer.submit({key: make_status(routes=1) for key in keys})
    rig.server.arrived.clear()
    await rig.server.arrived.wait()
    for routes in (2, 3):
        rig.writer.submit({key: make_status(routes=routes) for key in keys})
    rig.server.gate.set()
    await rig.writer.wait_idle()

    assert [rig.stored(key.name)["status"]["numSelectedRoutes"] for key in keys] == [3] * 10
    assert rig.server.most_in_flight <= 4
    assert rig.patches() <= 14  # four had 1 in flight; nobody wrote 2


async def test_status_conflict_is_written_from_the_fresh_object(rig):
    rig.server.end_watches()  # the store falls behind
    rig.server.put("jwtpolicies", "p0", spec={}, status={"stale": True}, metadata={"labels": {"a": "b"}})
    rig.writer.submit({KEY: {"numSelectedRoutes": 7}})
    await rig.writer.wait_idle()

    assert rig.stored()["status"] == {"numSelectedRoutes": 7}
    assert rig.stored()["metadata"]["labels"] == {"a": "b"}


async def test_status_written_twice_while_the_store_lags_needs_no_look_at_the_server(rig):
    rig.server.streams.clear()  # the watch hangs
    for routes in (1, 2):
        rig.writer.submit({KEY: make_status(routes=routes)})
        await rig.writer.wait_idle()

    assert rig.stored()["status"]["numSelectedRoutes"] == 2
    assert [request.method for request in rig.server.requests[-2:]] == ["PATCH", "PATCH"]
    assert json.loads(rig.server.requests[-1].content)["metadata"].keys() == {"uid", "resourceVersion"}


async def test_status_never_reaches_an_object_made_anew_under_the_name(rig):
    rig.server.break_watches()
    rig.server.remove("jwtpolicies", "p0")
    rig.server.put("jwtpolicies", "p0", spec={})
    rig.writer.submit({KEY: make_status()})
    await rig.writer.wait_idle()

    assert "status" not in rig.stored()


async def test_status_of_a_deleted_object_is_forgotten(rig):
    rig.server.streams.clear()  # the watch hangs: the store does not learn of it
    rig.server.remove("jwtpolicies", "p0")
    rig.writer.submit({KEY: make_status(), KEY._replace(name="unknown"): make_status()})
    await rig.writer.wait_idle()

    assert rig.patches() == 1
    assert rig.clock.delays == []


async def test_status_write_is_tried_again_and_holds_up_no_other(rig, caplog):
    rig.server.refusals.extend(Refusal(500, method="PATCH") for _ in range(3))
    keys = [KEY._replace(name=f"p{number}") for number in range(10)]
    rig.writer.submit({key: make_status() for key in keys})
    await rig.writer.wait_idle()

    assert all("status" in rig.stored(key.name) for key in keys)
    assert rig.patches() == 13
    assert len([record for record in caplog.records if record.message == "status not written"]) == 3


async def test_status_outage_ends_with_the_latest_status(rig):
    rig.server.down = True
    rig.writer.submit({KEY: make_status(routes=1)})
    rig.server.arrived.clear()
    await rig.server.arrived.wait()
    rig.writer.submit({KEY: make_status(routes=2)})
    await wait_for(lambda: len(rig.clock.delays) >= 12)
    rig.server.down = False
    await rig.writer.wait_idle()

    assert rig.stored()["status"]["numSelectedRoutes"] == 2
    assert max(rig.clock.delays) <= 30


async def test_status_field_that_the_server_drops_is_not_written_for_ever(rig):
    rig.server.drop_status_fields = frozenset({"unknown"})
    for _ in range(3):
        rig.writer.submit({KEY: {"unknown": 1, "numSelectedRoutes": 1}})
        await rig.writer.wait_idle()
        await rig.wait_seen()

    assert rig.patches() == 1


async def test_status_overwritten_by_someone_else_is_written_again(rig):
    rig.writer.submit({KEY: make_status()})
    await rig.writer.wait_idle()
    rig.server.put("jwtpolicies", "p0", spec={}, status={"numSelectedRoutes": 99})
    await rig.wait_seen()
    rig.writer.submit({KEY: make_status()})
    await rig.writer.wait_idle()

    assert rig.stored()["status"]["numSelectedRoutes"] == 1


def test_transition_time_of_a_new_condition_is_now_and_conditions_are_optional():
    assert with_transition_times({"a": 1}, {}, START) == {"a": 1}
    status = with_transition_times(make_status(), {"conditions": [{"type": "Other", "status": "True"}]}, START)
    assert status["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("conditions", [[{"status": "True"}], ["Ready"], "Ready", {"Ready": True}, None])
async def test_status_of_another_shape_is_replaced(rig, conditions):
    """Somebody wrote it when the kind was defined otherwise: the writer goes on, and the status is ours afterwards."""
    rig.server.put("jwtpolicies", "p0", spec={}, status={"conditions": conditions})
    await rig.wait_seen()
    rig.writer.submit({KEY: make_status()})
    await rig.writer.wait_idle()

    assert [one["type"] for one in rig.stored()["status"]["conditions"]] == ["Accepted"]


async def test_event_repeated_raises_the_count_of_the_one_that_is_there(rig):
    def events() -> list[dict]:
        return [raw for address, raw in rig.server.objects.items() if address[0] == "events"]

    for message in ("bad key", "bad key", "bad header"):
        rig.recorder.record(KEY, reason="Rejected", message=message)
    await wait_for(lambda: len(events()) == 2)
    rig.clock.now += 5
    rig.recorder.record(KEY, reason="Rejected", message="bad key")
    await wait_for(lambda: max(event["count"] for event in events()) == 3)

    first = next(event for event in events() if event["message"] == "bad key")
    assert len(events()) == 2
    assert (first["type"], first["reason"], first["count"]) == ("Warning", "Rejected", 3)
    assert (first["firstTimestamp"], first["lastTimestamp"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z")
    assert first["involvedObject"]["uid"] == rig.stored()["metadata"]["uid"]
    assert first["metadata"]["namespace"] == "default"


async def test_event_that_cannot_be_written_is_given_up(rig, caplog):
    rig.server.refusals.extend(Refusal(403, method="POST") for _ in range(6))
    rig.recorder.record(KEY, reason="Rejected", message="lost")
    rig.recorder.record(KEY._replace(name="gone"), reason="Rejected", message="nobody to tell it of")
    rig.recorder.record(KEY, reason="Rejected", message="kept")
    await wait_for(lambda: any(address[0] == "events" for address in rig.server.objects))

    assert [raw["message"] for address, raw in rig.server.objects.items() if address[0] == "events"] == ["kept"]
    assert [record.message for record in caplog.records] == ["event lost"]
