"""Selection class: the hash of all that policies select by. What is of one class is under the same policy."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from meshpass.api.objectset import ObjectKey

DestinationPort = tuple[ObjectKey, int]
"""A Service and the number of one of its ports."""

REQUIRE_AUTH = ("gateway.gloo.solo.io/require_auth", "true")
"""The label of routes that are denied as long as no policy holds on them, if the feature gate says so."""


class RouteProperties(NamedTuple):
    """All that a policy can select a route by. Equal ones are the same memo key."""

    workspace: str
    cluster: str
    namespace: str
    labels: tuple[tuple[str, str], ...]
    """The effective labels, sorted: the table's, overridden by the route's own."""
    destinations: tuple[DestinationPort, ...] = ()
    """What the route sends to; sorted."""

    @property
    def selection_class(self) -> str:
        """16 hex digits: a name without meaning, because Envoy may show it to a client."""
        return content_hash((self.workspace, self.cluster, self.namespace, self.labels, self.destinations))

    @property
    def requires_auth(self) -> bool:
        """True for the label that asks for denial by default."""
        return REQUIRE_AUTH in self.labels


def inbound_class(pod: ObjectKey, port: int) -> str:
    """The class of a pod's port.

    It does not depend on the Services that lead there: what holds for them may change, and connections that are open
    keep the class that they began with.
    """
    return content_hash(("inbound", pod, port))


def content_hash(value: object) -> str:
    """16 hex digits of the SHA-256 of a value made of text, numbers, tuples and dataclasses."""
    return hashlib.sha256(msgspec.json.encode(value)).hexdigest()[:16]


UNSELECTED = content_hash("no policy selects this")
"""The class of routes that no RouteTable made: a Service's own names, and what no host matches."""
