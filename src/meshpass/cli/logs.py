"""``logs``: what the proxies decided about requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshpass.cli import option
from meshpass.cli.output import paint, print_data, reported_errors, say

if TYPE_CHECKING:
    from pathlib import Path

_CONNECT_SECONDS = 5.0

_COLUMNS = (
    ("TIME", 12),
    ("WORKLOAD", 48),
    ("SIDE", 8),
    ("VERDICT", 7),
    ("STATUS", 6),
    ("REQUEST", 44),
    ("POLICY", 24),
    ("PROVIDER", 24),
    ("SUBJECT", 16),
    ("REASON", 0),
)
"""With the width up to which a column is padded: records are printed as they come, so nothing is known of later ones."""


class LogFormat(Enum):
    """How ``logs`` prints."""

    TABLE = "table"
    JSON = "json"


def logs(
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new records until Ctrl-C.")] = False,
    denied: Annotated[bool, typer.Option("--denied", help="Only requests that were refused.")] = False,
    policy: Annotated[
        str | None, typer.Option("--policy", help="Only routes under this JWTPolicy.", show_default=False)
    ] = None,
    route: Annotated[str | None, typer.Option("--route", help="Only this route.", show_default=False)] = None,
    workload: Annotated[
        str | None, typer.Option("--workload", help="Only the proxies of this workload.", show_default=False)
    ] = None,
    namespace: option.NamespaceName = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only the last 30s, 5m, 1h, …", show_default=False)
    ] = None,
    output: Annotated[LogFormat, typer.Option("--output", "-o", help="Format; json is a line each.")] = LogFormat.TABLE,
    directory: option.Directory = None,
) -> None:
    """Show what the proxies decided about each request: verdict, policy, provider, and Envoy's reason.

    The latest 10,000 requests are kept. A subject is shown as a hash; tokens and queries are not kept at all.

    Examples:
        meshpass logs --denied --since 5m

        meshpass logs -f --policy dev-jwt-policy

        meshpass logs -n httpbin --workload client -o json
    """
    with reported_errors():
        from meshpass.localmesh.directory import state_directory

        query = build_query(
            follow=follow,
            denied=denied,
            policy=policy,
            route=route,
            workload=workload,
            namespace=namespace,
            since=since,
        )
        record = state_directory(directory).running()
        with _open_logs([one.socket for one in record.processes], query, follow=follow) as lines:
            try:
                _print(lines, output)
            except KeyboardInterrupt:
                raise typer.Exit(130) from None


@contextmanager
def _open_logs(sockets: Sequence[Path], query: Mapping[str, str], *, follow: bool) -> Iterator[Iterator[str]]:
    """The lines of all processes. One that does not answer is named, and the others' are shown."""
    from functools import partial

    from meshpass.cli.logmerge import follow_merged, merge_kept
    from meshpass.errors import LocalMeshError

    if len(sockets) == 1:
        with open_log(sockets[0], query) as lines:
            yield lines
    elif follow:
        yield follow_merged([partial(open_log, socket, query) for socket in sockets])
    else:
        with ExitStack() as stack:
            logs = []
            for socket in sockets:
                try:
                    logs.append(stack.enter_context(open_log(socket, query)))
                except LocalMeshError as error:
                    failure = error
                    say(f"{socket.stem}: {error}")
            if not logs:
                raise failure
            yield merge_kept(logs)


def build_query(
    *,
    follow: bool,
    denied: bool,
    policy: str | None,
    route: str | None,
    workload: str | None,
    namespace: str | None,
    since: str | None,
) -> dict[str, str]:
    """The parameters of the control plane's ``/v1/logs``. Raises MeshpassError if ``since`` is no duration."""
    from meshpass.cli.duration import parse_duration

    texts = {"policy": policy, "route": route, "workload": workload, "namespace": namespace}
    query = {name: value for name, value in texts.items() if value is not None}
    query |= {name: "true" for name, flag in (("follow", follow), ("denied", denied)) if flag}
    return query if since is None else query | {"since": f"{parse_duration(since):g}"}


@contextmanager
def open_log(socket: Path, query: Mapping[str, str]) -> Iterator[Iterator[str]]:
    """Lines of JSON, as the control plane sends them. Raises LocalMeshError where it does not answer, or stops to."""
    import httpx2

    from meshpass.errors import LocalMeshError

    transport = httpx2.HTTPTransport(uds=str(socket))
    # Without new requests there is nothing to read for as long as it takes.
    timeout = httpx2.Timeout(_CONNECT_SECONDS, read=None)
    try:
        with (
            httpx2.Client(transport=transport, timeout=timeout) as client,
            client.stream("GET", "http://meshpass/v1/logs", params=dict(query)) as response,
        ):
            if response.status_code != 200:
                response.read()
                raise LocalMeshError(f"the control plane answered {response.status_code}: {response.text[:200]}")
            yield response.iter_lines()
    except httpx2.HTTPError as error:
        raise LocalMeshError(
            f"the control plane does not answer: {error}", hint="`meshpass status`, or the logs in its directory"
        ) from error


def _print(lines: Iterator[str], output: LogFormat) -> None:
    import json

    if output is LogFormat.TABLE:
        print_data(render_row({name: name for name, _ in _COLUMNS}))
    for line in lines:
        record = json.loads(line)
        if "dropped" in record:
            say(f"{record['dropped']} records are missing here: they came faster than they were read")
        elif output is LogFormat.JSON:
            print_data(line)
        else:
            print_data(render_record(record))


def render_record(record: Mapping[str, Any]) -> str:
    """One line for people; times are UTC."""
    verdict = record["verdict"]
    row = render_row(
        {
            "TIME": datetime.fromtimestamp(record["time"], UTC).strftime("%H:%M:%S.%f")[:-3],
            "WORKLOAD": "/".join(record["proxy"].split("~")[1:]) or record["proxy"],
            "SIDE": record["side"],
            "VERDICT": verdict,
            "STATUS": str(record["status"] or "-"),
            "REQUEST": f"{record['method'] or '-'} {record['host']}{record['path']}",
            "POLICY": record["policy"] or "-",
            "PROVIDER": record["provider"] or "-",
            "SUBJECT": record["subjectHash"] or "-",
            "REASON": record["reason"] or "-",
        }
    )
    return paint("bad", row) if verdict == "denied" else row


def render_row(cells: Mapping[str, str]) -> str:
    """The cells of all columns, two spaces between, nothing after the last."""
    return "  ".join(cells[name].ljust(width) for name, width in _COLUMNS).rstrip()
