"""Types of what is relayed, in the order in which a batch has them."""

from __future__ import annotations

from meshpass.kube.stored import KIND_BY_NAME

_PREFIX = "type.meshpass.dev/"
_OBJECT = f"{_PREFIX}object/"

NODE_STATE = f"{_PREFIX}node-state"
"""How far a proxy is."""
FACT = f"{_PREFIX}fact"
"""Bytes under a name: what only the two ends understand."""
REVISION = f"{_PREFIX}revision"
"""The label of a cluster's objects, under the cluster's name; and ``*``, with which a batch ends."""

END = "*"


def object_type(kind: str) -> str:
    """The type URL of the objects of a kind."""
    return f"{_OBJECT}{kind}"


def kind_of_url(type_url: str) -> str | None:
    """The kind whose objects have the type URL; None if it is not that of objects."""
    kind = type_url.removeprefix(_OBJECT)
    return kind if kind != type_url and kind in KIND_BY_NAME else None


TYPE_ORDER = (*map(object_type, KIND_BY_NAME), NODE_STATE, FACT, REVISION)
