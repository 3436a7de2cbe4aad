"""RouteOptions → what a route says of retries, origins, faults and headers."""

from __future__ import annotations

from typing import assert_never

from envoy.config.core.v3.base_pb2 import HeaderValue as HeaderValueMessage
from envoy.config.core.v3.base_pb2 import HeaderValueOption
from envoy.config.route.v3 import route_components_pb2 as route_v3
from envoy.extensions.filters.common.fault.v3.fault_pb2 import FaultDelay
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import FaultAbort, HTTPFault
from envoy.extensions.retry.host.previous_hosts.v3.previous_hosts_pb2 import PreviousHostsPredicate
from envoy.extensions.retry.priority.previous_priorities.v3.previous_priorities_config_pb2 import (
    PreviousPrioritiesConfig,
)
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value

from meshpass.envoy.filters import CORS_FILTER, FAULT_FILTER
from meshpass.envoy.local_reply import UNREACHED
from meshpass.envoy.resource import pack
from meshpass.ir import Cors, HeaderChanges, HeaderValue, OriginKind, OriginMatch, Retries, RouteOptions

DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
"""Failures after which the application has most likely done nothing yet, so that a second request does no harm."""
DEFAULT_RETRY_STATUS = 503
MAX_CHOICES = 5
"""How often another endpoint is looked for, until one is taken again where the request has failed."""


def milliseconds(number: int) -> Duration:
    """A length of time as protobuf has it."""
    return Duration(seconds=number // 1000, nanos=number % 1000 * 1_000_000)


def set_options(message: route_v3.Route, options: RouteOptions) -> None:
    """Write what the options say of origins, faults and headers; the filters of the first two act only on such routes."""
    if options.cors is not None:
        message.typed_per_filter_config[CORS_FILTER].CopyFrom(pack(_build_cors(options.cors)))
    if options.delay is not None or options.abort is not None:
        message.typed_per_filter_config[FAULT_FILTER].CopyFrom(pack(_build_fault(options)))
    if options.headers is not None:
        _set_headers(message, options.headers)


def build_retries(retries: Retries) -> route_v3.RetryPolicy:
    """When and how often a request is sent again."""
    own = (DEFAULT_RETRY_STATUS,) if not retries.retry_on else ()
    message = route_v3.RetryPolicy(
        retry_on=retries.retry_on or DEFAULT_RETRY_ON,
        num_retries=UInt32Value(value=retries.attempts),
        retriable_status_codes=sorted({*retries.status_codes, *own}),
    )
    if retries.per_try_timeout_milliseconds is not None:
        message.per_try_timeout.CopyFrom(milliseconds(retries.per_try_timeout_milliseconds))
    if retries.elsewhere:
        _set_elsewhere(message)
    return message


def _set_elsewhere(message: route_v3.RetryPolicy) -> None:
    message.retry_on = f"{message.retry_on},retriable-headers"
    message.retriable_headers.append(route_v3.HeaderMatcher(name=UNREACHED, present_match=True))
    message.retry_priority.name = "envoy.retry_priorities.previous_priorities"
    message.retry_priority.typed_config.CopyFrom(pack(PreviousPrioritiesConfig(update_frequency=1)))
    message.retry_host_predicate.add(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=pack(PreviousHostsPredicate())
    )
    message.host_selection_retry_max_attempts = MAX_CHOICES


def _build_cors(cors: Cors) -> CorsPolicy:
    message = CorsPolicy(
        allow_origin_string_match=[_build_origin(origin) for origin in cors.allow_origins],
        allow_methods=",".join(cors.allow_methods),
        allow_headers=",".join(cors.allow_headers),
        expose_headers=",".join(cors.expose_headers),
        allow_credentials=BoolValue(value=cors.allow_credentials),
        # A preflight of a strange origin is answered here as well, without the permission that it asks for: an
        # application whose route has a CORS policy never sees a preflight, which carries no token.
        forward_not_matching_preflights=BoolValue(value=False),
    )
    if cors.max_age_seconds is not None:
        message.max_age = str(cors.max_age_seconds)
    return message


def _build_origin(origin: OriginMatch) -> StringMatcher:
    match origin.kind:
        case OriginKind.EXACT:
            return StringMatcher(exact=origin.value, ignore_case=origin.ignore_case)
        case OriginKind.PREFIX:
            return StringMatcher(prefix=origin.value, ignore_case=origin.ignore_case)
        case OriginKind.REGEX:
            return StringMatcher(safe_regex=RegexMatcher(regex=origin.value))
        case _:  # pragma: no cover
            assert_never(origin.kind)


def _build_fault(options: RouteOptions) -> HTTPFault:
    message = HTTPFault(disable_downstream_cluster_stats=True)
    if options.delay is not None:
        delay = FaultDelay(
            fixed_delay=milliseconds(options.delay.milliseconds), percentage=_build_percent(options.delay.percent)
        )
        message.delay.CopyFrom(delay)
    if options.abort is not None:
        message.abort.CopyFrom(
            FaultAbort(http_status=options.abort.status, percentage=_build_percent(options.abort.percent))
        )
    return message


def _build_percent(percent: float) -> FractionalPercent:
    return FractionalPercent(numerator=round(percent * 10_000), denominator=FractionalPercent.MILLION)


def _set_headers(message: route_v3.Route, changes: HeaderChanges) -> None:
    message.request_headers_to_add.extend(map(_build_header, changes.add_to_request))
    message.request_headers_to_remove.extend(changes.remove_from_request)
    message.response_headers_to_add.extend(map(_build_header, changes.add_to_response))
    message.response_headers_to_remove.extend(changes.remove_from_response)


def _build_header(header: HeaderValue) -> HeaderValueOption:
    # A per cent sign would begin a command of Envoy's, such as the token of the request.
    return HeaderValueOption(
        header=HeaderValueMessage(key=header.name, value=header.value.replace("%", "%%")),
        append_action=HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
        if header.append
        else HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
        keep_empty_value=True,
    )
