"""Types that several kinds share (``common.gloo.solo.io``)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from meshpass.api.struct import ApiStruct, OneOfStruct, doc

UInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
PortOrZero = Annotated[int, msgspec.Meta(ge=0, le=65535)]

NullableBool = Annotated[bool, msgspec.Meta(extra_json_schema={"nullable": True})]
NullableInt32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1, extra_json_schema={"nullable": True})]
NullableCount = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1, extra_json_schema={"nullable": True})]
NullableDouble = Annotated[float, msgspec.Meta(extra_json_schema={"nullable": True})]
NullableUInt32 = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1, extra_json_schema={"nullable": True})]


class DestinationKind(StrEnum):
    """Kind of object behind a destination."""

    SERVICE = "SERVICE"
    VIRTUAL_DESTINATION = "VIRTUAL_DESTINATION"
    EXTERNAL_SERVICE = "EXTERNAL_SERVICE"


class WorkloadKind(StrEnum):
    """Where a workload runs."""

    KUBE = "KUBE"
    VM = "VM"


class PortProtocol(StrEnum):
    """Protocol of a port; both spellings are the same protocol."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    GRPC = "GRPC"
    HTTP2 = "HTTP2"
    MONGO = "MONGO"
    TCP = "TCP"
    TLS = "TLS"
    HTTP_LOWER = "http"
    HTTPS_LOWER = "https"
    GRPC_LOWER = "grpc"
    HTTP2_LOWER = "http2"
    MONGO_LOWER = "mongo"
    TCP_LOWER = "tcp"
    TLS_LOWER = "tls"


class Empty(ApiStruct):
    """An object without fields; its presence is its meaning."""


class ObjectSelector(ApiStruct):
    """Objects for which every set field holds; empty selects all of the workspace."""

    labels: Annotated[Mapping[str, str], doc("Labels that the object must have, all of them")] = {}
    name: Annotated[str, doc("Exact name; empty is any")] = ""
    namespace: Annotated[str, doc("Only objects in this namespace; empty is any")] = ""
    cluster: Annotated[str, doc("Only objects in this KubernetesCluster; empty is any")] = ""
    workspace: Annotated[str, doc("Only objects of this workspace; empty is any visible")] = ""


class ObjectReference(ApiStruct):
    """One object; missing parts are those of the object that refers to it."""

    name: Annotated[str, doc("Name of the object")] = ""
    namespace: Annotated[str, doc("Namespace; empty is that of the referring object")] = ""
    cluster: Annotated[str, doc("Cluster; empty is that of the referring object")] = ""


class ClusterObjectRef(ApiStruct):
    """One object in a named cluster."""

    name: Annotated[str, doc("Name of the object")] = ""
    namespace: Annotated[str, doc("Namespace of the object")] = ""
    cluster_name: Annotated[str, doc("Cluster that holds the object")] = ""


class PortSelector(OneOfStruct):
    """A port, by number or by name."""

    one_of = (("number", "name"),)

    number: Annotated[Port | None, doc("Port number")] = None
    name: Annotated[str | None, doc("Port name")] = None


class DestinationSelector(ApiStruct):
    """Destinations by metadata, kind and port."""

    selector: Annotated[ObjectSelector | None, doc("Which objects; unset is all")] = None
    kind: Annotated[DestinationKind, doc("Kind of destination")] = DestinationKind.SERVICE
    port: Annotated[PortSelector | None, doc("Only this port; unset is every port")] = None


class RouteLabelSelector(ApiStruct):
    """Routes by label and by where their table is."""

    labels: Annotated[Mapping[str, str], doc("Labels of the route or its table, all of them")] = {}
    namespace: Annotated[str, doc("Namespace of the route table; empty is any")] = ""
    cluster: Annotated[str, doc("Cluster of the route table; empty is any")] = ""
    workspace: Annotated[str, doc("Workspace of the route table; empty is any")] = ""


class RouteSelector(OneOfStruct):
    """Routes by label, or by the destinations that they forward to."""

    one_of = (("route", "with_destinations"),)

    route: Annotated[RouteLabelSelector | None, doc("Select by labels and place of the table")] = None
    with_destinations: Annotated[DestinationSelector | None, doc("Select routes that forward to these")] = None


class RouteDestinationSelector(ApiStruct):
    """Some of the destinations of some routes."""

    route: Annotated[RouteLabelSelector | None, doc("Which routes; unset is all")] = None
    on_destinations: Annotated[tuple[DestinationSelector, ...], doc("Which of their destinations")] = ()


