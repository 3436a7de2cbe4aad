"""After any sequence of changes and disruptions the store holds exactly what the API server does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_kube import FakeClock, FakeKube, Refusal

from meshpass.api.core import Secret
from meshpass.api.kinds import CORE_KINDS
from meshpass.kube.informer import Informer
from meshpass.kube.store import ObjectStore

SECRET = next(kind for kind in CORE_KINDS if kind.kind == "Secret")
NAMES = st.sampled_from("abcde")

changes = st.one_of(
    st.tuples(st.just("put"), NAMES, st.sampled_from(["QQ==", "Qg=="])),
    st.tuples(st.just("remove"), NAMES, st.just("")),
)


def restart(server: FakeKube, version: int) -> None:
    server.restart(version=version)
    if version > 50:
        server.compact()


def switch(server: FakeKube, *, down: bool) -> None:
    server.down = down
    server.break_watches()


DISRUPTIONS: dict[str, Callable[[FakeKube], None]] = {
    "end": FakeKube.end_watches,
    "break": FakeKube.break_watches,
    "expire": FakeKube.expire_watches,
    "compact": FakeKube.compact,
    "bookmark": FakeKube.bookmark,
    "garbage": lambda server: server.send_line(b"<html>\n"),
    "restart low": lambda server: restart(server, 3),
    "restart high": lambda server: restart(server, server.version + 1000),
    "down": lambda server: switch(server, down=True),
    "up": lambda server: switch(server, down=False),
}


def act(server: FakeKube, step: tuple[str, str, str]) -> None:
    match step:
        case ("put", name, data):
            server.put("secrets", name, data={"k": data})
        case ("remove", name, _):
            if ("secrets", "default", name) in server.objects:
                server.remove("secrets", name)
        case ("refuse", code, _):
            server.refusals.append(Refusal(int(code)))
        case (disruption, _, _):
            DISRUPTIONS[disruption](server)


disruptions = st.tuples(st.sampled_from(sorted(DISRUPTIONS)), st.just(""), st.just(""))
refusals = st.tuples(st.just("refuse"), st.sampled_from(["401", "404", "410", "429", "500"]), st.just(""))
pauses = st.tuples(st.just("turns"), st.integers(0, 12).map(str), st.just(""))
scripts = st.lists(changes | changes | disruptions | refusals | pauses, max_size=40)


@settings(max_examples=150, deadline=None)
@given(script=scripts)
def test_store_equals_the_server_after_any_disruptions(script):
    async def play() -> None:
        clock, store, server = FakeClock(), ObjectStore(), FakeKube([SECRET], first_version=50)
        store.expect("cluster1", [SECRET])
        informer = Informer(server.client(clock), SECRET, store, sleep=clock.sleep, clock=clock)

        def equal() -> bool:
            versions = store.versions("cluster1", "Secret")
            return store.synced and {(k.namespace, k.name, v) for k, v in versions.items()} == server.names("secrets")

        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            running = tasks.create_task(informer.run())
            for step in script:
                if step[0] == "turns":
                    for _ in range(int(step[1])):
                        await asyncio.sleep(0)
                else:
                    act(server, step)
            server.down = False
            server.break_watches()
            await store.wait_until(equal)
            running.cancel()
        held = {(key.namespace, key.name): dict(secret.data) for key, secret in store.objects.all(Secret).items()}
        there = {address[1:]: raw["data"] for address, raw in server.objects.items()}
        assert held == there

    asyncio.run(play())
