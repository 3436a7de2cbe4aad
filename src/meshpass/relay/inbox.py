"""Inbox: what a peer may tell, and where it goes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, cast

from meshpass.errors import XdsProtocolError
from meshpass.kube.essence import Essence, decode_essence
from meshpass.kube.store import Batch, ObjectStore
from meshpass.kube.stored import KIND_BY_NAME
from meshpass.relay.facts import MAX_FACT_BYTES, Facts
from meshpass.relay.follower import Delivery
from meshpass.relay.nodestate import decode_state, place_of_node
from meshpass.relay.resource import parse_object_name
from meshpass.relay.typeurl import FACT, NODE_STATE, REVISION, kind_of_url, object_type
from meshpass.xds.remote import RemoteStates

logger = logging.getLogger(__name__)

MAX_LABEL_BYTES = 64
MAX_GENERATION = 2**63 - 1
"""What Kubernetes has, and a database too."""


class Inbox:
    """Judges each resource of one peer, and applies its batches.

    ``only``: a cluster of which alone it may speak, for agents; ``but``: the one of which it may not, which is our own.
    """

    def __init__(
        self, store: ObjectStore, remote: RemoteStates, facts: Facts, *, teller: str, only: str = "", but: str = ""
    ) -> None:
        """``teller`` is the peer's cluster."""
        self._store = store
        self._remote = remote
        self._facts = facts
        self._teller = teller
        self._only = only
        self._but = but
        self._logged: frozenset[str] = frozenset()

    def accept(self, type_url: str, name: str, body: bytes) -> object:
        """What the resource says. Raises MeshpassError for what this peer may not say, and for what is not understood."""
        if (kind := kind_of_url(type_url)) is not None:
            return self._accept_object(kind, name, body)
        if type_url == NODE_STATE:
            self._check_cluster(place_of_node(name)[0])
            return decode_state(body)
        if type_url == REVISION:
            self._check_cluster(name)
            return _read_label(body)
        if len(body) > MAX_FACT_BYTES:
            raise XdsProtocolError(f"a fact has more than {MAX_FACT_BYTES} bytes")
        return body

    def apply(self, delivery: Delivery) -> None:
        """The batch counts from now on: all of it."""
        upserts = {
            parse_object_name(kind, name): cast("Essence", value)
            for kind in KIND_BY_NAME
            for name, value in delivery.changed.get(object_type(kind), {}).items()
        }
        deletes = frozenset(
            parse_object_name(kind, name)
            for kind in KIND_BY_NAME
            for name in delivery.removed.get(object_type(kind), ())
        )
        labels: dict[str, str | None] = dict.fromkeys(delivery.removed.get(REVISION, ()))
        labels.update(_of(delivery, REVISION))
        # States first: they may be of objects that come now, and count only once those are here.
        self._remote.update(_of(delivery, NODE_STATE), tuple(delivery.removed.get(NODE_STATE, ())))
        self._facts.receive(self._teller, _of(delivery, FACT), delivery.removed.get(FACT, frozenset()))
        self._store.relay(self._teller, Batch(upserts=upserts, deletes=deletes, labels=labels))
        for reason in delivery.refused:
            if reason not in self._logged:
                logger.warning("relayed resource refused", extra={"teller": self._teller, "reason": reason})
        self._logged = frozenset(delivery.refused)

    def _accept_object(self, kind: str, name: str, body: bytes) -> Essence:
        key = parse_object_name(kind, name)
        self._check_cluster(key.cluster)
        essence = decode_essence(body)
        found = essence.parsed.object
        metadata = found.metadata
        if type(found) is not KIND_BY_NAME[kind].type or (metadata.namespace, metadata.name) != key[2:]:
            raise XdsProtocolError(f"is {type(found).__name__} {metadata.namespace}/{metadata.name}")
        if not 0 <= metadata.generation <= MAX_GENERATION:
            raise XdsProtocolError("has a generation that there is not")
        return essence

    def _check_cluster(self, cluster: str) -> None:
        if not cluster or (self._only and cluster != self._only) or cluster == self._but:
            raise XdsProtocolError(f"is of cluster {cluster!r}, for which {self._teller} does not speak")


def _of(delivery: Delivery, type_url: str) -> Mapping[str, Any]:
    return delivery.changed.get(type_url, {})


def _read_label(body: bytes) -> str:
    if not body or len(body) > MAX_LABEL_BYTES or not body.isascii():
        raise XdsProtocolError("is no label")
    return body.decode("ascii")
