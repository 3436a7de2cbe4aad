"""Words of Envoy's RBAC: principals put together, routes of a class, values of a verified payload."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.rbac.v3.rbac_pb2 import MetadataSource, Permission, Principal, SourcedMetadata
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from meshpass.envoy.filters import CLASS_KEY, JWT_METADATA, ROUTE_METADATA


def all_of(principals: Iterable[Principal]) -> Principal:
    """True where every one is; of none, always."""
    found = list(principals)
    if not found:
        return Principal(any=True)
    return found[0] if len(found) == 1 else Principal(and_ids=Principal.Set(ids=found))


def any_of(principals: Iterable[Principal]) -> Principal:
    """True where any one is; of none, never."""
    found = list(principals)
    if not found:
        return Principal(not_id=Principal(any=True))
    return found[0] if len(found) == 1 else Principal(or_ids=Principal.Set(ids=found))


def of_class(selection_class: str) -> Permission:
    """True on routes of the class."""
    return Permission(
        sourced_metadata=SourcedMetadata(
            metadata_matcher=MetadataMatcher(
                filter=ROUTE_METADATA,
                path=[MetadataMatcher.PathSegment(key=CLASS_KEY)],
                value=ValueMatcher(string_match=StringMatcher(exact=selection_class)),
            ),
            metadata_source=MetadataSource.ROUTE,
        )
    )


def in_payload(payload_key: str, path: tuple[str, ...], value: ValueMatcher) -> Principal:
    """True where the payload that was verified under the key has such a value there."""
    matcher = MetadataMatcher(
        filter=JWT_METADATA,
        path=[MetadataMatcher.PathSegment(key=segment) for segment in (payload_key, *path)],
        value=value,
    )
    return Principal(sourced_metadata=SourcedMetadata(metadata_matcher=matcher, metadata_source=MetadataSource.DYNAMIC))
