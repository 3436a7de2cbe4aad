"""``check``: one page that says what is healthy and what is not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from meshpass.cli import option
from meshpass.cli.output import print_data, print_json, say_error

if TYPE_CHECKING:
    from pathlib import Path

    from meshpass.cli.check_facts import Facts

_CANNOT_TELL = 2


class CheckFormat(Enum):
    """How ``check`` prints."""

    TEXT = "text"
    JSON = "json"


def check(
    directory: option.Directory = None,
    output: Annotated[CheckFormat, typer.Option("--output", "-o", help="Format.")] = CheckFormat.TEXT,
    timeout: Annotated[
        str, typer.Option("--timeout", help="How long proxies may take to catch up first, as in 500ms, 10s.")
    ] = "2s",
) -> None:
    """Check the whole mesh. Exit code 0: all is well or only warned of (!); 1: something is wrong (✗); 2: no mesh runs.

    Looks at API servers, the processes of the control plane, agents, proxies and what they refuse, remote key sets,
    certificates and identities, objects that are not ACCEPTED, frozen route tables, programs behind sidecars, and
    feature gates.

    Examples:
        meshpass check

        kubectl apply -f policy.yaml && meshpass check --timeout 10s

        meshpass check -o json | jq '.sections[] | select(.mark != "ok")'
    """
    from meshpass.cli.check_page import is_healthy, page_json, render_page
    from meshpass.cli.check_sections import build_sections
    from meshpass.cli.duration import parse_duration
    from meshpass.errors import MeshpassError

    try:
        facts = gather_facts(directory, parse_duration(timeout), datetime.now(UTC))
    except MeshpassError as error:
        say_error(error)
        raise typer.Exit(_CANNOT_TELL) from error
    sections = build_sections(facts)
    if output is CheckFormat.JSON:
        print_json(page_json(sections))
    else:
        print_data(render_page(sections))
    if not is_healthy(sections):
        raise typer.Exit(1)


def gather_facts(directory: Path | None, settle_seconds: float, now: datetime) -> Facts:
    """All that there is to know of the mesh on the directory. Raises MeshpassError where none runs."""
    from meshpass.cli.check_facts import Facts, ask_control, ask_servers, find_stopped
    from meshpass.localmesh.directory import state_directory

    state = state_directory(directory)
    record = state.running()
    control = ask_control(record, settle_seconds=settle_seconds)
    servers, programs = asyncio.run(ask_servers(state.kubeconfig, [one.name for one in record.clusters]))
    return Facts(
        record=record,
        state=state.path,
        now=now,
        servers=servers,
        programs=programs,
        control=control,
        stopped=find_stopped(record),
    )
