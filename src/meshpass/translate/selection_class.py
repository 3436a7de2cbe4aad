"""Selection class: the hash of all that policies select routes by. Routes of one class are under the same policy."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from meshpass.api.objectset import ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteProperties:
    """All that a policy can select a route by."""

    workspace: str
    cluster: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    """The effective labels, sorted: the table's, overridden by the route's own."""
    destinations: tuple[tuple[ObjectKey, int], ...] = ()
    """The Services, with port, that the route sends to; sorted."""

    @property
    def selection_class(self) -> str:
        """16 hex digits: a name without meaning, because Envoy may show it to a client."""
        return content_hash((self.workspace, self.cluster, self.namespace, self.labels, self.destinations))


def content_hash(value: object) -> str:
    """16 hex digits of the SHA-256 of a value made of text, numbers and tuples."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:16]


UNSELECTED = content_hash("no policy selects this")
"""The class of routes that no RouteTable made: a Service's own names, and what no host matches."""
