"""RouteAction → the part of Envoy's Route that says what is done."""

from __future__ import annotations

from types import MappingProxyType
from typing import assert_never

from envoy.config.core.v3 import base_pb2 as core
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.config.route.v3 import route_components_pb2 as route_v3
from google.protobuf.wrappers_pb2 import UInt32Value

from meshpass.envoy.route_option import build_retries, milliseconds
from meshpass.ir import (
    DirectResponse,
    Forward,
    PathRewrite,
    PrefixRewrite,
    Redirect,
    RegexRewrite,
    Route,
    RouteOptions,
    WeightedBackend,
)

_REDIRECT_STATUS = MappingProxyType(
    {
        301: route_v3.RedirectAction.MOVED_PERMANENTLY,
        302: route_v3.RedirectAction.FOUND,
        303: route_v3.RedirectAction.SEE_OTHER,
        307: route_v3.RedirectAction.TEMPORARY_REDIRECT,
        308: route_v3.RedirectAction.PERMANENT_REDIRECT,
    }
)


def set_action(message: route_v3.Route, route: Route, options: RouteOptions) -> None:
    """Write the action of a route; timeout and retries are those of the options."""
    match route.action:
        case Forward():
            message.route.CopyFrom(_build_forward(route.action, options))
            if route.match.connect:
                message.route.upgrade_configs.append(_end_tunnel())
        case Redirect():
            message.redirect.CopyFrom(_build_redirect(route.action))
        case DirectResponse():
            message.direct_response.CopyFrom(_build_direct_response(route.action))
        case _:  # pragma: no cover
            assert_never(route.action)


def _build_forward(action: Forward, options: RouteOptions) -> route_v3.RouteAction:
    # No timeout of the proxy's own: Envoy's default of 15 s would cut long answers that the application means to give.
    message = route_v3.RouteAction(timeout=milliseconds(options.timeout_milliseconds or 0))
    match action.backends:
        case (only,):
            message.cluster = only.backend
            if only.host_rewrite:
                message.host_rewrite_literal = only.host_rewrite
        case several:
            message.weighted_clusters.clusters.extend(map(_build_share, several))
    if action.path_rewrite is not None:
        _set_path_rewrite(message, action.path_rewrite)
    retries = options.retries or action.retries
    if retries is not None and retries.attempts:
        message.retry_policy.CopyFrom(build_retries(retries))
    return message


def _build_share(share: WeightedBackend) -> route_v3.WeightedCluster.ClusterWeight:
    message = route_v3.WeightedCluster.ClusterWeight(name=share.backend, weight=UInt32Value(value=share.weight))
    if share.host_rewrite:
        message.host_rewrite_literal = share.host_rewrite
    return message


def _set_path_rewrite(message: route_v3.RouteAction, rewrite: PathRewrite) -> None:
    match rewrite:
        case PrefixRewrite(value):
            message.prefix_rewrite = value
        case RegexRewrite(pattern, substitution):
            message.regex_rewrite.pattern.regex = pattern
            message.regex_rewrite.substitution = substitution
        case _:  # pragma: no cover
            assert_never(rewrite)


def _end_tunnel() -> route_v3.RouteAction.UpgradeConfig:
    """The tunnel ends here: what comes through it is sent on, not the CONNECT request itself."""
    return route_v3.RouteAction.UpgradeConfig(
        upgrade_type="CONNECT", connect_config=route_v3.RouteAction.UpgradeConfig.ConnectConfig()
    )


def _build_redirect(action: Redirect) -> route_v3.RedirectAction:
    message = route_v3.RedirectAction(response_code=_REDIRECT_STATUS[action.status], host_redirect=action.host)
    if action.path is not None:
        message.path_redirect = action.path
    return message


def _build_direct_response(action: DirectResponse) -> route_v3.DirectResponseAction:
    message = route_v3.DirectResponseAction(status=action.status)
    if action.names_host:
        text = action.body.replace("%", "%%") + "%REQ(:AUTHORITY)%"
        message.body_format.CopyFrom(SubstitutionFormatString(text_format_source=core.DataSource(inline_string=text)))
    elif action.body:
        message.body.inline_string = action.body
    return message
