"""Facts → sections of the page of ``check``, in their order; here the mesh and its API servers."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.cli.check_content import certificates, feature_gates, frozen_tables, key_sets, objects
from meshpass.cli.check_facts import Facts, ServerFacts
from meshpass.cli.check_page import Mark, Problem, Section
from meshpass.cli.check_processes import agents, control_plane, identity
from meshpass.cli.check_proxies import programs, proxies, rejections
from meshpass.cli.check_text import count, shorten, show_milliseconds

_SLOW_SECONDS = 1.0
_RESTART = "`meshpass down`, then `meshpass up`"


def build_sections(facts: Facts) -> tuple[Section, ...]:
    """All sections that the mesh has something for, in the order of the page."""
    sections = (
        _mesh(facts),
        _servers(facts),
        control_plane(facts),
        agents(facts),
        proxies(facts),
        rejections(facts),
        key_sets(facts),
        certificates(facts),
        identity(facts),
        objects(facts),
        frozen_tables(facts),
        programs(facts),
        feature_gates(facts),
    )
    return tuple(section for section in sections if section is not None)


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
        problems=(*(() if record.ready else (starting,)), *(_stopped_problem(name) for name in sorted(facts.stopped))),
        items=({"pid": record.pid, "ready": record.ready, "directory": str(facts.state)},),
    )


def _stopped_problem(name: str) -> Problem:
    return Problem(
        mark=Mark.WARNING, where=name, what="somebody has stopped it", hint=f"`meshpass start {name}` starts it"
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
