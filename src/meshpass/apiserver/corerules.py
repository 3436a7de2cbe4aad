"""What Kubernetes demands of its own kinds beyond their schema: the part that people's manifests run into.

Every rule may rely on the JSON types of the object's schema and on defaults having been applied, and on nothing else.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from meshpass.apiserver.cause import Cause, duplicate, forbidden, invalid, not_supported, required, too_long
from meshpass.apiserver.crd import validate_crd, validate_crd_update
from meshpass.apiserver.names import config_key_faults, dns_label_faults, port_name_faults
from meshpass.apiserver.objectmeta import label_causes
from meshpass.apiserver.resource import Resource

DATA_MAX_BYTES: Final = 1024 * 1024
_PORTS: Final = range(1, 65536)
_PORT_TEXT: Final = "must be between 1 and 65535, inclusive"
_PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_ADDRESS_VERSIONS: Final[Mapping[str, int]] = {"IPv4": 4, "IPv6": 6}

Object = Mapping[str, Any]


def validate_core(resource: Resource, obj: Object) -> Iterator[Cause]:
    """The faults of a built-in kind's object; nothing for kinds without rules of their own."""
    rule = _RULES.get((resource.group, resource.kind))
    if rule:
        yield from rule(obj)


def validate_core_update(resource: Resource, obj: Object, old: Object) -> Iterator[Cause]:
    """The changes that a built-in kind does not allow."""
    match resource.group, resource.kind:
        case "apiextensions.k8s.io", "CustomResourceDefinition":
            yield from validate_crd_update(obj, old)
        case "", "Secret" | "ConfigMap":
            yield from _data_update_causes(obj, old)
        case "apps", "Deployment":
            selector = _map(obj.get("spec")).get("selector")
            if selector != _map(old.get("spec")).get("selector"):
                yield invalid("spec.selector", selector, "field is immutable")
        case _:
            pass


def _map(value: Any) -> Object:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _service(obj: Object) -> Iterator[Cause]:
    spec = _map(obj.get("spec"))
    kind = spec.get("type")
    types = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
    if kind not in types:
        yield required("spec.type") if not kind else not_supported("spec.type", kind, types)
    ports = _list(spec.get("ports"))
    if not ports and kind != "ExternalName" and spec.get("clusterIP") != "None":
        yield required("spec.ports")
    if kind == "ExternalName" and not spec.get("externalName"):
        yield required("spec.externalName")
    yield from _service_port_causes(ports)
    yield from label_causes(spec.get("selector"), "spec.selector")
    affinity = spec.get("sessionAffinity")
    if affinity and affinity not in {"ClientIP", "None"}:
        yield not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))
    address = spec.get("clusterIP")
    if address and address != "None" and not _is_address(address):
        yield invalid("spec.clusterIPs[0]", address, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)")


def _service_port_causes(ports: list[Any]) -> Iterator[Cause]:
    names: set[str] = set()
    numbers: set[tuple[Any, Any]] = set()
    for index, port in enumerate(map(_map, ports)):
        field = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{field}.name")
        elif name:
            yield from (invalid(f"{field}.name", name, fault) for fault in dns_label_faults(name))
            if name in names:
                yield duplicate(f"{field}.name", name)
            names.add(name)
        if port.get("port", 0) not in _PORTS:
            yield invalid(f"{field}.port", port.get("port", 0), _PORT_TEXT)
        yield from _protocol_causes(port.get("protocol"), field)
        yield from _target_port_causes(port.get("targetPort"), field)
        number = (port.get("protocol"), port.get("port"))
        if number in numbers:
            yield duplicate(field, {"protocol": number[0], "port": number[1]})
        numbers.add(number)


def _protocol_causes(protocol: Any, field: str) -> Iterator[Cause]:
    if not protocol:
        yield required(f"{field}.protocol")
    elif protocol not in _PROTOCOLS:
        yield not_supported(f"{field}.protocol", protocol, _PROTOCOLS)


def _target_port_causes(target: Any, field: str) -> Iterator[Cause]:
    if isinstance(target, str):
        yield from (invalid(f"{field}.targetPort", target, fault) for fault in port_name_faults(target))
    elif target is not None and target not in _PORTS:
        yield invalid(f"{field}.targetPort", target, _PORT_TEXT)


def _is_address(text: str, version: int | None = None) -> bool:
    try:
        return ipaddress.ip_address(text).version == (version or ipaddress.ip_address(text).version)
    except ValueError:
        return False


