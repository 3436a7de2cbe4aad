"""The waist: what a proxy has to do, in words of neither Kubernetes nor Envoy. Frozen values, no IO.

Left of it only ``translate`` makes these values; right of it only ``envoy`` reads them. A value that is equal to
another leads to equal bytes for Envoy, whatever it was made from.
"""

from meshpass.ir.backend import Backend, Endpoint
from meshpass.ir.claim import ClaimHeader, ClaimPattern, ClaimRule, PatternKind, PayloadRules
from meshpass.ir.listener import InboundListener, Listener, OutboundListener
from meshpass.ir.match import HeaderMatch, PathExact, PathMatch, PathPrefix, PathRegex, QueryMatch, RouteMatch
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
    Route,
    RouteAction,
    RouteConfiguration,
    VirtualHost,
    WeightedBackend,
)

__all__ = [
    "Allow",
    "Backend",
    "ClaimHeader",
    "ClaimPattern",
    "ClaimRule",
    "DirectResponse",
    "Endpoint",
    "FailedToken",
    "Forward",
    "HeaderMatch",
    "InboundListener",
    "JwtProvider",
    "JwtRequirement",
    "Listener",
    "ObjectRef",
    "OutboundListener",
    "PathExact",
    "PathMatch",
    "PathPrefix",
    "PathRegex",
    "PatternKind",
    "PayloadRules",
    "Phase",
    "PhasePolicies",
    "PolicySet",
    "Proxy",
    "QueryMatch",
    "Route",
    "RouteAction",
    "RouteConfiguration",
    "RouteMatch",
    "TokenHeader",
    "VirtualHost",
    "WeightedBackend",
]
