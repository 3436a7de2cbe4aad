"""What the control plane writes back on objects."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from meshpass.api.common import Int64, ObjectReference, UInt32
from meshpass.api.struct import ApiStruct, doc


class Approval(StrEnum):
    """Outcome of processing an object."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    INVALID = "INVALID"
    WARNING = "WARNING"
    FAILED = "FAILED"
    UNLICENSED = "UNLICENSED"


class ConditionStatus(StrEnum):
    """Truth of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class StatusStruct(ApiStruct, forbid_unknown_fields=False):
    """A part of a status; what another controller wrote beside our fields is not refused."""


class State(StatusStruct):
    """Outcome for one generation of an object."""

    observed_generation: Annotated[Int64, doc("Generation that was processed")] = 0
    approval: Annotated[Approval | None, doc("Outcome; unset is PENDING")] = None
    message: Annotated[str, doc("Why, in words")] = ""


class CommonStatus(StatusStruct):
    """What every status has."""

    state: Annotated[State | None, doc("Outcome over all workspaces")] = msgspec.field(default=None, name="State")
    workspace_conditions: Annotated[Mapping[str, UInt32], doc("Number of workspaces per state")] = {}


class Condition(StatusStruct):
    """One aspect of an object's state, as Kubernetes writes it."""

    type: Annotated[str, doc("Aspect: Accepted, ResolvedRefs, Programmed", max_length=316)]
    status: Annotated[ConditionStatus, doc("True, False or Unknown")]
    observed_generation: Annotated[Int64, doc("Generation that was judged")] = 0
    last_transition_time: Annotated[str, doc("RFC 3339 time of the last change of status")] = ""
    reason: Annotated[str, doc("One CamelCase word", max_length=1024)] = ""
    message: Annotated[str, doc("Why, in words", max_length=32768)] = ""


_BY_TYPE = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


class ObjectStatus(StatusStruct):
    """The base of every kind's status."""

    common: Annotated[CommonStatus | None, doc("Outcome of processing")] = None
    conditions: Annotated[tuple[Condition, ...], doc("Aspects of the state, one per type", schema=_BY_TYPE)] = ()


class JWTPolicyStatus(ObjectStatus):
    """Status of a JWTPolicy."""

    num_selected_routes: Annotated[UInt32 | None, doc("Routes selected")] = None
    num_selected_destination_ports: Annotated[UInt32 | None, doc("Destination ports selected")] = None


class RoutePolicyStatus(ObjectStatus):
    """Status of a policy that is for routes alone."""

    num_selected_routes: Annotated[UInt32 | None, doc("Routes selected")] = None


class AccessPolicyStatus(ObjectStatus):
    """Status of an AccessPolicy."""

    num_selected_destination_ports: Annotated[UInt32 | None, doc("Destination ports selected")] = None
    num_selected_namespaces: Annotated[UInt32 | None, doc("Namespaces selected")] = None
    num_allowed_service_accounts: Annotated[UInt32 | None, doc("Service accounts that may call")] = None


class RouteTableStatus(ObjectStatus):
    """Status of a RouteTable."""

    num_applied_route_policies: Annotated[Mapping[str, UInt32], doc("Policies on the routes, per kind")] = {}
    num_parent_route_tables: Annotated[UInt32 | None, doc("Tables that delegate to this one")] = None
    owned_by_workspace: Annotated[str, doc("Workspace that owns the table")] = ""
    num_allowed_virtual_gateways: Annotated[UInt32 | None, doc("Gateways that the table may use")] = None


class VirtualGatewayStatus(ObjectStatus):
    """Status of a VirtualGateway."""

    route_tables_count: Annotated[UInt32 | None, doc("Route tables bound to the gateway")] = None
    selected_workloads_count: Annotated[UInt32 | None, doc("Gateway workloads selected")] = None
    external_services_count: Annotated[UInt32 | None, doc("External services exposed")] = None


class VirtualDestinationStatus(ObjectStatus):
    """Status of a VirtualDestination."""

    num_applied_destination_policies: Annotated[Mapping[str, UInt32], doc("Policies on it, per kind")] = {}
    num_selected_backing_services: Annotated[UInt32 | None, doc("Services behind it")] = None
    owned_by_workspace: Annotated[str, doc("Workspace that owns it")] = ""


class ExternalServiceStatus(ObjectStatus):
    """Status of an ExternalService."""

    num_applied_destination_policies: Annotated[Mapping[str, UInt32], doc("Policies on it, per kind")] = {}
    num_selected_external_endpoints: Annotated[UInt32 | None, doc("ExternalEndpoints selected")] = None
    owned_by_workspace: Annotated[str, doc("Workspace that owns it")] = ""
    num_selected_virtual_gateways: Annotated[UInt32 | None, doc("Egress gateways selected")] = None


class ResourceCounts(StatusStruct):
    """Objects of one kind in a workspace."""

    imported: Annotated[UInt32 | None, doc("Taken in from other workspaces")] = None
    exported: Annotated[UInt32 | None, doc("Offered to other workspaces")] = None
    private: Annotated[UInt32 | None, doc("Seen by this workspace alone")] = None


class WorkspaceStatus(ObjectStatus):
    """Status of a Workspace."""

    workspace_settings: Annotated[ObjectReference | None, doc("The WorkspaceSettings in use")] = None
    num_selected_clusters: Annotated[UInt32 | None, doc("Clusters selected")] = None
    num_selected_namespaces: Annotated[UInt32 | None, doc("Namespaces selected")] = None
    num_resources: Annotated[Mapping[str, ResourceCounts], doc("Objects per kind")] = {}
    policy_counts: Annotated[Mapping[str, UInt32], doc("Policies per kind")] = {}
    destination_counts: Annotated[Mapping[str, UInt32], doc("Destinations per kind")] = {}
    num_imported_workspaces: Annotated[UInt32 | None, doc("Workspaces that something is taken in from")] = None


class WorkspaceSettingsStatus(ObjectStatus):
    """Status of a WorkspaceSettings."""

    workspace: Annotated[ObjectReference | None, doc("The Workspace that these settings are for")] = None
    num_selected_east_west_gateways: Annotated[UInt32 | None, doc("East-west gateways selected")] = None
    num_federated_services: Annotated[UInt32 | None, doc("Services with a cross-cluster host")] = None
