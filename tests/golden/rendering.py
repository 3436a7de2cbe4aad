"""Golden cases: what is under ``tests/golden``, and what the code makes of it, as readable YAML.

A case is a folder ``<topic>/<a-sentence>`` with ``in.yaml``, the objects that it adds to the base mesh, where they name
files ``files.yaml``, where workloads have identities ``identities.yaml``, and three expected files, which tell only what
differs from the base mesh (with the same identities, unless the case adds no objects):

- ``status.yaml``: the status of each object, as if every proxy had acknowledged;
- ``ir.yaml``: the task of each proxy;
- ``xds.yaml``: the resources of each proxy, sorted by type and name.

``files.yaml`` has for each path either the ``text``, the ``problem``, or whose ``certificate`` or ``privateKey`` it is:
these are made, always the same ones, so that no key has to be kept. ``identities.yaml`` has the ``trustDomain``, and
whose certificates are ``missing``; all others are made as well, and shown by the names that they are for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from google.protobuf import json_format
from tests.support.gateway_objects import make_pair
from tests.support.objects import BASE, build_snapshots, object_set, read_objects, translate_objects

from meshpass.envoy.snapshot import CLUSTER, ENDPOINTS, EXTENSION_CONFIG, LISTENER, ROUTES, SECRET, Snapshot
from meshpass.ir import Endpoint, MutualTlsMode, ObjectRef, Proxy, RouteConfiguration
from meshpass.memo import Memo
from meshpass.translate import Translation
from meshpass.translate.filecontent import NO_FILES, FileContent, FileContents
from meshpass.translate.identity import NO_IDENTITIES, Identities, WorkloadCertificate
from meshpass.translate.report import ObjectReport
from meshpass.translate.status import Programming, build_status

ROOT = Path(__file__).parent
IN = "in.yaml"
FILES = "files.yaml"
IDENTITIES = "identities.yaml"
OUT = ("status.yaml", "ir.yaml", "xds.yaml")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the code makes of some objects."""

    translation: Translation
    snapshots: Mapping[str, Snapshot]
    texts: Mapping[str, str]
    """What is made for identities → what is shown instead."""


def case_folders() -> list[Path]:
    """Every case, sorted."""
    return sorted(path.parent for path in ROOT.rglob(IN))


def case_name(folder: Path) -> str:
    """``<topic>/<a-sentence>``."""
    return str(folder.relative_to(ROOT))


def orphans() -> list[Path]:
    """Files below the topics that belong to no case."""
    cases = set(case_folders())
    return sorted(
        path
        for path in ROOT.rglob("*")
        if path.is_file()
        and path.parent != ROOT
        and "__pycache__" not in path.parts
        and (path.parent not in cases or path.name not in (IN, FILES, IDENTITIES, *OUT))
    )


def run_case(folder: Path) -> Outcome:
    """What comes of the base mesh with the objects of the case."""
    return _run(BASE, folder / IN, files=_files(folder), known=_identities(folder))


def _identities(folder: Path) -> dict[str, Any]:
    path = folder / IDENTITIES
    return dict(yaml.safe_load(path.read_text())) if path.exists() else {}


def _files(folder: Path) -> FileContents:
    path = folder / FILES
    known = yaml.safe_load(path.read_text()) if path.exists() else {}
    return {name: _content(**said) for name, said in known.items()}


def _content(text: str = "", problem: str = "", certificate: str = "", privateKey: str = "") -> FileContent:  # noqa: N803
    if certificate or privateKey:
        pair = _pair(certificate or privateKey)
        text = pair[0] if certificate else pair[1]
    return FileContent(text=text, problem=problem)


@cache
def _pair(name: str) -> tuple[str, str]:
    """A certificate and its key, as PEM: the same ones whenever they are asked for."""
    seed = hashlib.sha256(name.encode()).digest()
    return make_pair(name, key=Ed25519PrivateKey.from_private_bytes(seed), serial=1)


