"""What three workspaces share, worked out from their manifests as the API's words say it, and by nothing of Meshpass."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KINDS = {
    "RouteTable": "ROUTE_TABLE",
    "Service": "SERVICE",
    "VirtualDestination": "VIRTUAL_DESTINATION",
    "ExternalService": "EXTERNAL_SERVICE",
}
Entry = Mapping[str, Any]


@dataclass(frozen=True)
class SharingOracle:
    """The labels of each workspace, and the spec of its settings."""

    labels: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, Mapping[str, Any]]

    def may_use(self, user: str, owner: str, kind: str, name: str, labels: Mapping[str, str]) -> bool:
        """True if objects of ``user`` may use this object of ``owner``, which is in cluster1 and a namespace of that name."""
        if user == owner:
            return True
        item = {"kind": KINDS[kind], "name": name, "namespace": owner, "cluster": "cluster1"}
        return self._says(owner, "exportTo", user, item, labels) and self._says(user, "importFrom", owner, item, labels)

    def _says(self, who: str, side: str, other: str, item: Mapping[str, str], labels: Mapping[str, str]) -> bool:
        return any(
            any(self._names(selector, other) for selector in entry.get("workspaces", []))
            and any(_fits(resource, item, labels) for resource in entry.get("resources") or [{}])
            for entry in self.settings.get(who, {}).get(side, [])
        )

    def _names(self, selector: Entry, workspace: str) -> bool:
        pattern, labels = selector.get("name", ""), selector.get("selector", {})
        if not pattern and not labels:
            return False
        named = not pattern or re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), workspace) is not None
        return named and all(self.labels[workspace].get(key) == value for key, value in labels.items())


def _fits(resource: Entry, item: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    if resource.get("kind", "ALL") not in {"ALL", item["kind"]}:
        return False
    if any(resource.get(part) not in {None, "", item[part]} for part in ("name", "namespace", "cluster")):
        return False
    return all(labels.get(key) == value for key, value in resource.get("labels", {}).items())
