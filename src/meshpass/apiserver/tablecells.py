"""The columns and cells of the built-in kinds, as ``kubectl get`` shows them (kubernetes ``printers/internalversion``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from meshpass.apiserver.age import UNKNOWN, render_age
from meshpass.apiserver.podcells import POD_COLUMNS, pod_cells
from meshpass.apiserver.resource import Column
from meshpass.apiserver.tablefield import (
    AGE,
    NAME,
    NONE,
    at,
    column,
    join_labels,
    listed,
    mapped,
    name_and_age,
    text_at,
    wide,
)

UNSET: Final = "<unset>"
_MANY: Final = 3

Object = Mapping[str, Any]
Cells = Callable[[Object, datetime], Sequence[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindTable:
    """The columns of a built-in kind, and the function that makes one cell for each."""

    columns: tuple[Column, ...]
    cells: Cells


def _namespace(obj: Object, now: datetime) -> Sequence[Any]:
    return name_and_age(obj, now, text_at(obj, "status", "phase"))


def _config_map(obj: Object, now: datetime) -> Sequence[Any]:
    return name_and_age(obj, now, len(mapped(obj.get("data"))) + len(mapped(obj.get("binaryData"))))


def _secret(obj: Object, now: datetime) -> Sequence[Any]:
    return name_and_age(obj, now, text_at(obj, "type"), len(mapped(obj.get("data"))))


def _service_account(obj: Object, now: datetime) -> Sequence[Any]:
    return name_and_age(obj, now, len(listed(obj.get("secrets"))))


def _service(obj: Object, now: datetime) -> Sequence[Any]:
    spec = mapped(obj.get("spec"))
    ports = ",".join(_service_port(mapped(port)) for port in listed(spec.get("ports"))) or NONE
    return (
        *name_and_age(
            obj, now, text_at(spec, "type"), text_at(spec, "clusterIP") or NONE, _external_address(obj), ports
        ),
        join_labels(spec.get("selector")),
    )


def _service_port(port: Object) -> str:
    node = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node}/{port.get('protocol', 'TCP')}"


def _external_address(obj: Object) -> str:
    spec = mapped(obj.get("spec"))
    given = ",".join(str(address) for address in listed(spec.get("externalIPs")))
    match spec.get("type"):
        case "ExternalName":
            return text_at(spec, "externalName")
        case "LoadBalancer":
            ingress = [mapped(item) for item in listed(at(obj, "status", "loadBalancer", "ingress"))]
            assigned = ",".join(str(item.get("ip") or item.get("hostname") or "") for item in ingress)
            return ",".join(part for part in (assigned, given) if part) or "<pending>"
        case _:
            return given or NONE


def _event(obj: Object, now: datetime) -> Sequence[Any]:
    first = render_age(obj.get("firstTimestamp") or obj.get("eventTime"), now)
    last = render_age(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else first
    count = obj.get("count") or 1
    if series := mapped(obj.get("series")):
        last = render_age(series.get("lastObservedTime"), now)
        count = series.get("count")
    kind, name = text_at(obj, "involvedObject", "kind").lower(), text_at(obj, "involvedObject", "name")
    source = [text_at(obj, "source", "component"), text_at(obj, "source", "host")]
    if not source[0]:
        source = [text_at(obj, "reportingComponent"), text_at(obj, "reportingInstance")]
    return (
        last,
        text_at(obj, "type"),
        text_at(obj, "reason"),
        f"{kind}/{name}" if name else kind,
        text_at(obj, "involvedObject", "fieldPath"),
        ", ".join(part for part in source if part),
        text_at(obj, "message").strip(),
        first,
        count,
        text_at(obj, "metadata", "name"),
    )


def _endpoint_slice(obj: Object, now: datetime) -> Sequence[Any]:
    numbers = [mapped(port).get("port") for port in listed(obj.get("ports"))]
    ports = ["*" if number is None else str(number) for number in numbers]
    addresses = [
        str(address)
        for endpoint in listed(obj.get("endpoints"))
        for address in listed(mapped(endpoint).get("addresses"))
    ]
    return name_and_age(obj, now, text_at(obj, "addressType"), _some(ports), _some(addresses))


def _some(items: Sequence[str]) -> str:
    more = f" + {len(items) - _MANY} more..." if len(items) > _MANY else ""
    return ",".join(items[:_MANY]) + more if items else UNSET


def _lease(obj: Object, now: datetime) -> Sequence[Any]:
    return name_and_age(obj, now, text_at(obj, "spec", "holderIdentity"))


def _deployment(obj: Object, now: datetime) -> Sequence[Any]:
    status = mapped(obj.get("status"))
    wanted = at(obj, "spec", "replicas")
    ready = f"{status.get('readyReplicas', 0)}/{0 if wanted is None else wanted}"
    containers = [mapped(item) for item in listed(at(obj, "spec", "template", "spec", "containers"))]
    return (
        *name_and_age(obj, now, ready, status.get("updatedReplicas", 0), status.get("availableReplicas", 0)),
        ",".join(text_at(container, "name") for container in containers),
        ",".join(text_at(container, "image") for container in containers),
        join_labels(at(obj, "spec", "selector", "matchLabels")),
    )


def _crd(obj: Object, _now: datetime) -> Sequence[Any]:
    return (text_at(obj, "metadata", "name"), text_at(obj, "metadata", "creationTimestamp") or UNKNOWN)


KIND_TABLES: Final[Mapping[tuple[str, str], KindTable]] = {
    ("", "ConfigMap"): KindTable(columns=(NAME, column("Data", "integer"), AGE), cells=_config_map),
    ("", "Event"): KindTable(
        columns=(
            column("Last Seen"),
            column("Type"),
            column("Reason"),
            column("Object"),
            wide("Subobject"),
            wide("Source"),
            column("Message"),
            wide("First Seen"),
            wide("Count", "integer"),
            wide("Name", text_format="name"),
        ),
        cells=_event,
    ),
    ("", "Namespace"): KindTable(columns=(NAME, column("Status"), AGE), cells=_namespace),
    ("", "Pod"): KindTable(columns=POD_COLUMNS, cells=pod_cells),
    ("", "Secret"): KindTable(columns=(NAME, column("Type"), column("Data", "integer"), AGE), cells=_secret),
    ("", "Service"): KindTable(
        columns=(
            NAME,
            column("Type"),
            column("Cluster-IP"),
            column("External-IP"),
            column("Port(s)"),
            AGE,
            wide("Selector"),
        ),
        cells=_service,
    ),
    ("", "ServiceAccount"): KindTable(columns=(NAME, column("Secrets", "integer"), AGE), cells=_service_account),
    ("apiextensions.k8s.io", "CustomResourceDefinition"): KindTable(
        columns=(NAME, column("Created At", "date")), cells=_crd
    ),
    ("apps", "Deployment"): KindTable(
        columns=(
            NAME,
            column("Ready"),
            column("Up-to-date", "integer"),
            column("Available", "integer"),
            AGE,
            wide("Containers"),
            wide("Images"),
            wide("Selector"),
        ),
        cells=_deployment,
    ),
    ("coordination.k8s.io", "Lease"): KindTable(columns=(NAME, column("Holder"), AGE), cells=_lease),
    ("discovery.k8s.io", "EndpointSlice"): KindTable(
        columns=(NAME, column("AddressType"), column("Ports"), column("Endpoints"), AGE), cells=_endpoint_slice
    ),
}
"""Group and kind to the table of each built-in kind."""
