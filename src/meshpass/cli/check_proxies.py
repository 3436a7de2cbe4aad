"""Facts → the sections of ``check`` on proxies: in sync, what they refuse, and the programs behind them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from meshpass.cli.check_facts import Facts
from meshpass.cli.check_page import Mark, Problem, Section, untold
from meshpass.cli.check_text import count, shorten
from meshpass.cli.duration import show_duration


def proxies(facts: Facts) -> Section:
    """Every proxy that there is, or should be: connected, and with what it was told last."""
    answer = facts.control.answer
    if answer is None:
        return untold("proxies", "Proxies")
    known = {proxy["node"]: proxy for proxy in answer["proxies"]}
    names = facts.workloads
    nodes = {node: known.get(node) for node in (*names, *(node for node in known if node not in names))}
    in_sync = [proxy for proxy in known.values() if proxy["inSync"]]
    since = min((proxy["sinceSeconds"] for proxy in in_sync if proxy["sinceSeconds"] is not None), default=None)
    newest = "" if since is None else f", the last change {show_duration(since)} ago"
    return Section(
        name="proxies",
        title="Proxies",
        summary=f"{len(in_sync)} of {len(nodes)} in sync{newest}",
        problems=tuple(
            problem for node, proxy in nodes.items() if (problem := _proxy_problem(facts, node, proxy)) is not None
        ),
        items=tuple(
            {
                "node": node,
                "workload": names.get(node),
                "connected": bool(proxy and proxy["connected"]),
                "inSync": bool(proxy and proxy["inSync"]),
                "sinceSeconds": proxy["sinceSeconds"] if proxy else None,
            }
            for node, proxy in nodes.items()
        ),
    )


def _proxy_problem(facts: Facts, node: str, proxy: Mapping[str, Any] | None) -> Problem | None:
    name = facts.workloads.get(node)
    where = f"proxy of {name}" if name else f"proxy {node}"
    log = _log(facts, name, "envoy") if name else facts.state / "logs"
    if proxy is None:
        what = "the control plane knows no Pod that it belongs to"
        return Problem(
            mark=Mark.BAD,
            where=where,
            what=what,
            hint="if somebody deleted the Pod: `meshpass down`, then `meshpass up`",
        )
    if proxy["inSync"]:
        return None
    since = "" if proxy["sinceSeconds"] is None else f" since {show_duration(proxy['sinceSeconds'])}"
    if not proxy["connected"]:
        hint = f"its process may be starting anew: try again; else look at {log}"
        return Problem(mark=Mark.BAD, where=where, what=f"not connected{since}", hint=hint)
    if proxy["rejections"]:
        return Problem(mark=Mark.BAD, where=where, what=f"behind{since}: it refuses what is named below")
    hint = f"is its process alive and not stopped? Look at {log}"
    return Problem(mark=Mark.BAD, where=where, what=f"behind{since}: it has not acknowledged the newest", hint=hint)


def rejections(facts: Facts) -> Section:
    """What Envoys refuse, in their words, and the objects that it was made of."""
    answer = facts.control.answer
    if answer is None:
        return untold("rejections", "Rejections")
    names = facts.workloads
    found = [
        (names.get(proxy["node"], proxy["node"]), told) for proxy in answer["proxies"] for told in proxy["rejections"]
    ]
    return Section(
        name="rejections",
        title="Rejections",
        summary=f"{count(len(found), 'resource')} refused by Envoy" if found else "none",
        problems=tuple(_rejection_problem(name, told) for name, told in found),
        items=tuple({"workload": name, **told} for name, told in found),
    )


def _rejection_problem(name: str, told: Mapping[str, Any]) -> Problem:
    resource = f"{told['typeUrl'].rpartition('.')[2]} {', '.join(told['resources'])}"
    made_of = ", ".join(told["objects"]) or "no object in particular"
    return Problem(
        mark=Mark.BAD,
        where=f"proxy of {name}, {shorten(resource, 80)}",
        what=f"{shorten(told['message'])} (made of {shorten(made_of)})",
        hint="change the named objects; until then the proxy keeps what it accepted last",
    )


def programs(facts: Facts) -> Section:
    """Whether the programs of workloads listen where their sidecars send to."""
    silent = [one for one in facts.programs if not one.listens]
    return Section(
        name="programs",
        title="Programs",
        summary=f"{len(facts.programs) - len(silent)} of {len(facts.programs)} listen",
        problems=tuple(
            Problem(
                mark=Mark.BAD,
                where=f"program of {one.workload}",
                what=f"nothing listens on {one.address}, so port {one.port} of its Pod answers 503",
                hint=f"look at {_log(facts, one.workload, 'app')}",
            )
            for one in silent
        ),
        items=tuple(
            {"workload": one.workload, "port": one.port, "address": one.address, "listens": one.listens}
            for one in facts.programs
        ),
        unknown=any(one.error for one in facts.servers),
    )


def _log(facts: Facts, workload: str, kind: str) -> Path:
    return facts.state / "logs" / f"{workload.replace('/', '.')}.{kind}.log"
