"""RouteTable of ``networking.gloo.solo.io/v2``."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from meshpass.api.common import (
    ClusterObjectRef,
    DestinationReference,
    DestinationSelector,
    Int32,
    NullableBool,
    ObjectReference,
    ObjectSelector,
    PortOrZero,
    RouteFilter,
    WorkloadSelector,
)
from meshpass.api.metadata import ApiObject
from meshpass.api.status import RouteTableStatus
from meshpass.api.struct import ApiStruct, OneOfStruct, Rule, doc

MAX_ROUTES = 10_000
MAX_DESTINATIONS = 100
MAX_BODY_LENGTH = 2**20 - 1

_IS_ROOT = "has(self.hosts) && size(self.hosts) > 0"
_TOO_MANY = "size(self.http) > 9990"
"""Evaluators give up after 10,000 steps of a loop, and must not refuse a table for its length: its routes are judged later."""


class SortMethod(StrEnum):
    """How routes of delegated tables are ordered."""

    TABLE_WEIGHT = "TABLE_WEIGHT"
    ROUTE_SPECIFICITY = "ROUTE_SPECIFICITY"


class RedirectCode(StrEnum):
    """Status of a redirect."""

    MOVED_PERMANENTLY = "MOVED_PERMANENTLY"
    FOUND = "FOUND"
    SEE_OTHER = "SEE_OTHER"
    TEMPORARY_REDIRECT = "TEMPORARY_REDIRECT"
    PERMANENT_REDIRECT = "PERMANENT_REDIRECT"


class FailureMode(StrEnum):
    """What happens to a broken route."""

    ROUTE_REPLACEMENT = "ROUTE_REPLACEMENT"
    FREEZE_CONFIG = "FREEZE_CONFIG"


class StringMatch(OneOfStruct):
    """A condition on the path."""

    one_of = (("exact", "prefix", "regex", "suffix"),)

    exact: Annotated[str | None, doc("The whole path")] = None
    prefix: Annotated[str | None, doc("Start of the path")] = None
    regex: Annotated[str | None, doc("RE2 expression for the whole path")] = None
    suffix: Annotated[str | None, doc("End of the path; not supported")] = None
    ignore_case: Annotated[bool, doc("Compare without case; no effect on regex")] = False


class HeaderMatcher(ApiStruct):
    """A condition on one request header."""

    name: Annotated[str, doc("Name of the header")] = ""
    value: Annotated[str, doc("Required value; empty asks for presence only")] = ""
    regex: Annotated[bool, doc("The value is a regular expression")] = False
    invert_match: Annotated[bool, doc("The condition must not hold")] = False


class QueryParameterMatcher(ApiStruct):
    """A condition on one query parameter."""

    name: Annotated[str, doc("Name of the parameter")] = ""
    value: Annotated[str, doc("Required value; empty asks for presence only")] = ""
    regex: Annotated[bool, doc("The value is a regular expression")] = False


class HTTPRequestMatcher(ApiStruct):
    """Conditions on a request; all must hold."""

    name: Annotated[str, doc("A label without effect")] = ""
    uri: Annotated[StringMatch | None, doc("Condition on the path")] = None
    headers: Annotated[tuple[HeaderMatcher, ...], doc("Conditions on headers, all must hold")] = ()
    query_parameters: Annotated[tuple[QueryParameterMatcher, ...], doc("Conditions on the query, all must hold")] = ()
    method: Annotated[str, doc("HTTP method; empty is any")] = ""
    port: Annotated[PortOrZero, doc("Port of the host; 0 is any")] = 0


class TCPRequestMatcher(ApiStruct):
    """A condition on a TCP connection."""

    port: Annotated[PortOrZero, doc("Port to match; 0 is any")] = 0


class TLSRequestMatcher(ApiStruct):
    """A condition on a TLS connection."""

    sni_hosts: Annotated[tuple[str, ...], doc("Server names, each covered by the table's hosts", min_length=1)]
    port: Annotated[PortOrZero, doc("Port to match; 0 is any")] = 0


class RegexMatcher(ApiStruct):
    """A regular expression."""

    regex: Annotated[str, doc("RE2 expression")] = ""


class RegexMatchAndSubstitute(ApiStruct):
    """A rewrite by regular expression."""

    pattern: Annotated[RegexMatcher | None, doc("What is replaced")] = None
    substitution: Annotated[str, doc("What it is replaced by")] = ""


class ForwardTo(OneOfStruct):
    """Send the request to destinations."""

    one_of = (("path_rewrite", "regex_rewrite"), ("host_rewrite", "auto_host_rewrite"))

    destinations: Annotated[
        tuple[DestinationReference, ...], doc("Where to send, by weight", max_length=MAX_DESTINATIONS)
    ] = ()
    path_rewrite: Annotated[str | None, doc("Replaces the matched part of the path")] = None
    regex_rewrite: Annotated[RegexMatchAndSubstitute | None, doc("Rewrites the path by regular expression")] = None
    host_rewrite: Annotated[str | None, doc("Replaces the Host header")] = None
    auto_host_rewrite: Annotated[bool | None, doc("Takes the Host header from the destination")] = None


class TCPForwardTo(ForwardTo):
    """Send the connection to destinations; the API has rewrites here too, without effect."""

    rules = (
        Rule(
            "has(self.destinations) && size(self.destinations) > 0",
            "At least one destination must be specified.",
            instead_of=("destinations",),
        ),
    )

    destinations: Annotated[
        tuple[DestinationReference, ...], doc("Where to send, by weight", min_length=1, max_length=MAX_DESTINATIONS)
    ]


class TLSForwardTo(ApiStruct):
    """Send the connection to destinations."""

    destinations: Annotated[
        tuple[DestinationReference, ...], doc("Where to send, by weight", min_length=1, max_length=MAX_DESTINATIONS)
    ]


class Delegate(ApiStruct):
    """Let other tables decide."""

    route_tables: Annotated[tuple[ObjectSelector, ...], doc("Tables that decide")] = ()
    allowed_routes: Annotated[tuple[RouteFilter, ...], doc("What their routes may do; empty is anything")] = ()
    sort_method: Annotated[SortMethod, doc("Order of their routes")] = SortMethod.TABLE_WEIGHT


class Redirect(ApiStruct):
    """Send the client elsewhere."""

    host_redirect: Annotated[str, doc("New host; empty keeps it")] = ""
    path_redirect: Annotated[str | None, doc("New path; unset keeps it")] = None
    response_code: Annotated[RedirectCode, doc("Status of the answer")] = RedirectCode.MOVED_PERMANENTLY


class DirectResponse(ApiStruct):
    """Answer without a destination."""

    status: Annotated[int, doc("Status of the answer, 200 to 599", ge=100, le=599)]
    body: Annotated[str, doc("Body of the answer, under 1 MiB", max_length=MAX_BODY_LENGTH)] = ""


class GraphQLOptions(ApiStruct):
    """Options of GraphQL."""

    log_sensitive_info: Annotated[NullableBool | None, doc("Write bodies to logs")] = None


class GraphQL(OneOfStruct):
    """Answer by GraphQL."""

    one_of = (("schema", "stitched_schema"),)

    schema: Annotated[ClusterObjectRef | None, doc("The schema")] = None
    stitched_schema: Annotated[ClusterObjectRef | None, doc("The schema made of several")] = None
    options: Annotated[GraphQLOptions | None, doc("Options of GraphQL")] = None


class HTTPRoute(OneOfStruct):
    """What happens to some requests."""

    one_of = (("forward_to", "delegate", "redirect", "direct_response", "graphql"),)

    name: Annotated[str, doc("Name of the route, unique in the table")] = ""
    labels: Annotated[Mapping[str, str], doc("Labels that policies select by")] = {}
    matchers: Annotated[tuple[HTTPRequestMatcher, ...], doc("Which requests, any may hold; empty is all")] = ()
    forward_to: Annotated[ForwardTo | None, doc("Send the request to destinations")] = None
    delegate: Annotated[Delegate | None, doc("Let other tables decide")] = None
    redirect: Annotated[Redirect | None, doc("Send the client elsewhere")] = None
    direct_response: Annotated[DirectResponse | None, doc("Answer without a destination")] = None
    graphql: Annotated[GraphQL | None, doc("Answer by GraphQL")] = None


class TCPRoute(ApiStruct):
    """What happens to some TCP connections."""

    matchers: Annotated[tuple[TCPRequestMatcher, ...], doc("Which connections, any may hold")] = ()
    forward_to: Annotated[TCPForwardTo | None, doc("Send the connection to destinations")] = None


class TLSRoute(ApiStruct):
    """What happens to some TLS connections, which stay encrypted."""

    matchers: Annotated[tuple[TLSRequestMatcher, ...], doc("Which connections, any may hold")] = ()
    forward_to: Annotated[TLSForwardTo | None, doc("Send the connection to destinations")] = None


class PortalMetadata(ApiStruct):
    """What a developer portal shows."""

    api_product_id: Annotated[str, doc("Key of the product, without spaces", min_length=1, pattern=r"^\S+$")]
    api_version: Annotated[str, doc("Version of the product", min_length=1)]
    api_product_display_name: Annotated[str, doc("Name for people")] = ""
    title: Annotated[str, doc("Title")] = ""
    description: Annotated[str, doc("Description")] = ""
    terms_of_service: Annotated[str, doc("Address of the terms")] = ""
    contact: Annotated[str, doc("Whom to ask")] = ""
    license: Annotated[str, doc("License")] = ""
    lifecycle: Annotated[str, doc("Stage of its life")] = ""
    custom_metadata: Annotated[Mapping[str, str], doc("Anything else")] = {}


class RouteTableSpec(ApiStruct):
    """Hosts and the routes behind them."""

    needs = (("http", "tcp", "tls"),)
    rules = (
        Rule(
            "has(self.http) || has(self.tcp) || has(self.tls)",
            "At least one of http, tcp, or tls keys must be set.",
            instead_of=("http", "tcp", "tls"),
        ),
        Rule(
            f"{_IS_ROOT} || !has(self.virtualGateways) || size(self.virtualGateways) == 0",
            "The virtualGateways field must be empty or unset for delegated RouteTables.",
        ),
        Rule(
            f"{_IS_ROOT} || !has(self.applyToDestinations) || size(self.applyToDestinations) == 0",
            "The applyToDestinations field must be empty or unset for delegated RouteTables.",
        ),
        Rule(
            f"{_IS_ROOT} || !has(self.failureMode)",
            "The failureMode field must be empty or unset for delegated RouteTables.",
        ),
        Rule(
            f"!has(self.defaultDestination) || has(self.http) && ({_TOO_MANY} || self.http.exists(r, has(r.forwardTo)))",
            "defaultDestination can only be set for http routes with forwardTo actions.",
        ),
        Rule(
            f"has(self.defaultDestination) || !has(self.http) || {_TOO_MANY} || self.http.all(r, !has(r.forwardTo)"
            " || has(r.forwardTo.destinations) && size(r.forwardTo.destinations) > 0)",
            "defaultDestination must be set when http forwardTo actions without destinations are specified.",
        ),
        Rule(
            "!has(self.kind) || self.kind == 'KUBE'",
            "Selector kind must be KUBE or not set.",
            items_of="workload_selectors",
        ),
    )

    hosts: Annotated[tuple[str, ...], doc("Hosts served; unset on delegated tables")] = ()
    virtual_gateways: Annotated[tuple[ObjectReference, ...], doc("Gateways that serve the table")] = ()
    workload_selectors: Annotated[
        tuple[WorkloadSelector, ...], doc("Clients whose sidecars use the table", max_length=MAX_ROUTES)
    ] = ()
    apply_to_destinations: Annotated[
        tuple[DestinationSelector, ...], doc("Destinations in front of which the table acts")
    ] = ()
    default_destination: Annotated[DestinationReference | None, doc("Where routes without destinations send")] = None
    http: Annotated[tuple[HTTPRoute, ...], doc("HTTP routes, first match wins", max_length=MAX_ROUTES)] = ()
    tcp: Annotated[tuple[TCPRoute, ...], doc("TCP routes", max_length=MAX_ROUTES)] = ()
    tls: Annotated[tuple[TLSRoute, ...], doc("TLS routes, passed through", max_length=MAX_ROUTES)] = ()
    weight: Annotated[Int32, doc("Order among delegated tables, high first")] = 0
    portal_metadata: Annotated[PortalMetadata | None, doc("What a developer portal shows")] = None
    failure_mode: Annotated[FailureMode, doc("What happens to a broken route")] = FailureMode.ROUTE_REPLACEMENT
    virtual_service_annotations: Annotated[Mapping[str, str], doc("Annotations of generated VirtualServices")] = {}


class RouteTable(ApiObject):
    """Routes requests of some hosts."""

    spec: Annotated[RouteTableSpec, doc("Hosts and routes")] = RouteTableSpec()
    status: Annotated[RouteTableStatus | None, doc("What became of it; written by the control plane")] = None
