"""``identity``: who stands for the mesh, and new authorities in the place of old ones."""

from __future__ import annotations

import time
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshpass.cli import option
from meshpass.cli.output import print_data, print_json, render_table, reported_errors, say, say_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from meshpass.localmesh.processrecord import ProcessRecord

_ASK_SECONDS = 5.0
_POLL_SECONDS = 0.2
_SHOWN_DIGITS = 16
_PHASES = {
    "trust-both": "everyone is to believe a new root beside the old one",
    "sign-new": "everyone gets certificates of the new root",
    "drop-old": "everyone is to forget the old root",
    "steady": "the root is the new one",
}


class IdentityFormat(Enum):
    """How identities are printed."""

    TEXT = "text"
    JSON = "json"


Output = Annotated[IdentityFormat, typer.Option("--output", "-o", help="Format.")]
Timeout = Annotated[
    str, typer.Option("--timeout", help="How long to wait until everyone has followed, as in 30s, 5m; 0s: not at all.")
]


def show(directory: option.Directory = None, output: Output = IdentityFormat.TEXT) -> None:
    """Show the roots of the mesh, the intermediate of each cluster, and how far a rotation is. No key is shown.

    Examples:
        meshpass identity show

        meshpass identity show -o json
    """
    with reported_errors():
        answer = _ask_any(_processes(directory))
        if output is IdentityFormat.JSON:
            print_json(answer)
        else:
            print_data(render_identity(answer))


def rotate_root(directory: option.Directory = None, timeout: Timeout = "2m") -> None:
    """Put a new root in the place of the old one, without a failed request. Exit code 1 when somebody has not followed.

    First everyone believes both, then everyone gets certificates of the new one, then the old one is forgotten. Each
    step waits for every proxy; what is not done in time goes on by itself.

    Examples:
        meshpass identity rotate-root

        meshpass identity rotate-root --timeout 0s
    """
    with reported_errors():
        from meshpass.cli.duration import parse_duration
        from meshpass.errors import LocalMeshError

        seconds = parse_duration(timeout)
        process = _processes(directory)[0]
        old = _ask(process, "GET", "/v1/identity")["signing"]
        _ask(process, "POST", "/v1/identity/rotate-root")
        if seconds <= 0:
            say_step("a new root is on its way")
            return
        phases = _Phases(old)
        if not _poll(process, seconds, phases.is_over, phases.tell):
            waiting = describe_waiting(_ask_any([process]))
            raise LocalMeshError(
                f"the root is not rotated after {timeout}: {waiting}" if waiting else f"not rotated after {timeout}",
                hint="it goes on by itself; `meshpass identity show` says how far it is",
            )


def rotate_intermediate(
    cluster: Annotated[str, typer.Argument(help="Cluster whose workloads get certificates of a new authority.")],
    directory: option.Directory = None,
    timeout: Timeout = "30s",
) -> None:
    """Put a new intermediate authority, with a new key, in the place of a cluster's, and issue its certificates anew.

    Certificates of the one before stay valid until they expire, within 24 hours: the root is the same.

    Examples:
        meshpass identity rotate-intermediate cluster1
    """
    with reported_errors():
        from urllib.parse import urlencode

        from meshpass.cli.duration import parse_duration
        from meshpass.errors import LocalMeshError
        from meshpass.localmesh.processrecord import speaks_for

        seconds = parse_duration(timeout)
        process = next((one for one in _processes(directory) if speaks_for(one, cluster)), None)
        if process is None or cluster not in _clusters(directory):
            raise LocalMeshError(
                f"no process issues certificates for {cluster}", hint="`meshpass status` lists clusters"
            )
        # A process that is alone has one intermediate for all clusters.
        query = urlencode({"cluster": process.cluster})
        before = _ask(process, "POST", f"/v1/identity/rotate-intermediate?{query}")
        old = _fingerprints(before)
        if seconds > 0 and not _poll(process, seconds, lambda now: _fingerprints(now) != old):
            problem = ", ".join(filter(None, (one["problem"] for one in _ask_any([process])["intermediates"])))
            raise LocalMeshError(
                f"{cluster} has no new intermediate after {timeout}" + (f": {problem}" if problem else ""),
                hint="the management server has to be reached for that; it is tried again by itself",
            )
        say_step(f"{cluster} has a new intermediate" if seconds > 0 else f"{cluster} asks for a new intermediate")


