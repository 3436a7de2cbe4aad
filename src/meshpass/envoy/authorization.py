"""PolicySet → the configuration of the authorization (RBAC) filter."""

from __future__ import annotations

from envoy.config.rbac.v3 import rbac_pb2 as rbac_v3
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from meshpass.envoy.filters import AUTHORIZATION_FILTER, CLASS_KEY, ROUTE_METADATA, build_extension_config
from meshpass.envoy.snapshot import Resource
from meshpass.ir import PolicySet


def build_authorization_filter(policies: PolicySet) -> Resource:
    """The authorization filter: 403 ``RBAC: access denied`` on the routes of denied classes, nothing on others."""
    message = RBAC()
    if policies.denied:
        message.rules.action = rbac_v3.RBAC.DENY
        message.rules.policies["denied"].CopyFrom(
            rbac_v3.Policy(
                permissions=[_of_class(selection_class) for selection_class in sorted(policies.denied)],
                principals=[rbac_v3.Principal(any=True)],
            )
        )
    return build_extension_config(AUTHORIZATION_FILTER, message, policies.sources)


def _of_class(selection_class: str) -> rbac_v3.Permission:
    return rbac_v3.Permission(
        sourced_metadata=rbac_v3.SourcedMetadata(
            metadata_matcher=MetadataMatcher(
                filter=ROUTE_METADATA,
                path=[MetadataMatcher.PathSegment(key=CLASS_KEY)],
                value=ValueMatcher(string_match=StringMatcher(exact=selection_class)),
            ),
            metadata_source=rbac_v3.MetadataSource.ROUTE,
        )
    )
