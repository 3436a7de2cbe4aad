"""Parsing of mesh files: text in, a LocalMesh that can be run out, or an error that names the field."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec
import yaml

from meshpass.errors import MeshFileError, MeshpassError
from meshpass.identity.spiffe import check_trust_domain
from meshpass.localmesh.meshfile import (
    API_VERSION,
    KIND,
    PROXY_CONTAINER,
    PROXY_PORT,
    App,
    Cluster,
    LocalMesh,
    Namespace,
    Port,
    Service,
    Workload,
)

_PARTS: Mapping[str, type[msgspec.Struct]] = {
    "": LocalMesh,
    "clusters": Cluster,
    "namespaces": Namespace,
    "workloads": Workload,
    "service": Service,
    "ports": Port,
}
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*?)`(?: - at `\$(?P<path>.*)`)?$")
_MISSING = re.compile(r"Object missing required field `(?P<field>.*?)`(?: - at `\$(?P<path>.*)`)?$")
_OTHER = re.compile(r"(?P<text>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""RFC 1123 label, as Kubernetes wants for the names of namespaces and Services."""
_BACKENDS = ("app", "command", "address")


def load_mesh_file(path: Path) -> LocalMesh:
    """The mesh that the file declares. Raises MeshFileError, whose message starts with the file's name."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise MeshFileError(f"{path}: cannot be read: {reason}") from error
    try:
        return parse_mesh_file(text)
    except MeshFileError as error:
        raise MeshFileError(f"{path}: {error}", hint=error.hint) from error


def parse_mesh_file(text: str) -> LocalMesh:
    """The mesh that the text declares; every name in it refers to something in it. Raises MeshFileError."""
    try:
        document = yaml.load(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError as error:
        raise MeshFileError(f"not YAML: {error}") from error
    if not isinstance(document, dict):
        raise MeshFileError(f"expected a mapping with apiVersion: {API_VERSION} and kind: {KIND}")
    for field, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if document.get(field) != expected:
            raise MeshFileError(f"{field}: expected {expected}, got {document.get(field)!r}")
    try:
        mesh = msgspec.convert(document, LocalMesh)
    except msgspec.ValidationError as error:
        raise _render(str(error)) from error
    for problem in _problems(mesh):
        raise problem
    return mesh


def _render(message: str) -> MeshFileError:
    if match := _UNKNOWN.match(message):
        field, path = match["field"], match["path"] or ""
        part = _PARTS.get(re.sub(r"\[.*?\]", "", path).rpartition(".")[2])
        known = part.__struct_encode_fields__ if part else ()
        close = difflib.get_close_matches(field, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known fields: {', '.join(known)}"
        return MeshFileError(f"{_at(path, field)}: unknown field", hint=hint)
    if match := _MISSING.match(message):
        return MeshFileError(f"{_at(match['path'] or '', match['field'])}: required")
    match = _OTHER.match(message)
    path = (match["path"] or "") if match else ""
    text = match["text"] if match else message
    return MeshFileError(f"{_at(path)}: {text[:1].lower()}{text[1:]}")


def _at(path: str, field: str = "") -> str:
    return f"{path}.{field}".strip(".") if field else path.strip(".")


def _problems(mesh: LocalMesh) -> Iterator[MeshFileError]:
    clusters = [cluster.name for cluster in mesh.clusters]
    yield from _names("clusters", clusters)
    managing = sum(cluster.management for cluster in mesh.clusters)
    if managing != 1:
        yield MeshFileError(
            f"clusters: {managing} clusters have management: true, expected one",
            hint="give exactly one cluster `management: true`",
        )
    yield from _ports((f"clusters[{i}].port", one.port) for i, one in enumerate(mesh.clusters) if one.port is not None)
    try:
        check_trust_domain(mesh.trust_domain)
    except MeshpassError as error:
        yield MeshFileError(f"trustDomain: {error}", hint=error.hint)
    yield from _names("namespaces", [namespace.name for namespace in mesh.namespaces])
    for i, namespace in enumerate(mesh.namespaces):
        for j, name in enumerate(namespace.clusters):
            yield from _refers(f"namespaces[{i}].clusters[{j}]", name, clusters)
    for i, workload in enumerate(mesh.workloads):
        if workload.name == PROXY_CONTAINER:
            yield MeshFileError(f"workloads[{i}].name: {PROXY_CONTAINER} is the container of every Pod's Envoy")
        yield from _workload_problems(f"workloads[{i}]", workload, clusters)
    for key, count in Counter(workload.key for workload in mesh.workloads).items():
        if count > 1:
            yield MeshFileError(f"workloads: {'/'.join(key)} is declared {count} times")
    yield from _shared_service_problems(mesh)


def _workload_problems(path: str, workload: Workload, clusters: list[str]) -> Iterator[MeshFileError]:
    for field in ("name", "namespace", "service_account"):
        yield from _name(
            f"{path}.{'serviceAccount' if field == 'service_account' else field}", getattr(workload, field)
        )
    yield from _refers(f"{path}.cluster", workload.cluster, clusters)
    given = [field for field in _BACKENDS if getattr(workload, field) is not None]
    if len(given) > 1:
        yield MeshFileError(f"{path}: {' and '.join(given)} exclude each other", hint="leave all out for a client")
    if workload.env and workload.command is None and workload.app is None:
        yield MeshFileError(f"{path}.env: has no effect without command or app")
    if workload.working_directory is not None and workload.command is None:
        yield MeshFileError(f"{path}.workingDirectory: has no effect without command")
    if workload.command is not None and not workload.command:
        yield MeshFileError(f"{path}.command: is empty")
    if workload.address is not None:
        yield from _address(f"{path}.address", workload.address)
    if workload.is_gateway:
        yield from _gateway_problems(path, workload, given)
    if workload.service is None:
        if workload.app is not None or workload.address is not None:
            yield MeshFileError(f"{path}.service: required with {given[0]}: its ports say where it answers")
        return
    yield from _service_problems(f"{path}.service", workload)


def _gateway_problems(path: str, workload: Workload, given: list[str]) -> Iterator[MeshFileError]:
    if given:
        yield MeshFileError(
            f"{path}.{given[0]}: a gateway has nothing behind it",
            hint="a RouteTable says where its requests go; the app is a workload of its own",
        )
    if workload.service is None:
        yield MeshFileError(f"{path}.service: required for a gateway: its ports say where it can listen")


def _service_problems(path: str, workload: Workload) -> Iterator[MeshFileError]:
    service = workload.service
    if service is None:
        return
    if service.name is not None:
        yield from _name(f"{path}.name", service.name)
    if not service.ports:
        yield MeshFileError(f"{path}.ports: is empty")
    yield from _ports((f"{path}.ports[{i}].port", port.port) for i, port in enumerate(service.ports))
    yield from _ports((f"{path}.ports[{i}].targetPort", port.target) for i, port in enumerate(service.ports))
    for i, port in enumerate(service.ports):
        if port.name:
            yield from _name(f"{path}.ports[{i}].name", port.name)
        elif len(service.ports) > 1:
            yield MeshFileError(f"{path}.ports[{i}].name: required where a Service has several ports")
        if port.target == PROXY_PORT and not workload.is_gateway:
            yield MeshFileError(f"{path}.ports[{i}].targetPort: {PROXY_PORT} is the sidecar's own")
    yield from _unique(f"{path}.ports", (str(port.port) for port in service.ports))
    yield from _unique(f"{path}.ports", (port.name for port in service.ports))
    if len(service.targets) > 1 and workload.command is None:
        backend = "app" if workload.app is not None else "address"
        if workload.app is not None or workload.address is not None:
            yield MeshFileError(f"{path}.ports: {backend} answers on one targetPort, not on {list(service.targets)}")


def _shared_service_problems(mesh: LocalMesh) -> Iterator[MeshFileError]:
    first: dict[tuple[str, str, str], tuple[int, Workload]] = {}
    for i, workload in enumerate(mesh.workloads):
        if workload.service is None or workload.service_name is None:
            continue
        key = (workload.cluster, workload.namespace, workload.service_name)
        j, other = first.setdefault(key, (i, workload))
        if other.service is not None and other.service.ports != workload.service.ports:
            yield MeshFileError(f"workloads[{i}].service.ports: differ from workloads[{j}]'s of the same Service")
        if other.proxy is not workload.proxy:
            yield MeshFileError(f"workloads[{i}].proxy: differs from workloads[{j}]'s of the same Service")
        if not set(other.pod_labels.items()) & set(workload.pod_labels.items()):
            yield MeshFileError(
                f"workloads[{i}].labels: none in common with workloads[{j}] of the same Service",
                hint="give both one equal label: it becomes the Service's selector",
            )


def _names(path: str, names: list[str]) -> Iterator[MeshFileError]:
    for i, name in enumerate(names):
        yield from _name(f"{path}[{i}].name", name)
    yield from _unique(path, names)


def _name(path: str, name: str) -> Iterator[MeshFileError]:
    if not _LABEL.fullmatch(name):
        yield MeshFileError(f"{path}: {name!r} is no name: small letters, digits and '-', at most 63")


def _unique(path: str, names: Iterable[str]) -> Iterator[MeshFileError]:
    for name, count in Counter(names).items():
        if count > 1:
            yield MeshFileError(f"{path}: {name} is declared {count} times")


def _refers(path: str, name: str, known: list[str]) -> Iterator[MeshFileError]:
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"clusters of this file: {', '.join(known)}"
        yield MeshFileError(f"{path}: no cluster {name}", hint=hint)


def _ports(ports: Iterable[tuple[str, int]]) -> Iterator[MeshFileError]:
    for path, port in ports:
        if not 1 <= port <= 65535:
            yield MeshFileError(f"{path}: {port} is no port: 1 to 65535")


def _address(path: str, address: str) -> Iterator[MeshFileError]:
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdigit() and 1 <= int(port) <= 65535):
        yield MeshFileError(f"{path}: {address!r} is no host:port", hint="for example 127.0.0.1:3000")


__all__ = ["App", "load_mesh_file", "parse_mesh_file"]
