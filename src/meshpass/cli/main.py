"""The program: its commands, and the options that all of them have."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Annotated, TypedDict

import typer

from meshpass.cli import (
    apiserver,
    check,
    cluster,
    crds,
    demo,
    environment,
    identity,
    jwks,
    logs,
    mesh,
    objects,
    option,
    processes,
    status,
    switch,
    token,
)
from meshpass.cli.output import print_data


class _Texts(TypedDict):
    help: str
    short_help: str


_HELP = """JSON Web Token policy on the routes of a service mesh, in every Envoy.

Start a mesh on this machine with `meshpass up`, or watch the guide happen with `meshpass demo`.
"""


def build_app() -> typer.Typer:
    """The program with all its commands."""
    app = typer.Typer(
        name="meshpass",
        help=_HELP,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"], "max_content_width": 100},
    )
    app.callback()(_global_options)
    _add(app, mesh.up)
    _add(app, mesh.down)
    _add(app, status.status)
    _add(app, status.wait)
    _add(app, switch.stop)
    _add(app, switch.start)
    _add(app, check.check)
    _add(app, environment.env)
    _add(app, environment.execute, "exec")
    _add(app, demo.demo)
    _add(app, objects.apply)
    _add(app, objects.get)
    _add(app, objects.delete)
    _add(app, logs.logs)
    _add(app, apiserver.api_server)
    _add(app, processes.management_server)
    _add(app, processes.agent)
    clusters = typer.Typer(help="Which clusters belong to the mesh.", no_args_is_help=True)
    _add(clusters, cluster.register)
    _add(clusters, cluster.deregister)
    _add(clusters, cluster.list_clusters, "list")
    app.add_typer(clusters, name="cluster")
    identities = typer.Typer(help="Who stands for the mesh, and new authorities.", no_args_is_help=True)
    _add(identities, identity.show)
    _add(identities, identity.rotate_root, "rotate-root")
    _add(identities, identity.rotate_intermediate, "rotate-intermediate")
    app.add_typer(identities, name="identity")
    key_sets = typer.Typer()
    key_sets.callback(invoke_without_command=True, **_texts(jwks.show))(_show_key_sets)
    _add(key_sets, jwks.refresh)
    app.add_typer(key_sets, name="jwks")
    tokens = typer.Typer(help="Make and read JSON Web Tokens and their keys.", no_args_is_help=True)
    _add(tokens, token.create)
    _add(tokens, token.decode)
    keys = typer.Typer(help="Make keys, and show public ones.", no_args_is_help=True)
    _add(keys, token.create_key, "create")
    _add(keys, token.show_public_key, "public")
    tokens.add_typer(keys, name="key")
    app.add_typer(tokens, name="token")
    definitions = typer.Typer(help="Print or install the CustomResourceDefinitions.", no_args_is_help=True)
    _add(definitions, crds.print_definitions, "print")
    _add(definitions, crds.install)
    app.add_typer(definitions, name="crds")
    permissions = typer.Typer(help="What a control plane has to be allowed on an API server.", no_args_is_help=True)
    _add(permissions, crds.print_permissions, "print")
    app.add_typer(permissions, name="rbac")
    return app


def _add(app: typer.Typer, command: Callable[..., None], name: str | None = None) -> None:
    app.command(name, **_texts(command))(command)


def _texts(command: Callable[..., None]) -> _Texts:
    """The help of a command, from its docstring."""
    text = inspect.cleandoc(command.__doc__ or "")
    summary, _, rest = text.partition("\n\n")
    description, _, examples = rest.partition("Examples:")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    # A backspace alone on its line keeps the next paragraph from being filled.
    shown = "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
    return {
        "help": f"{summary}\n\n{description}\n\n{shown}",
        "short_help": summary.partition(". ")[0].rstrip(".") + ".",
    }


def _show_key_sets(
    context: typer.Context, directory: option.Directory = None, output: jwks.Output = jwks.KeySetFormat.TABLE
) -> None:
    if context.invoked_subcommand is None:
        jwks.show(directory, output)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print_data(f"meshpass {metadata.version('meshpass')}")
        raise typer.Exit


def _forbid_colour(asked: bool) -> None:
    if asked:
        os.environ["NO_COLOR"] = "1"


def _global_options(
    version: Annotated[  # noqa: ARG001 - acts in its callback
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
    no_colour: Annotated[  # noqa: ARG001 - acts in its callback
        bool, typer.Option("--no-color", help="No colours, as with NO_COLOR.", callback=_forbid_colour, is_eager=True)
    ] = False,
) -> None:
    return


def main() -> None:
    """Runs the program and exits with its code."""
    build_app()()


if __name__ == "__main__":
    main()
