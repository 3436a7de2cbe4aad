"""``jwks``: the remote key sets of a running mesh."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from meshpass.cli import option
from meshpass.cli.duration import show_duration
from meshpass.cli.output import print_data, print_json, render_table, reported_errors, say

if TYPE_CHECKING:
    from pathlib import Path

_REFRESH_SECONDS = 120.0
"""Retries are part of a refresh, and each has its time limit."""


class KeySetFormat(Enum):
    """How key sets are printed."""

    TABLE = "table"
    JSON = "json"


Output = Annotated[KeySetFormat, typer.Option("--output", "-o", help="Format.")]


def show(directory: option.Directory = None, output: Output = KeySetFormat.TABLE) -> None:
    """List the remote key sets: their keys, how old those are, when they are fetched next, and what failed last.

    Examples:
        meshpass jwks

        meshpass jwks -o json
    """
    with reported_errors():
        answer = _ask(directory, "GET", "/v1/jwks", timeout=5.0)
        if output is KeySetFormat.JSON:
            print_json(answer)
        elif answer["sources"]:
            print_data(render_sources(answer))
        else:
            say("no policy names a remote key set")


def refresh(
    url: Annotated[
        str | None, typer.Argument(help="One key set, with or without its query; all unless said.", show_default=False)
    ] = None,
    directory: option.Directory = None,
    output: Output = KeySetFormat.TABLE,
) -> None:
    """Fetch remote key sets now, and list them. Exit code 1 when one could not be fetched.

    Examples:
        meshpass jwks refresh

        meshpass jwks refresh https://login.example.com/.well-known/jwks.json
    """
    with reported_errors():
        from urllib.parse import urlencode

        from meshpass.errors import LocalMeshError

        query = "" if url is None else "?" + urlencode({"url": url})
        answer = _ask(directory, "POST", f"/v1/jwks/refresh{query}", timeout=_REFRESH_SECONDS)
        sources = answer["sources"]
        if url is not None and not sources:
            raise LocalMeshError("no policy names this key set", hint="`meshpass jwks` lists those that there are")
        if output is KeySetFormat.JSON:
            print_json(answer)
        elif sources:
            print_data(render_sources(answer))
        if any(source["lastError"] for source in sources):
            raise typer.Exit(1)


def render_sources(answer: dict[str, Any]) -> str:
    """The table of ``meshpass jwks``; keys that are not used are listed below it."""
    headers = ("URL", "DESTINATION", "KEYS", "AGE", "NEXT", "POLICIES", "LAST ERROR")
    rows = [
        (
            source["url"],
            source["destination"] or "-",
            ", ".join(_key(key) for key in source["keys"]) or "none",
            _span(source["ageSeconds"], "never fetched"),
            _span(source["nextFetchInSeconds"], "now"),
            ", ".join(f"{one['cluster']}/{one['namespace']}/{one['name']}" for one in source["policies"]) or "-",
            source["lastError"] or "-",
        )
        for source in answer["sources"]
    ]
    unused = [f"{source['url']}: {words}" for source in answer["sources"] for words in source["skipped"]]
    return "\n\n".join([render_table(headers, rows), *(["\n".join(["Not used:", *unused])] if unused else [])])


def _key(key: dict[str, Any]) -> str:
    return f"{key['kid'] or 'without kid'} ({key['alg'] or key['kty']})"


def _span(seconds: float | None, otherwise: str) -> str:
    return otherwise if seconds is None else show_duration(seconds)


def _ask(directory: Path | None, method: str, target: str, *, timeout: float) -> dict[str, Any]:
    """What the control plane answers. Raises LocalMeshError where it does not, or answers with a failure."""
    from pathlib import Path as PathType

    import httpx2 as httpx
    import msgspec

    from meshpass.errors import LocalMeshError
    from meshpass.localmesh.directory import control_socket, state_directory

    socket = control_socket(PathType(state_directory(directory).running().run_directory))
    try:
        with httpx.HTTPTransport(uds=str(socket), trust_env=False) as transport:
            extensions = {"timeout": {"connect": timeout, "read": timeout}}
            request = httpx.Request(method, f"http://meshpass{target}", extensions=extensions)
            response = transport.handle_request(request)
            body = response.read()
    except httpx.HTTPError as error:
        raise LocalMeshError(
            f"the control plane does not answer: {error}", hint="`meshpass status`, or the logs in its directory"
        ) from error
    if response.status_code != 200:
        raise LocalMeshError(f"the control plane answered {response.status_code}")
    answer: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
    return answer
