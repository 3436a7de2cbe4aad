"""Definitions: CustomResourceDefinitions take effect as they are stored and removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshpass.apiserver.crd import resources_from_crd
from meshpass.apiserver.metadata import now
from meshpass.apiserver.registry import Registry, storage_kind
from meshpass.apiserver.resource import Resource
from meshpass.apiserver.storage import Storage

CLEANUP_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
CRD_KIND = "apiextensions.k8s.io/customresourcedefinitions"


class Definitions:
    """Keeps the registry equal to the stored CustomResourceDefinitions."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        """The kinds of every stored definition are served."""
        self._registry = registry
        for stored in storage.list(CRD_KIND):
            registry.define(stored.key.name, resources_from_crd(stored.decode()))

    @staticmethod
    def defines(resource: Resource) -> bool:
        """True for CustomResourceDefinition itself."""
        return storage_kind(resource) == CRD_KIND

    def prepared(
        self, resource: Resource, value: dict[str, Any], held: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A valid definition with the status that Kubernetes' controllers would give it; anything else unchanged."""
        if not self.defines(resource):
            return value
        spec = value["spec"]
        old = (held or {}).get("status", {})
        known = {condition["type"]: condition for condition in old.get("conditions", ())}
        moment = now()
        conditions = [
            known.get(kind)
            or {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": moment}
            for kind, reason, message in (
                ("NamesAccepted", "NoConflicts", "no conflicts found"),
                ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            )
        ]
        storage_versions = [version["name"] for version in spec["versions"] if version.get("storage")]
        stored = dict.fromkeys([*old.get("storedVersions", ()), *storage_versions])
        status = {"conditions": conditions, "acceptedNames": spec["names"], "storedVersions": list(stored)}
        return {**value, "status": status}

    def stored(self, resource: Resource, value: Mapping[str, Any]) -> None:
        """What a stored definition defines is served."""
        if self.defines(resource):
            self._registry.define(value["metadata"]["name"], resources_from_crd(value))

    def removed(self, resource: Resource, name: str) -> None:
        """What a removed definition defined is served no longer."""
        if self.defines(resource):
            self._registry.undefine(name)
