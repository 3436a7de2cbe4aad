"""The waist: what a proxy has to do, in words of neither Kubernetes nor Envoy. Frozen values, no IO.

Left of it only ``translate`` makes these values; right of it only ``envoy`` reads them. A value that is equal to
another leads to equal bytes for Envoy, whatever it was made from.
"""

from meshpass.ir.backend import Backend, Endpoint, UpstreamTls
from meshpass.ir.claim import ClaimHeader, ClaimPattern, ClaimRule, PatternKind, PayloadRules
from meshpass.ir.listener import (
    DownstreamTls,
    GatewayListener,
    HttpChain,
    InboundListener,
    Listener,
    OutboundListener,
    TcpChain,
    TlsVersion,
)
from meshpass.ir.match import HeaderMatch, PathExact, PathMatch, PathPrefix, PathRegex, QueryMatch, RouteMatch
from meshpass.ir.option import (
    Abort,
    Cors,
    Delay,
    HeaderChanges,
    HeaderValue,
    OriginKind,
    OriginMatch,
    Retries,
    RouteOptions,
)
from meshpass.ir.policy import (
    Allow,
    FailedToken,
    JwtProvider,
    JwtRequirement,
    Phase,
    PhasePolicies,
    PolicySet,
    TokenHeader,
)
from meshpass.ir.proxy import Proxy
from meshpass.ir.ref import ObjectRef
from meshpass.ir.route import (
    DirectResponse,
    Forward,
    PathRewrite,
    PrefixRewrite,
    Redirect,
    RegexRewrite,
    Route,
    RouteAction,
    RouteConfiguration,
    VirtualHost,
    WeightedBackend,
)
from meshpass.ir.secret import Secret, TlsCertificate, TrustedAuthorities

__all__ = [
    "Abort",
    "Allow",
    "Backend",
    "ClaimHeader",
    "ClaimPattern",
    "ClaimRule",
    "Cors",
    "Delay",
    "DirectResponse",
    "DownstreamTls",
    "Endpoint",
    "FailedToken",
    "Forward",
    "GatewayListener",
    "HeaderChanges",
    "HeaderMatch",
    "HeaderValue",
    "HttpChain",
    "InboundListener",
    "JwtProvider",
    "JwtRequirement",
    "Listener",
    "ObjectRef",
    "OriginKind",
    "OriginMatch",
    "OutboundListener",
    "PathExact",
    "PathMatch",
    "PathPrefix",
    "PathRegex",
    "PathRewrite",
    "PatternKind",
    "PayloadRules",
    "Phase",
    "PhasePolicies",
    "PolicySet",
    "PrefixRewrite",
    "Proxy",
    "QueryMatch",
    "Redirect",
    "RegexRewrite",
    "Retries",
    "Route",
    "RouteAction",
    "RouteConfiguration",
    "RouteMatch",
    "RouteOptions",
    "Secret",
    "TcpChain",
    "TlsCertificate",
    "TlsVersion",
    "TokenHeader",
    "TrustedAuthorities",
    "UpstreamTls",
    "VirtualHost",
    "WeightedBackend",
]
