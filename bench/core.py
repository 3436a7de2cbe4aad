"""The pure core in this process: objects → Snapshots, with neither API servers nor Envoys around it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.large import ROUTES, TABLES, Layout, large_objects, large_table, policies
from bench.mesh import CLUSTER, MESH_FILE, BenchError, note
from bench.objects import NAMESPACE, Raw, upstream_objects
from bench.pushed import CountingClient
from bench.result import Row, aimed, kilobytes, milliseconds, percentile, seconds
from meshpass.api.manifest import Parsed, parse_object
from meshpass.api.objectset import ObjectKey, ObjectSet
from meshpass.app import COLLECT_AFTER
from meshpass.envoy.build import build_snapshot
from meshpass.envoy.snapshot import Snapshot
from meshpass.envoy.transition import plan_transition
from meshpass.ir import Proxy
from meshpass.localmesh.objects import (
    Placement,
    cluster_objects,
    default_workspace,
    namespace_objects,
    workload_objects,
)
from meshpass.localmesh.parse import load_mesh_file
from meshpass.memo import Memo
from meshpass.translate import FeatureGates, Severity, TranslateSettings, translate
from meshpass.translate.keysource import KeySets
from meshpass.translate.translation import NO_TREES

COLD_RUNS = 3
EDITS = {Layout.FLAT: 130, Layout.DELEGATED: 40}
AIM_COLD_SECONDS = 1.0
AIM_EDIT_MS = 50.0
CLIENT = f"sidecar~{CLUSTER}~httpbin~client"
_NO_KEY_SETS: KeySets = {}
_PORT = 9000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass from objects to Snapshots."""

    taken: float
    """Milliseconds, as of the clocks below."""
    cpu: float
    """CPU time of this thread."""
    translated: float
    """Of ``taken``: until the IR was there."""


class Core:
    """What the reconciler does between the API servers and the Envoys."""

    def __init__(self, objects: ObjectSet, management_cluster: str) -> None:
        self.objects = objects
        self.memo = Memo()
        self.snapshots: dict[str, Snapshot] = {}
        self._settings = TranslateSettings(management_cluster=management_cluster, gates=FeatureGates())
        self._trees = NO_TREES
        self._published: dict[str, Proxy] = {}

    def reconcile(self, edited: Iterable[Raw] = ()) -> Pass:
        """The edited objects are stored and every Snapshot says so. Raises BenchError where an object is not accepted."""
        started, cpu = time.perf_counter(), time.thread_time()
        self.objects = self.objects.with_changes({_key(CLUSTER, raw): parse_object(raw) for raw in edited})
        translation = translate(self.objects, _NO_KEY_SETS, self._settings, self.memo, self._trees)
        translated = time.perf_counter()
        for node, proxy in translation.proxies.items():
            if self._published.get(node) is not proxy:
                self._published[node] = proxy
                self.snapshots[node] = build_snapshot(proxy, self.memo)
        ended = time.perf_counter()
        result = Pass(
            taken=(ended - started) * 1000,
            cpu=(time.thread_time() - cpu) * 1000,
            translated=(translated - started) * 1000,
        )
        # As in the reconciler, when nobody waits any more.
        self.memo.next_generation()
        self._trees = translation.trees
        for key, report in translation.report.objects.items():
            wrong = [one.message for one in report.findings if one.severity is not Severity.NOTE]
            if wrong and key.namespace == NAMESPACE:
                raise BenchError(f"{key}: {wrong[0]}")
        return result


def measure_core() -> Iterator[Row]:
    """No other measure's objects may be in the way of the collector, so what is left of them is put aside first."""
    with _settled_memory():
        for layout in Layout:
            yield from _measure(layout)