class WorkloadSelector(ApiStruct):
    """Workloads by metadata."""

    selector: Annotated[ObjectSelector | None, doc("Which workloads")] = None
    kind: Annotated[WorkloadKind, doc("Kubernetes workload or virtual machine")] = WorkloadKind.KUBE
    port: Annotated[PortSelector | None, doc("Port of the workload")] = None


class RequestTransformation(StrEnum):
    """Whether a request to a function is reshaped."""

    REQUEST_DEFAULT = "REQUEST_DEFAULT"
    REQUEST_DISABLE = "REQUEST_DISABLE"


class ResponseTransformation(StrEnum):
    """Whether a response of a function is reshaped."""

    RESPONSE_DEFAULT = "RESPONSE_DEFAULT"
    RESPONSE_DISABLE = "RESPONSE_DISABLE"


class InvocationStyle(StrEnum):
    """Whether the caller waits for a function."""

    SYNC = "SYNC"
    ASYNC = "ASYNC"


class AwsLambdaOptions(ApiStruct):
    """How a function is called."""

    request_transformation: Annotated[RequestTransformation, doc("Reshaping of the request")] = (
        RequestTransformation.REQUEST_DEFAULT
    )
    response_transformation: Annotated[ResponseTransformation, doc("Reshaping of the response")] = (
        ResponseTransformation.RESPONSE_DEFAULT
    )
    invocation_style: Annotated[InvocationStyle, doc("Whether the caller waits for the result")] = InvocationStyle.SYNC


class AwsLambda(ApiStruct):
    """A cloud function as a destination."""

    cloud_provider: Annotated[ObjectReference | None, doc("The CloudProvider object of the account")] = None
    function: Annotated[str, doc("Name of the function")] = ""
    qualifier: Annotated[str, doc("Version or alias; empty is $LATEST")] = ""
    options: Annotated[AwsLambdaOptions | None, doc("How the function is called")] = None


class DestinationReference(OneOfStruct):
    """Where a request is sent, and which share of the requests."""

    one_of = (("ref", "aws_lambda"),)

    ref: Annotated[ObjectReference | None, doc("The object to send to")] = None
    aws_lambda: Annotated[AwsLambda | None, doc("The cloud function to call")] = None
    kind: Annotated[DestinationKind, doc("Kind of the object behind ref")] = DestinationKind.SERVICE
    port: Annotated[PortSelector | None, doc("Port to send to; needed when there are several")] = None
    subset: Annotated[Mapping[str, str], doc("Only endpoints with these labels")] = {}
    weight: Annotated[UInt32 | None, doc("Percentage of requests; unset shares what is left")] = None


class AwsRouteFilter(ApiStruct):
    """Cloud functions that a route may call."""

    account_ids: Annotated[tuple[str, ...], doc("Account IDs allowed, as regular expressions")] = ()
    iam_roles: Annotated[tuple[str, ...], doc("Roles allowed, as regular expressions")] = ()
    regions: Annotated[tuple[str, ...], doc("Regions allowed, as regular expressions")] = ()
    lambda_functions: Annotated[tuple[str, ...], doc("Functions allowed, as regular expressions")] = ()


class CloudProviderRouteFilter(ApiStruct):
    """Cloud providers that a route may use."""

    aws: Annotated[AwsRouteFilter | None, doc("Limits on AWS functions")] = None


class RouteFilter(ApiStruct):
    """What the routes of another table may do."""

    cloud_provider: Annotated[CloudProviderRouteFilter | None, doc("Limits on cloud functions")] = None


class EnforcementLayers(ApiStruct):
    """Layers that enforce access rules."""

    cni: Annotated[bool, doc("Enforce in the cluster network")] = False
    mesh: Annotated[bool, doc("Enforce in the mesh's proxies")] = False


class ClientMode(OneOfStruct):
    """How an east-west gateway treats TLS from other clusters."""

    one_of = (("auto", "sni_routing", "tls_termination"),)

    auto: Annotated[Empty | None, doc("Choose by protocol; today the same as sniRouting")] = None
    sni_routing: Annotated[Empty | None, doc("Pass TLS through, routed by server name")] = None
    tls_termination: Annotated[Empty | None, doc("End TLS at the gateway")] = None


class Locality(ApiStruct):
    """Failure domain of an endpoint."""

    region: Annotated[str, doc("Region")] = ""
    zone: Annotated[str, doc("Zone of the region")] = ""
    sub_zone: Annotated[str, doc("Part of the zone")] = ""
