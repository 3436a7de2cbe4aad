"""ObjectRef: which API object something was made from."""

from __future__ import annotations

from typing import NamedTuple


class ObjectRef(NamedTuple):
    """Names one object of one cluster; sorts by kind, cluster, namespace, name."""

    kind: str
    cluster: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.cluster}/{self.namespace}/{self.name}"
