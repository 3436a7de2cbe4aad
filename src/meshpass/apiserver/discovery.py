"""The bodies by which clients learn what is served: the legacy lists and the aggregated discovery document."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable
from typing import Any, Final

from meshpass.apiserver.resource import Resource

AGGREGATED_V2: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
AGGREGATED_V2_BETA1: Final = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"

_STATUS_VERBS: Final = ["get", "patch", "update"]
_POD_CONNECTIONS: Final = (("exec", "PodExecOptions", ("create", "get")), ("log", "Pod", ("get",)))
"""Name, kind and verbs of what Pods answer beside their status."""
_VERSION = re.compile(r"v(?P<major>\d+)((?P<level>alpha|beta)(?P<minor>\d+))?")
_LEVELS: Final = {None: 2, "beta": 1, "alpha": 0}


def version_priority(version: str) -> tuple[int, int, int, str]:
    """Sorts versions as Kubernetes prefers them, best last: ``v1alpha1`` < ``v1beta2`` < ``v1`` < ``v2``."""
    found = _VERSION.fullmatch(version)
    if not found:
        return (-1, 0, 0, version)
    return (_LEVELS[found["level"]], int(found["major"]), int(found["minor"] or 0), version)


def served_groups(resources: Iterable[Resource]) -> dict[str, list[str]]:
    """Each named group with its versions, the preferred first; groups in alphabetical order, without the core group."""
    groups: dict[str, set[str]] = {}
    for resource in resources:
        if resource.group:
            groups.setdefault(resource.group, set()).add(resource.version)
    return {group: sorted(groups[group], key=version_priority, reverse=True) for group in sorted(groups)}


def core_versions() -> dict[str, Any]:
    """The body of ``/api``."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def legacy_groups(resources: Iterable[Resource]) -> dict[str, Any]:
    """The body of ``/apis``: an APIGroupList."""
    groups = [_group(group, versions) for group, versions in served_groups(resources).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def legacy_group(resources: Iterable[Resource], group: str) -> dict[str, Any] | None:
    """The body of ``/apis/<group>``: an APIGroup, or None for a group that is not served."""
    versions = served_groups(resources).get(group)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)} if versions else None


def legacy_resources(resources: Iterable[Resource], group: str, version: str) -> dict[str, Any] | None:
    """The body of ``/api/v1`` (group empty) or ``/apis/<group>/<version>``: an APIResourceList, None when not served."""
    served = [found for found in resources if (found.group, found.version) == (group, version)]
    if not served:
        return None
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].group_version,
        "resources": [entry for resource in _by_plural(served) for entry in _legacy_entries(resource)],
    }


def aggregated(
    resources: Iterable[Resource], *, core: bool, api_version: str = "apidiscovery.k8s.io/v2"
) -> dict[str, Any]:
    """The APIGroupDiscoveryList that ``/api`` (``core``) and ``/apis`` answer to the aggregated content types.

    ``api_version`` is ``apidiscovery.k8s.io/v2`` or ``apidiscovery.k8s.io/v2beta1``; their bodies are the same.
    """
    served = [resource for resource in resources if bool(resource.group) is not core]
    groups: dict[str, list[str]] = {"": ["v1"]} if core else served_groups(served)
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": api_version,
        "metadata": {},
        "items": [
            {
                "metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None},
                "versions": [_aggregated_version(served, group, version) for version in versions],
            }
            for group, versions in groups.items()
        ],
    }


def _group(group: str, versions: list[str]) -> dict[str, Any]:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def _by_plural(resources: Iterable[Resource]) -> list[Resource]:
    return sorted(resources, key=lambda resource: resource.plural)


def _legacy_entries(resource: Resource) -> Iterable[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    yield {**entry, "storageVersionHash": _storage_version_hash(resource)}
    for name, kind, verbs in _connections(resource):
        common = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": True}
        yield {**common, "kind": kind, "verbs": list(verbs)}
    if resource.status_subresource:
        yield {
            "name": f"{resource.plural}/status",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(_STATUS_VERBS),
        }


def _connections(resource: Resource) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    return _POD_CONNECTIONS if (resource.group, resource.plural) == ("", "pods") else ()


def _storage_version_hash(resource: Resource) -> str:
    """Kubernetes' form of it: 8 bytes of SHA-256 over ``group/version/kind``; clients may only compare it."""
    text = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def _aggregated_version(resources: Iterable[Resource], group: str, version: str) -> dict[str, Any]:
    served = [found for found in resources if (found.group, found.version) == (group, version)]
    return {
        "version": version,
        "freshness": "Current",
        "resources": [_aggregated_entry(resource) for resource in _by_plural(served)],
    }


def _aggregated_entry(resource: Resource) -> dict[str, Any]:
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    entry: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": kind,
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    subresources = [
        {"subresource": name, "responseKind": {**kind, "kind": connected}, "verbs": list(verbs)}
        for name, connected, verbs in _connections(resource)
    ]
    if resource.status_subresource:
        subresources.append({"subresource": "status", "responseKind": kind, "verbs": list(_STATUS_VERBS)})
    if subresources:
        entry["subresources"] = subresources
    return entry
