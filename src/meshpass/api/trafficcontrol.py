"""Kinds of ``trafficcontrol.policy.gloo.solo.io/v2``: HeaderManipulationPolicy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from meshpass.api.common import RouteDestinationSelector, RouteSelector
from meshpass.api.metadata import ApiObject
from meshpass.api.status import RoutePolicyStatus
from meshpass.api.struct import ApiStruct, doc


class HeaderManipulationPolicyConfig(ApiStruct):
    """Headers to remove and to add; removing comes first."""

    append_request_headers: Annotated[Mapping[str, str], doc("Headers added to the request before it is sent on")] = {}
    remove_request_headers: Annotated[
        tuple[str, ...], doc("Headers removed from the request before it is sent on")
    ] = ()
    append_response_headers: Annotated[Mapping[str, str], doc("Headers added to the answer")] = {}
    remove_response_headers: Annotated[tuple[str, ...], doc("Headers removed from the answer")] = ()


class HeaderManipulationPolicySpec(ApiStruct):
    """Which headers are changed, and where."""

    apply_to_routes: Annotated[
        tuple[RouteSelector, ...], doc("Routes it holds on; with neither list set, every route")
    ] = ()
    apply_to_route_destinations: Annotated[
        tuple[RouteDestinationSelector, ...], doc("Only requests of these routes to these destinations")
    ] = ()
    config: Annotated[HeaderManipulationPolicyConfig, doc("Headers to add and to remove")] = (
        HeaderManipulationPolicyConfig()
    )


class HeaderManipulationPolicy(ApiObject):
    """Adds and removes headers of requests and answers."""

    spec: Annotated[HeaderManipulationPolicySpec, doc("What is changed, and where")] = HeaderManipulationPolicySpec()
    status: Annotated[RoutePolicyStatus | None, doc("What became of it; written by the control plane")] = None