def _measure(layout: Layout) -> Iterator[Row]:
    note(f"the core alone: {layout.value}")
    started = time.perf_counter()
    management, found = _objects(layout)
    objects = ObjectSet.empty().with_changes(found)
    parsed = time.perf_counter() - started
    cold = []
    for _ in range(COLD_RUNS):
        gc.collect()
        core = Core(objects, management)
        cold.append(core.reconcile())
    best = min(cold, key=lambda one: one.taken)
    of = f"{ROUTES:,} routes in {TABLES:,} {layout.value}"
    measure = f"{of}: cold, objects → Snapshots, best of {COLD_RUNS}"
    if layout is Layout.FLAT:
        yield aimed(measure, best.taken / 1000, AIM_COLD_SECONDS, text=seconds)
    else:
        yield Row(measure=measure, value=seconds(best.taken / 1000))
    yield Row(
        measure="  of it translate / build and serialise / CPU in all",
        value=f"{best.translated:.0f} / {best.taken - best.translated:.0f} / {min(one.cpu for one in cold):.0f} ms",
    )
    yield Row(measure="  before it: parse all objects", value=seconds(parsed))
    gc.freeze()  # as the control plane does after its first translation
    edits = [core.reconcile([large_table(number * 7 % TABLES, layout, moved=1)]) for number in range(EDITS[layout])]
    yield from _edit_rows(edits, layout)
    yield from _byte_rows(core, layout)


def _edit_rows(edits: list[Pass], layout: Layout) -> Iterator[Row]:
    taken, cpu = [one.taken for one in edits], [one.cpu for one in edits]
    for percent in (50, 99):
        measure = "  one route edited → new Snapshots, p50" if percent == 50 else f"  p99 of {EDITS[layout]}"
        if layout is Layout.FLAT:
            yield aimed(measure, percentile(taken, percent), AIM_EDIT_MS, text=milliseconds)
        else:
            yield Row(measure=measure, value=milliseconds(percentile(taken, percent)))
    translated = percentile([one.translated for one in edits], 50)
    value = f"{translated:.1f} ms; CPU {percentile(cpu, 50):.1f} / {percentile(cpu, 99):.1f} ms"
    yield Row(measure="  of it translate, p50; CPU in all, p50 / p99", value=value)


def _byte_rows(core: Core, layout: Layout) -> Iterator[Row]:
    """What one sidecar is sent, through all steps of make before break."""
    client = CountingClient(CLIENT, lambda current, target: plan_transition(current, target, core.memo))
    yield Row(measure="  bytes to a sidecar: everything", value=kilobytes(client.retarget(core.snapshots[CLIENT])))
    edits: tuple[tuple[str, Callable[[], Iterable[Raw]]], ...] = (
        ("a route's path edited", lambda: [large_table(1, layout, moved=2)]),
        ("a JWT policy edited", lambda: policies(edited=1)),
        ("a table added", lambda: [large_table(TABLES, layout)]),
    )
    for name, edit in edits:
        core.reconcile(edit())
        pushed = client.retarget(core.snapshots[CLIENT])
        if not pushed:
            raise BenchError(f"nothing was sent after {name}")
        yield Row(measure=f"    {name}", value=kilobytes(pushed))


def _objects(layout: Layout) -> tuple[str, dict[ObjectKey, Parsed]]:
    """The name of the management cluster, and what its control plane reads of a mesh with these tables."""
    mesh = load_mesh_file(MESH_FILE)
    placements = {
        one.key: Placement(address=f"127.0.1.{number}", apps={8080: "127.0.0.1:18080"} if one.app else {})
        for number, one in enumerate(mesh.workloads, 1)
    }
    statuses = {one.name: {"podIP": placements[one.key].address} for one in mesh.workloads}
    found = [(mesh.management.name, default_workspace(mesh))]
    for cluster in (one.name for one in mesh.clusters):
        found.extend((cluster, raw) for raw in namespace_objects(mesh, cluster))
        found.extend((cluster, raw) for raw in cluster_objects(mesh, cluster))
        for raw in workload_objects(mesh, cluster, placements):
            status = {"status": statuses[raw["metadata"]["name"]]} if raw["kind"] == "Pod" else {}
            found.append((cluster, {**raw, **status}))
    found.extend((CLUSTER, raw) for raw in (*upstream_objects(_PORT), *large_objects(layout)))
    return mesh.management.name, {_key(cluster, raw): parse_object(raw) for cluster, raw in found}


def _key(cluster: str, raw: Raw) -> ObjectKey:
    metadata = raw["metadata"]
    return ObjectKey(raw["kind"], cluster, metadata.get("namespace", ""), metadata["name"])


@contextmanager
def _settled_memory() -> Iterator[None]:
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