def render_identity(answer: dict[str, Any]) -> str:
    """What ``meshpass identity show`` prints."""
    if not answer["trustDomain"]:
        return "no root is known yet"
    waiting = describe_waiting(answer)
    head = [f"Trust domain:  {answer['trustDomain']}", f"Rotation:      {answer['rotation']['phase']}"]
    if waiting:
        head.append(f"Waits for:     {waiting}")
    roots = [
        (_short(one["fingerprint"]), one["subject"], one["notAfter"], "yes" if one["signing"] else "no")
        for one in answer["roots"]
    ]
    intermediates = [
        (
            one["cluster"],
            _short(one["fingerprint"]),
            one["notAfter"] or "-",
            str(one["workloads"]["count"]),
            one["workloads"]["soonestNotAfter"] or "-",
            one["problem"] or "-",
        )
        for one in answer["intermediates"]
    ]
    tables = [render_table(("ROOT", "SUBJECT", "NOT AFTER", "SIGNS"), roots)]
    if intermediates:
        headers = ("CLUSTER", "INTERMEDIATE", "NOT AFTER", "WORKLOADS", "FIRST NOT AFTER", "PROBLEM")
        tables.append(render_table(headers, intermediates))
    return "\n\n".join(["\n".join(head), *tables])


def describe_waiting(answer: dict[str, Any]) -> str:
    """Whom the rotation waits for, in words; empty where it waits for nobody."""
    return "; ".join(
        f"proxies of {one['cluster']}: {', '.join(one['proxies'])}" if one["proxies"] else f"all of {one['cluster']}"
        for one in answer["rotation"]["waitingFor"]
    )


class _Phases:
    """Tells each phase of the rotation from an old root once."""

    def __init__(self, old: str) -> None:
        self._old = old
        self._told = ""

    def is_over(self, answer: dict[str, Any]) -> bool:
        """True once another root signs, and nobody is waited for."""
        rotation = answer["rotation"]
        return bool(rotation["phase"] == "steady" and answer["signing"] != self._old)

    def tell(self, answer: dict[str, Any]) -> None:
        phase = answer["rotation"]["phase"]
        if phase != self._told and (phase != "steady" or self.is_over(answer)):
            self._told = phase
            say_step(_PHASES[phase])


def _poll(
    process: ProcessRecord,
    seconds: float,
    holds: Callable[[dict[str, Any]], bool],
    tell: Callable[[dict[str, Any]], None] = lambda _: None,
) -> bool:
    """True once it holds; False where it does not within so many seconds."""
    until = time.monotonic() + seconds
    while True:
        answer = _ask(process, "GET", "/v1/identity")
        tell(answer)
        if holds(answer):
            return True
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_SECONDS)


def _processes(directory: Path | None) -> list[ProcessRecord]:
    """Those of the control plane, the one with the root first."""
    from meshpass.localmesh.directory import state_directory
    from meshpass.localmesh.processrecord import Role

    return sorted(state_directory(directory).running().processes, key=lambda one: (one.role is Role.AGENT, one.cluster))


def _clusters(directory: Path | None) -> frozenset[str]:
    from meshpass.localmesh.directory import state_directory

    return frozenset(one.name for one in state_directory(directory).running().clusters)


def _ask_any(processes: Iterable[ProcessRecord]) -> dict[str, Any]:
    """What the first one says that answers. Raises LocalMeshError where none does."""
    from meshpass.errors import LocalMeshError

    failure = LocalMeshError("no process of the control plane is known", hint="`meshpass status`")
    for process in processes:
        try:
            return _ask(process, "GET", "/v1/identity")
        except LocalMeshError as error:
            say(f"{process.name}: {error}")
            failure = error
    raise failure


def _ask(process: ProcessRecord, method: str, target: str) -> dict[str, Any]:
    """What the process answers. Raises LocalMeshError where it does not, or refuses, in its own words."""
    import msgspec

    from meshpass.errors import LocalMeshError
    from meshpass.localmesh.control import ask

    code, body = ask(process.socket, method, target, timeout=_ASK_SECONDS, who=process.name)
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        answer = {}
    if code != 200:
        message = answer.get("message", f"{process.name} answered {code}")
        raise LocalMeshError(message, hint=answer.get("hint"))
    return answer


def _fingerprints(answer: dict[str, Any]) -> dict[str, str]:
    return {one["cluster"]: one["fingerprint"] for one in answer["intermediates"]}


def _short(fingerprint: str) -> str:
    return fingerprint[:_SHOWN_DIGITS] or "-"
