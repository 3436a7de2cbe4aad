"""Admission: the little that namespaces need beyond what every object gets."""

from __future__ import annotations

from typing import Any

from meshpass.apiserver.resource import Resource
from meshpass.apiserver.status import forbidden

NAMESPACE_KIND = "/namespaces"
_PROTECTED = frozenset({"default", "kube-public", "kube-system"})


def mark_deleted(resource: Resource, value: dict[str, Any]) -> None:
    """A namespace that is being deleted says so in its phase."""
    if is_namespace(resource):
        value["status"] = {**value.get("status", {}), "phase": "Terminating"}


def forbid_deletion(resource: Resource, name: str) -> None:
    """Raises StatusError 403 for the namespaces that every cluster has."""
    if is_namespace(resource) and name in _PROTECTED:
        raise forbidden(resource, name, "this namespace may not be deleted")


def is_namespace(resource: Resource) -> bool:
    """True for Namespace itself."""
    return not resource.group and resource.plural == "namespaces"
