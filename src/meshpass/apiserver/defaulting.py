"""Values that the server puts where a client left them out: a schema's ``default``, and those of Kubernetes' own kinds."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from meshpass.apiserver.resource import Resource


def apply_defaults(resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
    """The object with every default that its kind declares; what is there already is never changed.

    A null takes the default where its schema does not allow null. The argument is unchanged.
    """
    result: dict[str, Any] = _defaulted(resource.schema, dict(obj)) if not resource.builtin else _copied(obj)
    rule = _RULES.get((resource.group, resource.kind))
    if rule:
        rule(result)
    return result


def _copied(value: Any) -> Any:
    match value:
        case Mapping():
            return {key: _copied(item) for key, item in value.items()}
        case list():
            return [_copied(item) for item in value]
        case _:
            return value


def _defaulted(schema: Mapping[str, Any], value: Any) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        return [_defaulted(items, item) for item in value] if isinstance(items, Mapping) else value
    if not isinstance(value, dict):
        return value
    properties: Mapping[str, Any] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    result = dict(value)
    for key, child in properties.items():
        if "default" in child and key != "metadata":
            held = result.get(key)
            if held is None and (key not in result or not child.get("nullable")):
                result[key] = _copied(child["default"])
    for key, item in result.items():
        if isinstance(item, (dict, list)) and key != "metadata":
            child = properties.get(key, others)
            if isinstance(child, Mapping):
                result[key] = _defaulted(child, item)
    return result


def _child(obj: dict[str, Any], key: str) -> dict[str, Any]:
    """The mapping at ``key``, made where there is none; a value of another type stays and is left to validation."""
    found = obj.setdefault(key, {})
    return found if isinstance(found, dict) else {}


def _members(obj: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    items = obj.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _namespace(obj: dict[str, Any]) -> None:
    metadata = _child(obj, "metadata")
    if isinstance(metadata.get("name"), str):
        # Not a default but a promise: selectors of namespaces rely on this label telling the truth.
        _child(metadata, "labels")["kubernetes.io/metadata.name"] = metadata["name"]
    _child(obj, "spec").setdefault("finalizers", ["kubernetes"])
    _child(obj, "status").setdefault("phase", "Active")


def _service(obj: dict[str, Any]) -> None:
    spec = _child(obj, "spec")
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    if spec["type"] != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in _members(spec, "ports"):
        port.setdefault("protocol", "TCP")
        if "port" in port:
            port.setdefault("targetPort", port["port"])


def _secret(obj: dict[str, Any]) -> None:
    obj["type"] = obj.get("type") or "Opaque"
    # stringData is write-only: it is merged into data, where its keys win, and never stored.
    texts = obj.get("stringData")
    if isinstance(texts, dict) and all(isinstance(text, str) for text in texts.values()):
        del obj["stringData"]
        data = _child(obj, "data")
        for key, text in texts.items():
            data[key] = base64.b64encode(text.encode(errors="surrogatepass")).decode()


def _pod(obj: dict[str, Any]) -> None:
    _pod_spec(_child(obj, "spec"))
    _child(obj, "status").setdefault("phase", "Pending")


def _pod_spec(spec: dict[str, Any]) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    for container in (*_members(spec, "containers"), *_members(spec, "initContainers")):
        container.setdefault("resources", {})
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("imagePullPolicy", _pull_policy(container.get("image")))
        for port in _members(container, "ports"):
            port.setdefault("protocol", "TCP")


def _pull_policy(image: Any) -> str:
    tag = image.rpartition("/")[2].partition(":")[2] if isinstance(image, str) else ""
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


def _deployment(obj: dict[str, Any]) -> None:
    spec = _child(obj, "spec")
    spec.setdefault("replicas", 1)
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = _child(spec, "strategy")
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = _child(strategy, "rollingUpdate")
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    _pod_spec(_child(_child(spec, "template"), "spec"))


def _endpoint_slice(obj: dict[str, Any]) -> None:
    for port in _members(obj, "ports"):
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _crd(obj: dict[str, Any]) -> None:
    spec = _child(obj, "spec")
    names = _child(spec, "names")
    kind = names.get("kind")
    if isinstance(kind, str) and kind:
        names["singular"] = names.get("singular") or kind.lower()
        names["listKind"] = names.get("listKind") or f"{kind}List"
    _child(spec, "conversion").setdefault("strategy", "None")


_RULES: Final[Mapping[tuple[str, str], Callable[[dict[str, Any]], None]]] = {
    ("", "Namespace"): _namespace,
    ("", "Pod"): _pod,
    ("", "Secret"): _secret,
    ("", "Service"): _service,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _crd,
    ("apps", "Deployment"): _deployment,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
}
