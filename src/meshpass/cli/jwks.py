"""``jwks``: the remote key sets of a running mesh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        answer = ask_key_sets(directory, "GET", "/v1/jwks", timeout=5.0)
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
        answer = ask_key_sets(directory, "POST", f"/v1/jwks/refresh{query}", timeout=_REFRESH_SECONDS)
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


def ask_key_sets(directory: Path | None, method: str, target: str, *, timeout: float) -> dict[str, Any]:
    """What the processes of the control plane answer, as one. Raises LocalMeshError where none does."""
    from meshpass.localmesh.control import ask_json
    from meshpass.localmesh.directory import state_directory
    from meshpass.localmesh.meshcontrol import answers, ask_each

    record = state_directory(directory).running()
    told = ask_each(record.processes, lambda one: ask_json(one.socket, method, target, timeout=timeout))
    return {"sources": join_sources([source for _, said in answers(told) for source in said["sources"]])}


def join_sources(sources: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The key sets that several processes fetch, each once: as it is with the one that has the worst to tell of it.

    That is one whose last fetch failed, else the one that has fetched it least lately.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for source in sources:
        key = (source["url"], str(source["destination"]))
        before = found.setdefault(key, dict(source))
        worse = source if _badness(source) > _badness(before) else before
        policies = [*before["policies"], *(one for one in source["policies"] if one not in before["policies"])]
        found[key] = {**worse, "policies": policies}
    return [found[key] for key in sorted(found)]


def _badness(source: Mapping[str, Any]) -> tuple[bool, bool, float]:
    age = source["ageSeconds"]
    return bool(source["lastError"]), age is None, age or 0.0
