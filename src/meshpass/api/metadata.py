"""ObjectMeta, as far as a control plane reads it, and ApiObject, the base of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from meshpass.api.struct import ApiStruct, doc


class OwnerReference(ApiStruct, forbid_unknown_fields=False):
    """The object on whose life this one depends."""

    api_version: Annotated[str, doc("Group and version of the owner")] = ""
    kind: Annotated[str, doc("Kind of the owner")] = ""
    name: Annotated[str, doc("Name of the owner")] = ""
    uid: Annotated[str, doc("UID of the owner")] = ""
    controller: Annotated[bool, doc("True when the owner manages this object")] = False
    block_owner_deletion: Annotated[bool, doc("True when the owner waits for this object to go")] = False


class ObjectMeta(ApiStruct, forbid_unknown_fields=False):
    """Identity and labels of an object; what is not listed here (``managedFields`` …) is dropped, not refused."""

    name: Annotated[str, doc("Name, unique among its kind and namespace")]
    namespace: Annotated[str, doc("Namespace; empty for cluster-scoped objects")] = ""
    uid: Annotated[str, doc("Unique over time and space")] = ""
    resource_version: Annotated[str, doc("Opaque version of the stored object")] = ""
    generation: Annotated[int, doc("Counts changes of the spec")] = 0
    creation_timestamp: Annotated[str, doc("RFC 3339 time of creation")] = ""
    deletion_timestamp: Annotated[str, doc("RFC 3339 time at which deletion was asked for")] = ""
    labels: Annotated[Mapping[str, str], doc("Keys and values to select by")] = {}
    annotations: Annotated[Mapping[str, str], doc("Keys and values that select nothing")] = {}
    owner_references: Annotated[tuple[OwnerReference, ...], doc("Objects on whose life this one depends")] = ()
    finalizers: Annotated[tuple[str, ...], doc("Who must act before the object goes")] = ()


class ApiObject(ApiStruct):
    """An object of some kind; its ``apiVersion`` and ``kind`` are its Python type (``kinds.kind_of_type``)."""

    metadata: ObjectMeta

    def __hash__(self) -> int:
        # Equal objects agree on these four; hashing a whole RouteTable on every lookup would cost its size.
        meta = self.metadata
        return hash((type(self), meta.namespace, meta.name, meta.resource_version))
