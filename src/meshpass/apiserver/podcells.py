"""The table of Pods, whose STATUS says what its containers are at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from meshpass.apiserver.age import render_age
from meshpass.apiserver.resource import Column
from meshpass.apiserver.tablefield import AGE, NAME, NONE, at, column, listed, mapped, name_and_age, text_at, wide

Object = Mapping[str, Any]

POD_COLUMNS: Final[tuple[Column, ...]] = (
    NAME,
    column("Ready"),
    column("Status"),
    column("Restarts"),
    AGE,
    wide("IP"),
    wide("Node"),
    wide("Nominated Node"),
    wide("Readiness Gates"),
)


def pod_cells(obj: Object, now: datetime) -> Sequence[Any]:
    """One cell for each of ``POD_COLUMNS``."""
    statuses = [mapped(item) for item in listed(at(obj, "status", "containerStatuses"))]
    ready = sum(status.get("ready") is True and at(status, "state", "running") is not None for status in statuses)
    total = len(listed(at(obj, "spec", "containers")))
    return (
        *name_and_age(obj, now, f"{ready}/{total}", _status(obj, statuses), _restarts(statuses, now)),
        text_at(obj, "status", "podIP") or NONE,
        text_at(obj, "spec", "nodeName") or NONE,
        text_at(obj, "status", "nominatedNodeName") or NONE,
        _readiness_gates(obj),
    )


def _status(obj: Object, statuses: Sequence[Object]) -> str:
    shown = text_at(obj, "status", "reason") or text_at(obj, "status", "phase")
    running = False
    for status in reversed(statuses):
        waiting, ended = at(status, "state", "waiting"), at(status, "state", "terminated")
        if text_at(waiting, "reason"):
            shown = text_at(waiting, "reason")
        elif ended:
            shown = text_at(ended, "reason") or _exit(mapped(ended))
        elif status.get("ready") is True and at(status, "state", "running") is not None:
            running = True
    if shown == "Completed" and running:
        shown = "Running" if _is_ready(obj) else "NotReady"
    if at(obj, "metadata", "deletionTimestamp"):
        return "Unknown" if text_at(obj, "status", "reason") == "NodeLost" else "Terminating"
    return shown


def _exit(ended: Object) -> str:
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _is_ready(obj: Object) -> bool:
    conditions = [mapped(item) for item in listed(at(obj, "status", "conditions"))]
    return any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)


def _restarts(statuses: Sequence[Object], now: datetime) -> str:
    counts = [status.get("restartCount") for status in statuses]
    total = sum(count for count in counts if isinstance(count, int))
    ended = [text_at(status, "lastState", "terminated", "finishedAt") for status in statuses]
    latest = max(ended, default="")
    return f"{total} ({render_age(latest, now)} ago)" if total and latest else str(total)


def _readiness_gates(obj: Object) -> str:
    gates = [text_at(gate, "conditionType") for gate in listed(at(obj, "spec", "readinessGates"))]
    if not gates:
        return NONE
    conditions = [mapped(item) for item in listed(at(obj, "status", "conditions"))]
    true = {item.get("type") for item in conditions if item.get("status") == "True"}
    return f"{sum(gate in true for gate in gates)}/{len(gates)}"
