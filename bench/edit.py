"""Policy edit → new verdict: from sending the PUT to the first response under the new policy."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench.mesh import ApiConnection, BenchError, Mesh, note
from bench.objects import HOST, ISSUERS, Raw, RouteShape, issuer_policy, token
from bench.result import Row, aimed, milliseconds, percentile
from bench.wire import Connection, monotonic_ms, render_request

EDITS = 200
WARM_UP = 10
YARDSTICK_REQUESTS = 2000
GIVE_UP_MS = 30_000.0
PAUSE_SECONDS = (0.02, 0.12)
"""Between two edits: sometimes the last edit's statuses are still being written, mostly not."""
SHAPES = (
    (RouteShape(routes=10), 8.0, 15.0),
    (RouteShape(routes=1000), 8.0, 20.0),
    (RouteShape(routes=1000, own_labels=True), 8.0, 20.0),
    (RouteShape(routes=5000), 20.0, 40.0),
)
"""Routes, and the aims for p50 and p99 in ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One edit, in milliseconds of the machine's monotonic clock."""

    sent: float
    stored: float
    """The first look at which the API server's answer was there: between two polls, or after the last."""
    seen: float

    @property
    def taken(self) -> float:
        return self.seen - self.sent


def measure_edits(mesh: Mesh) -> Iterator[Row]:
    for shape, median_aim, aim in SHAPES:
        mesh.set_routes(shape)
        note(f"{EDITS} edits with {describe(shape)}")
        edits = run_edits(mesh, shape)
        taken = [edit.taken for edit in edits]
        name = describe(shape)
        note(f"edit → verdict, {name}: p50 {percentile(taken, 50):.1f} ms, p99 {percentile(taken, 99):.1f} ms")
        median = percentile(taken, 50)
        yield aimed(f"policy edit → new verdict, {name}, p50", median, median_aim, text=milliseconds)
        yield aimed(f"  p99 of {len(taken)}", percentile(taken, 99), aim, text=milliseconds)
        yield _yardstick(mesh, shape)


def _yardstick(mesh: Mesh, shape: RouteShape) -> Row:
    """How restless the machine is: requests of the same client while nothing is edited."""
    request = render_request(HOST, shape.last_path)
    times = []
    with Connection(mesh.client_address) as client:
        for _ in range(YARDSTICK_REQUESTS):
            started = monotonic_ms()
            client.ask(request)
            times.append(monotonic_ms() - started)
    value = f"{percentile(times, 50):.1f} / {percentile(times, 99):.1f} / {max(times):.1f} ms"
    return Row(measure="  one request without an edit: p50 / p99 / max", value=value)


def describe(shape: RouteShape) -> str:
    classes = "1 class" if shape.classes == 1 else f"{shape.classes:,} classes"
    return f"{shape.routes:,} routes ({classes})"


def run_edits(mesh: Mesh, shape: RouteShape, *, edits: int = EDITS) -> list[Edit]:
    """The policy's issuer goes back and forth; the client always sends issuer A's token, on one connection.

    The routes are there already.
    """
    policies = [issuer_policy(issuer) for issuer in ISSUERS]
    mesh.store([policies[0]])
    request = render_request(HOST, shape.last_path, token=token())
    done = []
    random.seed(shape.routes)
    with mesh.api() as api, Connection(mesh.client_address) as client:
        for number in range(WARM_UP + edits):
            turn = (number + 1) % 2
            # No token of issuer A passes under the policy of issuer B.
            done.append(run_edit(api, policies[turn], client, request, expected=401 if turn else 200))
            time.sleep(random.uniform(*PAUSE_SECONDS))
    return done[WARM_UP:]


def _pause(milliseconds: float) -> None:
    if milliseconds:
        time.sleep(milliseconds / 1000)


def run_edit(
    api: ApiConnection, edited: Raw, client: Connection, request: bytes, *, expected: int, pause_ms: float = 0.0
) -> Edit:
    """Store the object as edited, and ask until the answer has the expected status, which it does not have before.

    ``pause_ms`` between two requests leaves the processors to others, and is what the result is then exact to.
    """
    while True:
        update = api.render_update(edited)
        if client.ask(request).status == expected:
            raise BenchError("the new verdict was there before the edit")
        sent = monotonic_ms()
        api.send(update)
        stored: float | None = None
        while True:
            status = client.ask(request).status
            seen = monotonic_ms()
            if stored is None and api.has_input():
                stored = seen
                if (answer := api.receive()).status != 200:
                    break
            if status == expected:
                if stored is None:
                    answer = api.receive()
                    stored = monotonic_ms()
                return Edit(sent=sent, stored=stored, seen=seen)
            if seen - sent > GIVE_UP_MS:
                raise BenchError(f"no new verdict {GIVE_UP_MS / 1000:g} s after the edit")
            _pause(pause_ms)
        if answer.status != 409:
            raise BenchError(f"the edit was answered {answer.status}: {answer.body[:300]!r}")
        # A status was written after the version was read; nothing was edited.