def _run(*sources: Path, files: FileContents = NO_FILES, known: Mapping[str, Any] = MappingProxyType({})) -> Outcome:
    memo, objects = Memo(), object_set(*sources)
    identities, texts = NO_IDENTITIES, dict[str, str]()
    if known:
        roots = _pair("roots")[0]
        identities = Identities(trust_domain=known["trustDomain"], authorities=roots)
        wanted = translate_objects(objects, memo, files=files, identities=identities).identities
        # The name of a certificate is that of a host here: that is enough for an Envoy to take it.
        pairs = {name: _pair(f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.example") for name in sorted(wanted)}
        made = {name: WorkloadCertificate(*pairs[name]) for name in pairs if name not in known.get("missing", ())}
        identities = replace(identities, certificates=MappingProxyType(made))
        texts = {roots: "(the roots)", **{pair[0]: f"(the certificate of {name})" for name, pair in pairs.items()}}
    translation = translate_objects(objects, memo, files=files, identities=identities)
    return Outcome(translation, build_snapshots(translation, memo), texts)


@cache
def _base(trust_domain: str = "") -> Outcome:
    return _run(BASE, known={"trustDomain": trust_domain} if trust_domain else {})


def render_case(folder: Path) -> dict[str, str]:
    """File name → expected text."""
    outcome = run_case(folder)
    if folder == BASE.parent:
        base = Outcome(translate_objects(object_set()), {}, {})
    else:
        adds = bool(read_objects(folder / IN))
        base = _base(_identities(folder).get("trustDomain", "") if adds else "")
    return {
        "status.yaml": _dump(_statuses(outcome, base)),
        "ir.yaml": _dump(_grouped({node: _proxy(proxy, base) for node, proxy in outcome.translation.proxies.items()})),
        "xds.yaml": _dump(
            _grouped({node: _resources(one, base, outcome.texts) for node, one in outcome.snapshots.items()})
        ),
    }


def _statuses(outcome: Outcome, base: Outcome) -> dict[str, Any]:
    known = base.translation.report.objects
    found = {}
    for key, report in sorted(outcome.translation.report.objects.items()):
        status = _status(report)
        if key not in known or _without_counts(status) != _without_counts(_status(known[key])):
            found[str(ObjectRef(*key))] = status
    return found


def _without_counts(status: Mapping[str, Any]) -> dict[str, Any]:
    """Without what a workspace counts of others' objects: it alone is nothing to tell in every case."""
    return {
        name: value
        for name, value in status.items()
        if name not in {"numResources", "policyCounts", "destinationCounts"}
    }


def _status(report: ObjectReport) -> dict[str, Any]:
    status = build_status(report, Programming())
    state = status.pop("common")["State"]
    conditions = {
        one["type"]: ": ".join(filter(None, (f"{one['status']} {one['reason']}", one["message"])))
        for one in status.pop("conditions")
    }
    return {"approval": state["approval"], "message": state["message"], **status, "conditions": conditions}


def _proxy(proxy: Proxy, base: Outcome) -> dict[str, Any]:
    """The parts of a proxy that are not those of the same proxy in the base mesh."""
    known = base.translation.proxies.get(proxy.node, Proxy(node=proxy.node))
    shown = {
        field.name: plain(getattr(proxy, field.name))
        for field in fields(Proxy)
        if field.name != "node" and getattr(proxy, field.name) != getattr(known, field.name)
    }
    if "routes" in shown:
        shown["routes"] = {one.name: _routes(one, known) for one in proxy.routes if one not in known.routes}
    if "secrets" in shown:
        shown["secrets"] = [f"{type(one).__name__} {one.name}" for one in proxy.secrets]
    return shown


def _routes(routes: RouteConfiguration, known: Proxy) -> Any:
    """What a route configuration says that it does not say in the base mesh."""
    before = [host for one in known.routes if one.name == routes.name for host in one.virtual_hosts]
    return plain(replace(routes, virtual_hosts=tuple(host for host in routes.virtual_hosts if host not in before)))


def plain(value: Any) -> Any:
    """A value of the IR as YAML has it; fields that have their default are left out, a type that is one of several is named."""
    if isinstance(value, msgspec.Struct) or (is_dataclass(value) and not isinstance(value, type)):
        names = value.__struct_fields__ if isinstance(value, msgspec.Struct) else [one.name for one in fields(value)]
        shown = {
            name: plain(inner)
            for name in names
            if (inner := getattr(value, name)) not in (None, (), False, "", frozenset(), {}, MutualTlsMode.DISABLE)
        }
        return {"type": type(value).__name__, **shown} if type(value).__name__ in _VARIANTS else shown
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, ObjectRef):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(value[name]) for name in sorted(value)}
    if isinstance(value, frozenset):
        return sorted(map(plain, value))
    if isinstance(value, Endpoint):
        further = {"mutual_tls": value.mutual_tls, "priority": value.priority}
        return [value.address, value.port, *({name: it} for name, it in further.items() if it)]
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


