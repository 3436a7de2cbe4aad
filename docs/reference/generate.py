"""`python -m docs.reference.generate`: writes the reference of fields and commands anew, from types and commands."""  # noqa: INP001

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from meshpass.api.admin import KubernetesCluster, Workspace, WorkspaceSettings
from meshpass.api.external import ExternalEndpoint, ExternalService
from meshpass.api.kind import Kind
from meshpass.api.kinds import kind_of_type
from meshpass.api.metadata import ApiObject
from meshpass.api.openapi import object_schema
from meshpass.api.resilience import FaultInjectionPolicy, RetryTimeoutPolicy
from meshpass.api.roottrust import RootTrustPolicy
from meshpass.api.routetable import RouteTable
from meshpass.api.security import AccessPolicy, CORSPolicy, JWTPolicy
from meshpass.api.trafficcontrol import HeaderManipulationPolicy
from meshpass.api.virtualdestination import VirtualDestination
from meshpass.api.virtualgateway import VirtualGateway
from meshpass.translate.effect import ACTED_ON

HERE = Path(__file__).parent
WIDTH = 100

GENERATED = "<!-- Written by `python -m docs.reference.generate`; a test tells when that is due. -->"

KINDS: tuple[type[ApiObject], ...] = (
    RouteTable,
    VirtualGateway,
    VirtualDestination,
    ExternalService,
    ExternalEndpoint,
    JWTPolicy,
    CORSPolicy,
    RetryTimeoutPolicy,
    FaultInjectionPolicy,
    HeaderManipulationPolicy,
    AccessPolicy,
    Workspace,
    WorkspaceSettings,
    KubernetesCluster,
    RootTrustPolicy,
)
"""The kinds that have a page."""

ANSWERED_500: Mapping[str, frozenset[str]] = {
    "RouteTable": frozenset(
        {
            "spec.defaultDestination.awsLambda",
            "spec.http[].forwardTo.destinations[].awsLambda",
            "spec.http[].graphql",
        }
    )
}
"""Kind → fields that are judged where routes are translated: a route that uses one is answered 500, as the status says."""

WITHOUT_EFFECT: Mapping[str, frozenset[str]] = {
    "RouteTable": frozenset(
        {
            "spec.http[].delegate.allowedRoutes",
            "spec.tcp[].forwardTo.destinations[].awsLambda",
            "spec.tls[].forwardTo.destinations[].awsLambda",
        }
    ),
    "VirtualGateway": frozenset({"spec.listeners[].allowedRouteTables[].allowedRoutes"}),
    "VirtualDestination": frozenset({"spec.externalWorkloads", "spec.clientMode"}),
    "ExternalService": frozenset({"spec.ports[].egressGatewayRoutes"}),
    "ExternalEndpoint": frozenset({"spec.locality"}),
    "RetryTimeoutPolicy": frozenset({"spec.config.retries.retryRemoteLocalities"}),
    "HeaderManipulationPolicy": frozenset({"spec.applyToRouteDestinations"}),
    "RootTrustPolicy": frozenset(
        {
            "spec.applyToMeshes",
            *(
                f"spec.config.{options}.{name}"
                for options in ("mgmtServerCa.generated", "intermediateCertOptions")
                for name in ("ttlDays", "rsaKeySizeBytes", "orgName", "secretRotationGracePeriodRatio")
            ),
            "spec.config.mgmtServerCa.secretRef",
            "spec.config.agentCa",
            "spec.config.passiveCertificateAuthorities",
        }
    ),
}
"""Kind → fields that are judged where their kind is translated, and have no effect."""

NOTES: Mapping[str, str] = {
    **{
        f"spec.workloadSelectors[].{name}": "workloads are selected by labels only; a selector with this is `INVALID`"
        for name in ("selector.name", "selector.namespace", "selector.cluster", "selector.workspace", "port")
    },
    "spec.workloadSelectors[].kind": "only `KUBE` is possible",
    "spec.listeners[].tls.mode": "`AUTO_PASSTHROUGH` and `ISTIO_MUTUAL` have no effect yet",
    "spec.config.providers{}.remote.enableAsyncFetch": "keys are always fetched ahead of requests",
    "spec.config.phase.preAuthz.priority": "of JWT policies one holds on a route, so this orders nothing among them",
    "spec.config.phase.postAuthz.priority": "of JWT policies one holds on a route, so this orders nothing among them",
    "spec.config.retries.retryOn": "unset is `connect-failure,refused-stream,unavailable,cancelled,503`",
    "spec.config.appendRequestHeaders": "`%` is a per cent sign",
    "spec.config.appendResponseHeaders": "`%` is a per cent sign",
}


