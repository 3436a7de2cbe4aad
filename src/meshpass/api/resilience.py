"""Kinds of ``resilience.policy.gloo.solo.io/v2``: RetryTimeoutPolicy and FaultInjectionPolicy."""

from __future__ import annotations

from typing import Annotated

from meshpass.api.common import Int32, NullableBool, NullableCount, NullableDouble, RouteSelector
from meshpass.api.duration import Duration
from meshpass.api.metadata import ApiObject
from meshpass.api.status import RoutePolicyStatus
from meshpass.api.struct import ApiStruct, doc


class RetryPolicy(ApiStruct):
    """How a failed request is tried again."""

    attempts: Annotated[NullableCount | None, doc("Number of retries; unset is 2, 0 is none")] = None
    per_try_timeout: Annotated[Duration | None, doc("Time limit of each try, at least 1ms; unset is none")] = None
    retry_on: Annotated[str, doc("Failures to retry, comma-separated: Envoy's conditions and HTTP statuses")] = ""
    retry_remote_localities: Annotated[NullableBool | None, doc("Retry in other localities too")] = None


class RetryTimeoutPolicyConfig(ApiStruct):
    """Retries, a time limit, or both."""

    retries: Annotated[RetryPolicy | None, doc("How a failed request is tried again")] = None
    request_timeout: Annotated[Duration | None, doc("Time limit with all retries, at least 1ms")] = None


class RetryTimeoutPolicySpec(ApiStruct):
    """Which requests are tried again, and how long they may take."""

    needs = (("config",),)

    apply_to_routes: Annotated[tuple[RouteSelector, ...], doc("Routes it holds on; empty is every route")] = ()
    config: Annotated[RetryTimeoutPolicyConfig | None, doc("Retries, a time limit, or both")] = None


class RetryTimeoutPolicy(ApiObject):
    """Retries failed requests and limits their time."""

    spec: Annotated[RetryTimeoutPolicySpec, doc("What is done, and where")] = RetryTimeoutPolicySpec()
    status: Annotated[RoutePolicyStatus | None, doc("What became of it; written by the control plane")] = None


class FaultAbort(ApiStruct):
    """Requests that are answered with an error and not sent on."""

    http_status: Annotated[Int32, doc("Status of the answer, 200 to 599")]
    percentage: Annotated[NullableDouble | None, doc("Share of requests, 0 or 0.0001 to 100; unset is 100")] = None


class FaultDelay(ApiStruct):
    """Requests that wait before they are sent on."""

    fixed_delay: Annotated[Duration, doc("How long they wait, at least 1ms")]
    percentage: Annotated[NullableDouble | None, doc("Share of requests, 0 or 0.0001 to 100; unset is 100")] = None


class FaultInjectionPolicyConfig(ApiStruct):
    """A delay, an abort, or both, independent of each other."""

    delay: Annotated[FaultDelay | None, doc("Requests that wait")] = None
    abort: Annotated[FaultAbort | None, doc("Requests that are answered with an error")] = None


class FaultInjectionPolicySpec(ApiStruct):
    """Which requests are disturbed, and how."""

    apply_to_routes: Annotated[tuple[RouteSelector, ...], doc("Routes it holds on; empty is every route")] = ()
    config: Annotated[FaultInjectionPolicyConfig, doc("A delay, an abort, or both")] = FaultInjectionPolicyConfig()


class FaultInjectionPolicy(ApiObject):
    """Delays requests or answers them with errors, as a test."""

    spec: Annotated[FaultInjectionPolicySpec, doc("What is done, and where")] = FaultInjectionPolicySpec()
    status: Annotated[RoutePolicyStatus | None, doc("What became of it; written by the control plane")] = None