_VARIANTS = frozenset(
    {
        "PathPrefix",
        "PathExact",
        "PathRegex",
        "PrefixRewrite",
        "RegexRewrite",
        "Forward",
        "Redirect",
        "DirectResponse",
        "OutboundListener",
        "InboundListener",
        "GatewayListener",
        "HttpChain",
        "TcpChain",
    }
)


def _resources(snapshot: Snapshot, base: Outcome, texts: Mapping[str, str]) -> dict[str, Any]:
    """Type → name → message, of what the base mesh has not; of routes only the virtual hosts that it has not."""
    known = base.snapshots.get(snapshot.node)
    shown: dict[str, Any] = {}
    for type_url in (CLUSTER, ENDPOINTS, SECRET, EXTENSION_CONFIG, LISTENER, ROUTES):
        for name, resource in sorted(snapshot.of(type_url).items()):
            before = known.of(type_url).get(name) if known else None
            if before is not None and before.version == resource.version:
                continue
            message = _with_texts(read_message(resource.wire), texts)
            if type_url == ROUTES and before is not None:
                hosts = read_message(before.wire)["virtual_hosts"]
                message["virtual_hosts"] = [host for host in message["virtual_hosts"] if host not in hosts]
            shown.setdefault(type_url.rpartition(".")[2], {})[name] = message
    return shown


def read_message(wire: bytes) -> Any:
    """A serialised discovery Resource as plain data; what is packed in an Any is unpacked."""
    resource = DiscoveryResource.FromString(wire)
    message: dict[str, Any] = json.loads(json_format.MessageToJson(resource.resource, preserving_proto_field_name=True))
    message.pop("@type")
    if resource.resource.type_url == SECRET and "tls_certificate" in message:
        # Keys are in no golden file, not even those that were made for it.
        message["tls_certificate"]["private_key"] = "(not shown)"
    return _maps_sorted(message)


def _with_texts(value: Any, texts: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_with_texts(item, texts) for item in value]
    return {name: _with_texts(inner, texts) for name, inner in value.items()} if isinstance(value, dict) else value


_MAPS = frozenset({"filter_metadata", "policies", "providers", "requirement_map", "typed_per_filter_config"})
"""Fields that are maps, which protobuf gives in any order."""


def _maps_sorted(value: Any) -> Any:
    if isinstance(value, list):
        return [_maps_sorted(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: dict(sorted(inner.items())) if name in _MAPS and isinstance(inner, dict) else inner
        for name, inner in ((name, _maps_sorted(inner)) for name, inner in value.items())
    }


def _grouped(by_node: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Nodes of which the same is told are told together; those of which nothing is told are left out."""
    groups: list[dict[str, Any]] = []
    for node, shown in sorted(by_node.items()):
        same = next((group for group in groups if group["shown"] == shown), None)
        if same is not None:
            same["nodes"].append(node)
        elif shown:
            groups.append({"nodes": [node], "shown": shown})
    return [{"nodes": group["nodes"], **group["shown"]} for group in groups]


class _Dumper(yaml.SafeDumper):
    """Long lines stay whole, text of several lines is a block, equal parts are written out."""

    def ignore_aliases(self, data: Any) -> bool:
        """No anchors: each part is read where it stands."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
