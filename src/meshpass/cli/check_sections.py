"""Facts → sections of the page of ``check``, in their order; here the mesh, its API servers and its control plane."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from meshpass.cli.check_content import certificates, feature_gates, frozen_tables, key_sets, objects
from meshpass.cli.check_facts import Facts, ServerFacts
from meshpass.cli.check_page import Mark, Problem, Section
from meshpass.cli.check_proxies import programs, proxies, rejections
from meshpass.cli.check_text import count, object_name, shorten, show_milliseconds

_SLOW_SECONDS = 1.0
_RESTART = "`meshpass down`, then `meshpass up`"


def build_sections(facts: Facts) -> tuple[Section, ...]:
    """All sections, in the order of the page."""
    return (
        _mesh(facts),
        _servers(facts),
        _control_plane(facts),
        proxies(facts),
        rejections(facts),
        key_sets(facts),
        certificates(facts),
        objects(facts),
        frozen_tables(facts),
        programs(facts),
        feature_gates(facts),
    )


def _mesh(facts: Facts) -> Section:
    record = facts.record
    starting = Problem(
        mark=Mark.WARNING, where="supervisor", what="the mesh is still starting", hint="try again in a few seconds"
    )
    return Section(
        name="mesh",
        title="Mesh",
        summary=f"supervisor {record.pid}, {count(len(record.clusters), 'cluster')}, "
        f"{count(len(record.workloads), 'workload')}, in {facts.state}",
        problems=() if record.ready else (starting,),
        items=({"pid": record.pid, "ready": record.ready, "directory": str(facts.state)},),
    )


def _servers(facts: Facts) -> Section:
    answering = [one for one in facts.servers if not one.error]
    rows = tuple(
        (
            one.cluster,
            one.server,
            one.version or "-",
            "-" if one.latency_seconds is None else show_milliseconds(one.latency_seconds),
        )
        for one in facts.servers
    )
    return Section(
        name="apiServers",
        title="API servers",
        summary=f"{len(answering)} of {len(facts.servers)} answer",
        problems=tuple(problem for one in facts.servers for problem in _server_problems(one)),
        headers=("CLUSTER", "SERVER", "VERSION", "LATENCY"),
        rows=rows,
        items=tuple(
            {
                "cluster": one.cluster,
                "server": one.server,
                "version": one.version or None,
                "latencySeconds": None if one.latency_seconds is None else round(one.latency_seconds, 4),
                "error": one.error,
            }
            for one in facts.servers
        ),
    )


def _server_problems(one: ServerFacts) -> Iterator[Problem]:
    where = f"API server of {one.cluster}"
    if one.error:
        hint = one.hint or f"proxies go on with what they have; look at the supervisor's log, or: {_RESTART}"
        yield Problem(mark=Mark.BAD, where=where, what=shorten(one.error), hint=hint)
    elif one.latency_seconds is not None and one.latency_seconds > _SLOW_SECONDS:
        what = f"took {show_milliseconds(one.latency_seconds)} for a small answer"
        yield Problem(mark=Mark.WARNING, where=where, what=what, hint="look at the load of its machine")


def _control_plane(facts: Facts) -> Section:
    control, log = facts.control, facts.state / "logs" / "supervisor.log"
    title = "Control plane"
    if control.answer is None:
        problem = Problem(
            mark=Mark.BAD, where="control plane", what=shorten(control.error), hint=f"look at {log}, or: {_RESTART}"
        )
        return Section(name="controlPlane", title=title, summary="does not answer", problems=(problem,))
    answer = control.answer
    return Section(
        name="controlPlane",
        title=title,
        summary=f"answers in {show_milliseconds(control.latency_seconds)}, follows {count(len(facts.servers), 'API server')}",
        problems=tuple(_control_problems(answer, str(log))),
        items=(
            {
                "latencySeconds": round(control.latency_seconds, 4),
                "synced": answer["synced"],
                "revision": answer["revision"],
                "storeRevision": answer["storeRevision"],
                "failingWatches": answer["failingWatches"],
                "failingStatuses": answer["failingStatuses"],
            },
        ),
    )


def _control_problems(answer: Mapping[str, Any], log: str) -> Iterator[Problem]:
    allowed = "is the server up, and may the control plane do what `meshpass rbac print` says?"
    lost: dict[str, list[str]] = {}
    for watch in answer["failingWatches"]:
        lost.setdefault(watch["cluster"], []).append(watch["kind"])
    for cluster, kinds in lost.items():
        what = f"cannot follow {len(kinds)} kinds ({shorten(', '.join(kinds), 60)}); it goes on with what it had"
        yield Problem(mark=Mark.BAD, where=f"control plane, API server of {cluster}", what=what, hint=allowed)
    if not answer["synced"]:
        what = "has not read everything yet, and tells proxies nothing before"
        yield Problem(mark=Mark.BAD, where="control plane", what=what, hint=f"look at {log}")
    elif answer["revision"] < answer["storeRevision"]:
        what = "has not worked through the newest objects; proxies keep what they have"
        yield Problem(mark=Mark.BAD, where="control plane", what=what, hint=f"look for `not reconciled` in {log}")
    if answer["failingStatuses"]:
        names = ", ".join(object_name(one) for one in answer["failingStatuses"])
        what = f"cannot write statuses: {shorten(names)}"
        yield Problem(mark=Mark.BAD, where="control plane", what=what, hint=allowed)
