"""Facts → the sections of ``check`` on the control plane: its processes, who is connected, who stands for the mesh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from meshpass.cli.check_facts import Facts, ProcessFacts
from meshpass.cli.check_page import Mark, Problem, Section, untold
from meshpass.cli.check_text import count, object_name, shorten, show_milliseconds
from meshpass.cli.duration import show_duration
from meshpass.localmesh.processrecord import Role

_RESTART = "`meshpass down`, then `meshpass up`"
_ALLOWED = "is the server up, and may the control plane do what `meshpass rbac print` says?"
_ROOT_WARNING_SECONDS = 90 * 86_400
"""Whoever gave the root, or rotates it, needs that long."""
_INTERMEDIATE_WARNING_SECONDS = 30 * 86_400
_WORKLOAD_WARNING_SECONDS = 6 * 3_600
"""They are renewed when half of their 24 hours are left."""

Raw = Mapping[str, Any]


def control_plane(facts: Facts) -> Section:
    """Whether every process of the control plane answers, sees all API servers and keeps up."""
    told = facts.control.processes
    alone = len(told) == 1
    answering = [one for one in told if one.answer is not None]
    if not answering and alone:
        summary = "does not answer"
    elif alone:
        latency = show_milliseconds(told[0].latency_seconds)
        summary = f"answers in {latency}, follows {count(len(facts.servers), 'API server')}"
    else:
        summary = f"{len(answering)} of {len(told)} processes answer"
    return Section(
        name="controlPlane",
        title="Control plane",
        summary=summary,
        problems=tuple(problem for one in told for problem in _process_problems(one, facts)),
        headers=() if alone else ("PROCESS", "PID", "LATENCY"),
        rows=() if alone else tuple(_process_row(one) for one in told),
        items=tuple(_process_item(one) for one in told),
    )


def _process_row(one: ProcessFacts) -> tuple[str, str, str]:
    latency = "-" if one.answer is None else show_milliseconds(one.latency_seconds)
    return one.process.name, str(one.process.pid or "-"), latency


def _process_item(one: ProcessFacts) -> Raw:
    own = {
        "role": one.process.role.value,
        "cluster": one.process.cluster,
        "pid": one.process.pid,
        "latencySeconds": None if one.answer is None else round(one.latency_seconds, 4),
        "error": one.error,
    }
    names = ("synced", "revision", "storeRevision", "failingWatches", "failingStatuses", "server")
    return own | {name: one.answer[name] for name in names if one.answer is not None and name in one.answer}


def _process_problems(one: ProcessFacts, facts: Facts) -> Iterator[Problem]:
    name, log = one.process.name, one.process.log
    if one.answer is None:
        if name in facts.stopped:
            yield Problem(
                mark=Mark.BAD, where=name, what="somebody has stopped it", hint=f"`meshpass start {name}` starts it"
            )
        else:
            hint = f"look at {log}, or: {_RESTART}"
            yield Problem(mark=Mark.BAD, where=name, what=shorten(one.error), hint=hint)
        return
    answer = one.answer
    lost: dict[str, list[str]] = {}
    for watch in answer["failingWatches"]:
        lost.setdefault(watch["cluster"], []).append(watch["kind"])
    for cluster, kinds in lost.items():
        what = f"cannot follow {len(kinds)} kinds ({shorten(', '.join(kinds), 60)}); it goes on with what it had"
        yield Problem(mark=Mark.BAD, where=f"{name}, API server of {cluster}", what=what, hint=_ALLOWED)
    if not answer["synced"]:
        what = "has not read everything yet, and tells proxies nothing before"
        yield Problem(mark=Mark.BAD, where=name, what=what, hint=f"look at {log}")
    elif answer["revision"] < answer["storeRevision"]:
        what = "has not worked through the newest objects; proxies keep what they have"
        yield Problem(mark=Mark.BAD, where=name, what=what, hint=f"look for `not reconciled` in {log}")
    if answer["failingStatuses"]:
        names = ", ".join(object_name(key) for key in answer["failingStatuses"])
        yield Problem(mark=Mark.BAD, where=name, what=f"cannot write statuses: {shorten(names)}", hint=_ALLOWED)


def agents(facts: Facts) -> Section | None:
    """Whether the agents of all registered clusters are connected; None where there are none."""
    if all(one.role is Role.ALONE for one in facts.record.processes):
        return None
    told = None if facts.control.answer is None else facts.control.answer["agents"]
    if told is None:
        return Section(
            name="agents", title="Agents", summary="unknown: the management server does not answer", unknown=True
        )
    registered = [one for one in told if one["registered"]]
    connected = [one for one in registered if one["connected"]]
    return Section(
        name="agents",
        title="Agents",
        summary=f"{len(connected)} of {len(registered)} registered clusters connected",
        problems=tuple(problem for one in told for problem in _agent_problems(one, facts)),
        headers=("CLUSTER", "REGISTERED", "CONNECTED", "SINCE"),
        rows=tuple(
            (
                one["cluster"],
                "yes" if one["registered"] else "no",
                "yes" if one["connected"] else "no",
                "-" if one["sinceSeconds"] is None else show_duration(one["sinceSeconds"]),
            )
            for one in told
        ),
        items=tuple(told),
    )


def _agent_problems(one: Raw, facts: Facts) -> Iterator[Problem]:
    cluster = one["cluster"]
    name = f"agent/{cluster}"
    if one["registered"] and not one["connected"]:
        since = "" if one["sinceSeconds"] is None else f" since {show_duration(one['sinceSeconds'])}"
        log = next((process.log for process in facts.record.processes if process.name == name), "its log")
        hint = f"`meshpass start {name}` starts it" if name in facts.stopped else f"does it run? Look at {log}"
        what = f"not connected{since}; its proxies go on with what they have, and edits elsewhere do not reach them"
        yield Problem(mark=Mark.BAD, where=name, what=what, hint=hint)
    if one["refused"]:
        why = one["refused"] if isinstance(one["refused"], str) else "it is not registered"
        hint = f"if it belongs to the mesh: `meshpass cluster register {cluster}`"
        yield Problem(mark=Mark.WARNING, where=name, what=f"was refused: {shorten(why)}", hint=hint)


def identity(facts: Facts) -> Section:
    """How long root, intermediates and certificates of workloads last, and whether a rotation is under way."""
    answer = facts.control.answer
    if answer is None:
        return untold("identity", "Identity")
    view = answer["identity"]
    if view is None or not view["trustDomain"]:
        return Section(name="identity", title="Identity", summary="there is no root yet")
    roots, intermediates = view["roots"], view["intermediates"]
    workloads = sum(one["workloads"]["count"] for one in intermediates)
    return Section(
        name="identity",
        title="Identity",
        summary=f"trust domain {view['trustDomain']}, {count(len(roots), 'root')}, "
        f"{count(len(intermediates), 'intermediate')}, {count(workloads, 'certificate')} of workloads",
        problems=(*_rotation_problems(view), *_expiries(roots, intermediates, facts.now)),
        items=(view,),
    )


def _rotation_problems(view: Raw) -> Iterator[Problem]:
    rotation = view["rotation"]
    if rotation["phase"] != "steady":
        waiting = "; ".join(
            f"{one['cluster']}: {shorten(', '.join(one['proxies']) or 'its agent', 80)}"
            for one in rotation["waitingFor"]
        )
        what = f"the root is being rotated ({rotation['phase']})" + (f", waiting for {waiting}" if waiting else "")
        yield Problem(mark=Mark.WARNING, where="root", what=what, hint="`meshpass identity show` says how far it is")
    for one in view["intermediates"]:
        if one["problem"]:
            hint = "it is tried again by itself; the management server has to be reached for it"
            yield Problem(
                mark=Mark.BAD, where=f"intermediate of {one['cluster']}", what=shorten(one["problem"]), hint=hint
            )


def _expiries(roots: Sequence[Raw], intermediates: Sequence[Raw], now: datetime) -> Iterator[Problem]:
    for one in roots:
        where = f"root {one['fingerprint'][:16]}"
        hint = "`meshpass identity rotate-root` puts another in its place"
        yield from _expiry(where, one["notAfter"], now, _ROOT_WARNING_SECONDS, hint)
    for one in intermediates:
        cluster = one["cluster"]
        hint = "it should have been renewed long before: can its agent reach the management server?"
        yield from _expiry(f"intermediate of {cluster}", one["notAfter"], now, _INTERMEDIATE_WARNING_SECONDS, hint)
        yield from _expiry(
            f"certificates of workloads of {cluster}",
            one["workloads"]["soonestNotAfter"],
            now,
            _WORKLOAD_WARNING_SECONDS,
            "they should have been renewed after 12 hours: look at the log of the agent",
        )


def _expiry(where: str, moment: str | None, now: datetime, warning_seconds: float, hint: str) -> Iterator[Problem]:
    if moment is None:
        return
    left = (datetime.fromisoformat(moment).astimezone(UTC) - now).total_seconds()
    if left <= 0:
        yield Problem(mark=Mark.BAD, where=where, what=f"expired {show_duration(-left)} ago", hint=hint)
    elif left < warning_seconds:
        yield Problem(mark=Mark.WARNING, where=where, what=f"expires in {show_duration(left)}", hint=hint)
