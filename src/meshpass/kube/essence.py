"""Essence: all of an object that a translation may look at, as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from meshpass.api.manifest import Parsed, parse_object, to_raw
from meshpass.errors import ManifestError
from meshpass.kube.resource import Raw

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BOOKKEEPING = frozenset({"managedFields", "resourceVersion", "selfLink"})


@dataclass(frozen=True, slots=True)
class Essence:
    """The bytes, and what they say."""

    body: bytes
    parsed: Parsed


_encode = msgspec.json.Encoder(order="deterministic").encode


def strip_bookkeeping(raw: Raw, *, with_status: bool) -> Raw:
    """The object without what changes when nothing that a translation may look at does."""
    metadata = {name: value for name, value in raw["metadata"].items() if name not in _BOOKKEEPING}
    annotations = metadata.get("annotations")
    if annotations and _LAST_APPLIED in annotations:
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    essence = {**raw, "metadata": metadata}
    if not with_status:
        essence.pop("status", None)
    return essence


def encode_essence(stripped: Raw, parsed: Parsed) -> bytes:
    """JSON of which `decode_essence` makes ``parsed`` again, problems and all; equal objects have equal bytes.

    Of an object without problems it has the fields that are read, and no others: of a Pod that is a tenth, and does
    not change whenever a kubelet says something. One with problems goes as it is.
    """
    return _encode(stripped if parsed.problems else to_raw(parsed.object))


def decode_essence(body: bytes) -> Essence:
    """What the bytes say. Raises ManifestError for bytes that are no object of a known kind."""
    try:
        raw: Any = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise ManifestError(f"no JSON: {error}") from error
    except UnicodeDecodeError as error:
        raise ManifestError("no UTF-8") from error
    except RecursionError as error:
        raise ManifestError("too deep") from error
    if not isinstance(raw, dict):
        raise ManifestError("no object")
    return Essence(body, parse_object(raw))