def _secret(obj: Object) -> Iterator[Cause]:
    data = _map(obj.get("data"))
    yield from _data_key_causes(data, "data")
    if sum(len(value) * 3 // 4 for value in data.values() if isinstance(value, str)) > DATA_MAX_BYTES:
        yield too_long("data", DATA_MAX_BYTES)
    if obj.get("type") == "kubernetes.io/tls":
        yield from (required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data)


def _config_map(obj: Object) -> Iterator[Cause]:
    data, binary = _map(obj.get("data")), _map(obj.get("binaryData"))
    yield from _data_key_causes(data, "data")
    yield from _data_key_causes(binary, "binaryData")
    for key in data:
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(value.encode(errors="surrogatepass")) for value in data.values() if isinstance(value, str))
    if size + sum(len(value) * 3 // 4 for value in binary.values() if isinstance(value, str)) > DATA_MAX_BYTES:
        yield too_long("", DATA_MAX_BYTES)


def _data_key_causes(data: Object, field: str) -> Iterator[Cause]:
    for key in data:
        yield from (invalid(f"{field}[{key}]", key, fault) for fault in config_key_faults(key))


def _data_update_causes(obj: Object, old: Object) -> Iterator[Cause]:
    if obj.get("kind", old.get("kind")) == "Secret" and obj.get("type") != old.get("type"):
        yield invalid("type", obj.get("type"), "field is immutable")
    if old.get("immutable") is True:
        if obj.get("immutable") is not True:
            yield forbidden("immutable", "field is immutable when `immutable` is set")
        for key in ("data", "binaryData"):
            if obj.get(key) != old.get(key):
                yield forbidden(key, "field is immutable when `immutable` is set")


def _pod(obj: Object) -> Iterator[Cause]:
    yield from _pod_spec_causes(_map(obj.get("spec")), "spec")


def _pod_spec_causes(spec: Object, field: str) -> Iterator[Cause]:
    containers = _list(spec.get("containers"))
    if not containers:
        yield required(f"{field}.containers")
    names: set[str] = set()
    for index, container in enumerate(map(_map, containers)):
        place = f"{field}.containers[{index}]"
        name = container.get("name")
        if not name:
            yield required(f"{place}.name")
        else:
            yield from (invalid(f"{place}.name", name, fault) for fault in dns_label_faults(name))
            if name in names:
                yield duplicate(f"{place}.name", name)
            names.add(name)
        if not container.get("image"):
            yield required(f"{place}.image")
        for number, port in enumerate(map(_map, _list(container.get("ports")))):
            if port.get("containerPort", 0) not in _PORTS:
                yield invalid(f"{place}.ports[{number}].containerPort", port.get("containerPort", 0), _PORT_TEXT)
            yield from _protocol_causes(port.get("protocol") or "TCP", f"{place}.ports[{number}]")
    policy = spec.get("restartPolicy")
    if policy and policy not in {"Always", "Never", "OnFailure"}:
        yield not_supported(f"{field}.restartPolicy", policy, ("Always", "OnFailure", "Never"))


def _deployment(obj: Object) -> Iterator[Cause]:
    spec = _map(obj.get("spec"))
    template = _map(spec.get("template"))
    labels = _map(_map(template.get("metadata")).get("labels"))
    selector = _map(spec.get("selector"))
    wanted = _map(selector.get("matchLabels"))
    if spec.get("replicas", 0) < 0:
        yield invalid("spec.replicas", spec["replicas"], "must be greater than or equal to 0")
    if not spec.get("selector"):
        yield required("spec.selector")
    elif not wanted and not selector.get("matchExpressions"):
        yield invalid("spec.selector", selector, "empty selector is invalid for deployment")
    elif any(labels.get(key) != value for key, value in wanted.items()):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from label_causes(labels, "spec.template.labels")
    yield from _pod_spec_causes(_map(template.get("spec")), "spec.template.spec")


def _endpoint_slice(obj: Object) -> Iterator[Cause]:
    kind = obj.get("addressType")
    types = ("FQDN", "IPv4", "IPv6")
    if kind not in types:
        yield required("addressType") if not kind else not_supported("addressType", kind, types)
    for index, endpoint in enumerate(map(_map, _list(obj.get("endpoints")))):
        field = f"endpoints[{index}].addresses"
        addresses = _list(endpoint.get("addresses"))
        if not addresses:
            yield required(field, "must contain at least 1 address")
        version = _ADDRESS_VERSIONS.get(kind or "")
        for number, address in enumerate(addresses):
            if version and not _is_address(address, version):
                yield invalid(f"{field}[{number}]", address, f"must be a valid {kind} address")
    names: set[str] = set()
    for index, port in enumerate(map(_map, _list(obj.get("ports")))):
        name = port.get("name") or ""
        if name:
            yield from (invalid(f"ports[{index}].name", name, fault) for fault in dns_label_faults(name))
        if name in names:
            yield duplicate(f"ports[{index}].name", name)
        names.add(name)
        yield from _protocol_causes(port.get("protocol") or "TCP", f"ports[{index}]")


def _lease(obj: Object) -> Iterator[Cause]:
    spec = _map(obj.get("spec"))
    seconds, transitions = spec.get("leaseDurationSeconds"), spec.get("leaseTransitions")
    if seconds is not None and seconds <= 0:
        yield invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0")
    if transitions is not None and transitions < 0:
        yield invalid("spec.leaseTransitions", transitions, "must be greater than or equal to 0")


def _event(obj: Object) -> Iterator[Cause]:
    namespace = _map(obj.get("metadata")).get("namespace")
    involved = _map(obj.get("involvedObject")).get("namespace") or ""
    if involved != namespace and (involved or namespace not in {"default", "kube-system"}):
        yield invalid("involvedObject.namespace", involved, "does not match event.namespace")


def _crd(obj: Object) -> Iterator[Cause]:
    yield from validate_crd(obj)


_RULES: Final[Mapping[tuple[str, str], Callable[[Object], Iterator[Cause]]]] = {
    ("", "ConfigMap"): _config_map,
    ("", "Event"): _event,
    ("", "Pod"): _pod,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("apps", "Deployment"): _deployment,
    ("coordination.k8s.io", "Lease"): _lease,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
}
