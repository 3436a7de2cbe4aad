"""What must hold for the ``metadata`` of every object (k8s.io/apimachinery ``api/validation/objectmeta.go``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from meshpass.apiserver.cause import Cause, forbidden, invalid, required, too_long
from meshpass.apiserver.names import (
    dns_1035_faults,
    dns_label_faults,
    dns_subdomain_faults,
    label_value_faults,
    qualified_name_faults,
)
from meshpass.apiserver.resource import Resource

ANNOTATIONS_MAX_BYTES: Final = 256 * 1024

NameRule = Callable[[str], tuple[str, ...]]

_NAME_RULES: Final[Mapping[tuple[str, str], NameRule]] = {
    ("", "Namespace"): dns_label_faults,
    ("", "Service"): dns_1035_faults,
}
"""Group and kind of those whose names are not DNS subdomains."""


def validate_metadata(resource: Resource, metadata: Mapping[str, Any]) -> Iterator[Cause]:
    """Every fault of an object's metadata; values of a wrong JSON type are left to the schema."""
    yield from _name_causes(resource, metadata)
    yield from _namespace_causes(resource, metadata)
    generation = metadata.get("generation")
    if isinstance(generation, int) and generation < 0:
        yield invalid("metadata.generation", generation, "must be greater than or equal to 0")
    yield from label_causes(metadata.get("labels"), "metadata.labels")
    yield from _annotation_causes(metadata.get("annotations"))
    yield from _owner_causes(metadata.get("ownerReferences"))
    yield from _finalizer_causes(metadata.get("finalizers"))


def label_causes(labels: Any, field: str) -> Iterator[Cause]:
    """Faults in the keys and values of a map of labels that stands at ``field``."""
    for key, value in _items(labels):
        for fault in qualified_name_faults(key):
            yield invalid(field, key, fault)
        if isinstance(value, str):
            for fault in label_value_faults(value):
                yield invalid(field, value, fault)


def _name_causes(resource: Resource, metadata: Mapping[str, Any]) -> Iterator[Cause]:
    rule = _NAME_RULES.get((resource.group, resource.kind), dns_subdomain_faults)
    prefix = metadata.get("generateName")
    if isinstance(prefix, str) and prefix:
        # The server appends to the prefix, so a hyphen or dot at its end is in the middle of the name.
        for fault in rule(f"{prefix[:-1]}a" if prefix[-1] in "-." else prefix):
            yield invalid("metadata.generateName", prefix, fault)
    name = metadata.get("name")
    if name is None or name == "":
        yield required("metadata.name", "name or generateName is required")
    elif isinstance(name, str):
        for fault in rule(name):
            yield invalid("metadata.name", name, fault)


def _namespace_causes(resource: Resource, metadata: Mapping[str, Any]) -> Iterator[Cause]:
    namespace = metadata.get("namespace")
    if not resource.namespaced:
        if namespace:
            yield forbidden("metadata.namespace", "not allowed on this type")
    elif not namespace:
        yield required("metadata.namespace")
    elif isinstance(namespace, str):
        for fault in dns_label_faults(namespace):
            yield invalid("metadata.namespace", namespace, fault)


def _annotation_causes(annotations: Any) -> Iterator[Cause]:
    for key, _ in _items(annotations):
        for fault in qualified_name_faults(key.lower()):
            yield invalid("metadata.annotations", key, fault)
    if annotations_size(annotations) > ANNOTATIONS_MAX_BYTES:
        yield too_long("metadata.annotations", ANNOTATIONS_MAX_BYTES)


def annotations_size(annotations: Any) -> int:
    """The bytes of all keys and values."""
    return sum(
        _utf8_length(key) + (_utf8_length(value) if isinstance(value, str) else 0) for key, value in _items(annotations)
    )


def _utf8_length(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _owner_causes(owners: Any) -> Iterator[Cause]:
    field = "metadata.ownerReferences"
    controllers: list[str] = []
    for owner in owners if isinstance(owners, list) else ():
        if not isinstance(owner, Mapping):
            continue
        if not owner.get("apiVersion"):
            yield invalid(f"{field}.apiVersion", owner.get("apiVersion", ""), "version must not be empty")
        for key in ("kind", "name", "uid"):
            if not owner.get(key):
                yield invalid(f"{field}.{key}", owner.get(key, ""), "must not be empty")
        if owner.get("apiVersion") == "v1" and owner.get("kind") == "Event":
            yield invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller") is True:
            controllers.append(f"{owner.get('kind')}/{owner.get('name')}")
    for other in controllers[1:]:
        yield invalid(
            field,
            owners,
            "Only one reference can have Controller set to true. "
            f'Found "true" in references for {controllers[0]} and {other}',
        )


def _finalizer_causes(finalizers: Any) -> Iterator[Cause]:
    field = "metadata.finalizers"
    if not isinstance(finalizers, list):
        return
    for finalizer in finalizers:
        if isinstance(finalizer, str):
            for fault in qualified_name_faults(finalizer):
                yield invalid(field, finalizer, fault)
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        yield invalid(field, finalizers, "finalizer orphan and foregroundDeletion cannot be both set")


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        yield from ((key, item) for key, item in value.items() if isinstance(key, str))