def documents() -> dict[str, str]:
    """File name → what it has to be."""
    pages = {f"{kind.__name__.lower()}.md": _fields_of(kind_of_type(kind)) for kind in KINDS}
    return pages | {"cli.md": _commands()}


def schema_paths(kind: Kind) -> dict[str, dict[str, Any]]:
    """Path → schema of every field of the kind's spec, in order."""
    return dict(_walk("spec", object_schema(kind.type)["properties"]["spec"]))


def _walk(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from _below(f"{path}.{name}", field)


def _below(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    match schema:
        case {"items": items}:
            yield from _below(f"{path}[]", items)
        case {"additionalProperties": dict() as values}:
            yield from _below(f"{path}{{}}", values)
        case _:
            yield from _walk(path, schema)


def _fields_of(kind: Kind) -> str:
    rows = [
        f"| `{path.replace('{}', '.<name>')}` | {_type(schema)} | {_cell(schema, path, kind.kind)} |"
        for path, schema in schema_paths(kind).items()
    ]
    names = ", ".join((kind.plural, kind.singular, *kind.short_names))
    return "\n".join(
        (
            GENERATED,
            "",
            f"# {kind.kind}",
            "",
            f"`apiVersion: {kind.group_version}`, `kind: {kind.kind}`; to kubectl: {names}.",
            "",
            "| Field | Type | |",
            "|---|---|---|",
            *rows,
            "",
        )
    )


def _type(schema: dict[str, Any]) -> str:
    match schema:
        case {"enum": values}:
            return ", ".join(f"`{value}`" if value else "empty" for value in values)
        case {"items": items}:
            return f"list of {_type(items)}"
        case {"additionalProperties": dict() as values}:
            return f"map to {_type(values)}"
        case _:
            return str(schema.get("format") or schema["type"])


def _cell(schema: dict[str, Any], path: str, kind: str) -> str:
    parts = [schema.get("description", "").replace("|", "\\|")]
    parts += [
        f"{word} {schema[key]}" for key, word in (("minimum", "at least"), ("maximum", "at most")) if key in schema
    ]
    if any(_is_in(path, refused) for refused in ANSWERED_500.get(kind, ())):
        parts.append("**no effect yet**, the route answers 500")
    elif not _has_effect(path, kind):
        parts.append("**no effect yet**")
    elif path in NOTES:
        parts.append(NOTES[path])
    return "; ".join(part for part in parts if part)


def _has_effect(path: str, kind: str) -> bool:
    if any(_is_in(path, named) for named in WITHOUT_EFFECT.get(kind, ())):
        return False
    return any(_is_in(path, known) or _is_in(known, path) for known in ACTED_ON[kind])


def _is_in(path: str, whole: str) -> bool:
    return path == whole or path.startswith((f"{whole}.", f"{whole}[", f"{whole}{{"))


def _commands() -> str:
    sections = [GENERATED, "", "# Commands", "", "Data goes to standard output, talk to standard error.", ""]
    for words in _command_names():
        name = " ".join(("meshpass", *words))
        sections += [f"## {name}", "", "```text", _help(words), "```", ""]
    return "\n".join(sections)


def _command_names() -> Iterator[tuple[str, ...]]:
    import typer

    from meshpass.cli.main import build_app

    def walk(words: tuple[str, ...], command: Any) -> Iterator[tuple[str, ...]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk((*words, name), inner)

    yield from walk((), typer.main.get_command(build_app()))


def _help(words: tuple[str, ...]) -> str:
    from typer.testing import CliRunner

    from meshpass.cli.main import build_app

    environment = {"COLUMNS": str(WIDTH), "TERMINAL_WIDTH": str(WIDTH), "NO_COLOR": "1", "MESHPASS_DIR": ""}
    shown = CliRunner().invoke(build_app(), [*words, "--help"], prog_name="meshpass", env=environment)
    return "\n".join(line.rstrip() for line in shown.output.strip().splitlines())


def main() -> None:
    """The files beside this one are up to date."""
    for name, text in documents().items():
        temporary = HERE / f".{name}"
        temporary.write_text(text)
        os.replace(temporary, HERE / name)  # noqa: PTH105 - the same, and shorter


if __name__ == "__main__":
    main()
