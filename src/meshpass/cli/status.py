"""``status`` and ``wait``: how far a running mesh is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshpass.cli import option
from meshpass.cli.duration import show_duration
from meshpass.cli.output import paint, print_data, print_json, render_table, reported_errors, say

if TYPE_CHECKING:
    from meshpass.localmesh.directory import MeshRecord, WorkloadRecord
    from meshpass.localmesh.switchboard import PartRecord

Raw = Mapping[str, Any]


class StatusFormat(Enum):
    """How ``status`` prints."""

    TABLE = "table"
    JSON = "json"


def status(
    directory: option.Directory = None,
    output: Annotated[StatusFormat, typer.Option("--output", "-o", help="Format.")] = StatusFormat.TABLE,
) -> None:
    """Show clusters, processes, workloads and whether each proxy has its configuration. Exit code 1 when no mesh runs.

    Examples:
        meshpass status

        meshpass status -o json
    """
    with reported_errors():
        import msgspec

        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.meshcontrol import read_raw_mesh_status
        from meshpass.localmesh.supervisorclient import read_parts

        record = state_directory(directory).running()
        parts = read_parts(record) if record.ready else ()
        raw = read_raw_mesh_status(record)
        if output is StatusFormat.JSON:
            print_json(
                {"mesh": msgspec.to_builtins(record), "controlPlane": raw, "parts": msgspec.to_builtins(list(parts))}
            )
            return
        print_data(render_status(record, raw, parts))


def render_status(record: MeshRecord, raw: Raw, parts: Sequence[PartRecord]) -> str:
    """The page for people."""
    stopped = {part.name for part in parts if part.stopped}
    clusters = [(one.name, one.server, "management" if one.management else "workload") for one in record.clusters]
    sections = [render_table(("CLUSTER", "SERVER", "ROLE"), clusters)]
    if len(record.processes) > 1:
        processes = list(_process_rows(raw["processes"], stopped))
        sections.append(render_table(("PROCESS", "PID", "STATE", "CONNECTED"), processes))
    proxies = {proxy["node"]: proxy for proxy in raw["proxies"]}
    workloads = [_workload_row(one, proxies.get(one.node, {}), stopped) for one in record.workloads]
    sections.append(render_table(("CLUSTER", "NAMESPACE", "WORKLOAD", "ADDRESS", "APP", "PROXY"), workloads))
    rejections = [
        f"{_name(one)}: {said['message']}"
        for one in record.workloads
        for said in proxies.get(one.node, {}).get("rejections", ())
    ]
    if rejections:
        sections.append("\n".join([paint("bad", "Rejected by Envoy:"), *rejections]))
    return "\n\n".join(sections)


def _process_rows(processes: Sequence[Raw], stopped: set[str]) -> Iterator[tuple[str, str, str, str]]:
    for one in processes:
        agent = one["role"] == "agent"
        name = f"agent/{one['cluster']}" if agent else one["role"]
        state = "stopped" if name in stopped else "running" if one["answers"] else "does not answer"
        yield name, str(one["pid"] or "-"), state, _connected(one, agent=agent)


def _connected(process: Raw, *, agent: bool) -> str:
    """Whom the process is connected to."""
    if not process["answers"]:
        return "-"
    if agent:
        server = process.get("server", {})
        return _since(server) if server.get("connected") else "no"
    agents = process.get("agents", ())
    return f"{sum(bool(one['connected']) for one in agents)} of {len(agents)} agents"


def _since(connection: Raw) -> str:
    seconds = connection.get("sinceSeconds")
    return "yes" if seconds is None else f"for {show_duration(seconds)}"


def _workload_row(one: WorkloadRecord, proxy: Raw, stopped: set[str]) -> tuple[str, ...]:
    app = "(gateway)" if one.is_gateway else one.app or "-"
    app = "stopped" if f"workload/{_name(one)}" in stopped else app
    state = "stopped" if f"proxy/{_name(one)}" in stopped else _proxy_state(proxy)
    return one.cluster, one.namespace, one.name, one.address, app, state


def _proxy_state(proxy: Raw) -> str:
    if not proxy.get("connected"):
        return "not connected"
    if proxy.get("rejections"):
        return "rejects"
    return "in sync" if proxy["inSync"] else "behind"


def _name(one: WorkloadRecord) -> str:
    return f"{one.cluster}/{one.namespace}/{one.name}"


def wait(
    directory: option.Directory = None,
    timeout: Annotated[str, typer.Option("--timeout", help="How long, as in 500ms, 10s, 2m.")] = "10s",
) -> None:
    """Wait until every proxy has acknowledged all that was stored before. Exit code 1 names the late ones.

    Examples:
        kubectl apply -f policy.yaml && meshpass wait

        meshpass wait --timeout 30s
    """
    with reported_errors():
        from meshpass.cli.duration import parse_duration
        from meshpass.localmesh.directory import state_directory
        from meshpass.localmesh.meshcontrol import wait_mesh

        seconds = parse_duration(timeout)
        record = state_directory(directory).running()
        late = wait_mesh(record, timeout=seconds)
        if late:
            names = {one.node: _name(one) for one in record.workloads}
            for node in late:
                say(f"late: {names.get(node, node)}")
            raise typer.Exit(1)
