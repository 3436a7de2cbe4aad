"""Kinds of ``security.policy.gloo.solo.io/v2``: JWTPolicy, CORSPolicy and AccessPolicy."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from meshpass.api.common import (
    DestinationReference,
    DestinationSelector,
    EnforcementLayers,
    NullableBool,
    NullableInt32,
    NullableUInt32,
    ObjectReference,
    ObjectSelector,
    RouteSelector,
)
from meshpass.api.duration import Duration
from meshpass.api.metadata import ApiObject
from meshpass.api.status import AccessPolicyStatus, JWTPolicyStatus, RoutePolicyStatus
from meshpass.api.struct import ApiStruct, OneOfStruct, doc


class ValidationPolicy(StrEnum):
    """Which requests pass without a valid token."""

    REQUIRE_VALID = "REQUIRE_VALID"
    ALLOW_MISSING = "ALLOW_MISSING"
    ALLOW_MISSING_OR_FAILED = "ALLOW_MISSING_OR_FAILED"


class ClearRouteCache(StrEnum):
    """Whether the route is chosen again after the filter."""

    AUTO = "AUTO"
    FALSE = "FALSE"
    TRUE = "TRUE"


class TokenHeader(ApiStruct):
    """A request header that may carry a token."""

    name: Annotated[str, doc("Name of the header")] = ""
    prefix: Annotated[str, doc("Text before the token, verbatim, with its trailing space")] = ""


class TokenSource(ApiStruct):
    """Where tokens are looked for; unset is Authorization: Bearer, then access_token."""

    headers: Annotated[tuple[TokenHeader, ...], doc("Headers that may carry the token")] = ()
    query_params: Annotated[tuple[str, ...], doc("Query parameters that may carry the token, case-sensitive")] = ()


class SecretReference(ApiStruct):
    """One entry of a Secret."""

    object_ref: Annotated[ObjectReference | None, doc("The Secret")] = None
    key: Annotated[str, doc("Entry of the Secret's data")] = ""


class LocalJWKS(OneOfStruct):
    """Keys that the mesh holds itself."""

    one_of = (("secret_ref", "inline"),)

    secret_ref: Annotated[SecretReference | None, doc("Secret that holds the keys")] = None
    inline: Annotated[str | None, doc("The keys as text: PEM, JWK or JWKS")] = None


class RetryBackoff(ApiStruct):
    """Pauses between retries."""

    base_interval: Annotated[Duration | None, doc("First pause, above zero; unset is 1s")] = None
    max_interval: Annotated[Duration | None, doc("Longest pause; unset is ten times the first")] = None


class JWKSRetryPolicy(ApiStruct):
    """How a failed fetch is tried again."""

    num_retries: Annotated[NullableUInt32 | None, doc("Number of retries; unset is 1")] = None
    backoff: Annotated[RetryBackoff | None, doc("Pauses between retries")] = None


class RemoteJWKS(ApiStruct):
    """Keys that are fetched over HTTP."""

    url: Annotated[str, doc("Address of the key set")] = ""
    destination_ref: Annotated[DestinationReference | None, doc("Destination to fetch from; unset goes direct")] = None
    cache_duration: Annotated[Duration | None, doc("How long a fetched set is used; unset is 5m")] = None
    timeout: Annotated[Duration | None, doc("Time limit of a fetch; unset is 5s")] = None
    enable_async_fetch: Annotated[bool, doc("Fetch before the first request")] = False
    failed_refetch_duration: Annotated[Duration | None, doc("Pause after a failed fetch; unset is 1s")] = None
    retry_policy: Annotated[JWKSRetryPolicy | None, doc("How a failed fetch is tried again")] = None


class ClaimToHeader(ApiStruct):
    """A claim that is copied to a request header."""

    claim: Annotated[str, doc("Top-level claim to copy")] = ""
    header: Annotated[str, doc("Request header to write")] = ""
    append: Annotated[bool, doc("Add to the client's value instead of replacing it")] = False


class JWTProvider(OneOfStruct):
    """An issuer whose tokens are accepted."""

    one_of = (("local", "remote"),)

    issuer: Annotated[str, doc("Exact iss claim; empty is unchecked")] = ""
    audiences: Annotated[tuple[str, ...], doc("One must be among aud; empty is unchecked")] = ()
    token_source: Annotated[TokenSource | None, doc("Where the token is read")] = None
    local: Annotated[LocalJWKS | None, doc("Keys that the mesh holds itself")] = None
    remote: Annotated[RemoteJWKS | None, doc("Keys that are fetched over HTTP")] = None
    claims_to_headers: Annotated[tuple[ClaimToHeader, ...], doc("Claims copied to request headers")] = ()
    custom_delimiter: Annotated[str, doc("Joins appended values; empty is a comma")] = ""
    keep_token: Annotated[bool, doc("Leave the token in the forwarded request")] = False
    clock_skew_seconds: Annotated[NullableUInt32 | None, doc("Tolerance for nbf and exp; unset is 60")] = None
    output_payload_to_header: Annotated[str, doc("Header that gets the whole payload; empty is none")] = ""


class Phase(ApiStruct):
    """Order inside a phase."""

    priority: Annotated[NullableInt32 | None, doc("Lower runs first; unset is 0")] = None


class PrioritizedPhase(OneOfStruct):
    """Position relative to external authorization; unset is preAuthz."""

    one_of = (("pre_authz", "post_authz"),)

    pre_authz: Annotated[Phase | None, doc("Run before external authorization")] = None
    post_authz: Annotated[Phase | None, doc("Run after external authorization")] = None


class ClaimMatcher(ApiStruct):
    """A condition on one claim."""

    key: Annotated[str, doc("Name of the claim")] = ""
    values: Annotated[tuple[str, ...], doc("One must match; * is a wildcard")] = ()
    not_values: Annotated[tuple[str, ...], doc("None may match; * is a wildcard")] = ()
    nested_claim_delimiter: Annotated[str, doc("Splits the key into a path; empty does not")] = ""


class JWTPolicyConfig(ApiStruct):
    """How tokens are verified and used."""

    providers: Annotated[Mapping[str, JWTProvider], doc("Accepted issuers by name; any one may match")] = {}
    phase: Annotated[PrioritizedPhase | None, doc("Position relative to external authorization")] = None
    validation_policy: Annotated[ValidationPolicy, doc("Which requests pass without a valid token")] = (
        ValidationPolicy.REQUIRE_VALID
    )
    allow_missing_or_failed: Annotated[bool, doc("Deprecated: same as validationPolicy ALLOW_MISSING_OR_FAILED")] = (
        False
    )
    clear_route_cache: Annotated[ClearRouteCache, doc("Whether the route is chosen again afterwards")] = (
        ClearRouteCache.AUTO
    )
    claims: Annotated[tuple[ClaimMatcher, ...], doc("Conditions on claims; all must hold")] = ()
    required_scopes: Annotated[tuple[str, ...], doc("Scopes that the token must hold, all of them")] = ()


class JWTPolicySpec(ApiStruct):
    """Which routes and destinations need which tokens."""

    apply_to_routes: Annotated[
        tuple[RouteSelector, ...], doc("Routes protected; with neither list set, every route")
    ] = ()
    apply_to_destinations: Annotated[tuple[DestinationSelector, ...], doc("Destinations protected")] = ()
    config: Annotated[JWTPolicyConfig, doc("How tokens are verified and used")] = JWTPolicyConfig()


class JWTPolicy(ApiObject):
    """Requires JSON Web Tokens on routes and destinations."""

    spec: Annotated[JWTPolicySpec, doc("What is required, and where")] = JWTPolicySpec()
    status: Annotated[JWTPolicyStatus | None, doc("What became of it; written by the control plane")] = None


class AllowedOrigin(OneOfStruct):
    """Origins, as browsers write them in the header Origin."""

    one_of = (("exact", "prefix", "regex", "suffix"),)

    exact: Annotated[str | None, doc("The whole origin; * is any")] = None
    prefix: Annotated[str | None, doc("Start of the origin")] = None
    regex: Annotated[str | None, doc("RE2 expression for the whole origin")] = None
    suffix: Annotated[str | None, doc("End of the origin; not supported")] = None
    ignore_case: Annotated[bool, doc("Compare without case; no effect on regex")] = False


class CORSPolicyConfig(ApiStruct):
    """Which pages of other origins may send requests and read the answers."""

    allow_origins: Annotated[tuple[AllowedOrigin, ...], doc("Origins of the pages; one must match")] = ()
    allow_methods: Annotated[tuple[str, ...], doc("Methods that pages may use; * is any")] = ()
    allow_headers: Annotated[tuple[str, ...], doc("Request headers that pages may set; * is any")] = ()
    expose_headers: Annotated[tuple[str, ...], doc("Response headers that pages may read; * is any")] = ()
    max_age: Annotated[Duration | None, doc("How long browsers remember a preflight; unset leaves it to them")] = None
    allow_credentials: Annotated[
        NullableBool | None, doc("Pages may send cookies and certificates; unset is false")
    ] = None


class CORSPolicySpec(ApiStruct):
    """Which routes pages of which origins may use."""

    apply_to_routes: Annotated[tuple[RouteSelector, ...], doc("Routes it holds on; empty is every route")] = ()
    config: Annotated[CORSPolicyConfig, doc("Which pages, and what they may do")] = CORSPolicyConfig()


class CORSPolicy(ApiObject):
    """Lets pages of other origins use routes (CORS)."""

    spec: Annotated[CORSPolicySpec, doc("What is allowed, and where")] = CORSPolicySpec()
    status: Annotated[RoutePolicyStatus | None, doc("What became of it; written by the control plane")] = None


class TlsMode(StrEnum):
    """Whether callers must use mutual TLS."""

    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


class AccessWorkloadLabels(ApiStruct):
    """Workloads by label and place."""

    labels: Annotated[Mapping[str, str], doc("Labels that the workload must have, all of them")] = {}
    namespace: Annotated[str, doc("Namespace of the workload; empty is any")] = ""
    cluster: Annotated[str, doc("Cluster of the workload; empty is any")] = ""
    workspace: Annotated[str, doc("Workspace of the workload; empty is any")] = ""


class AccessWorkloadSelector(ApiStruct):
    """Workloads that an access policy protects."""

    selector: Annotated[AccessWorkloadLabels | None, doc("Which workloads; empty is all")] = None


class RequestIdentityMatcher(ApiStruct):
    """Identity that the request's token must carry."""

    request_principals: Annotated[tuple[str, ...], doc("Accepted identities, as issuer/subject")] = ()
    not_request_principals: Annotated[tuple[str, ...], doc("Refused identities, as issuer/subject")] = ()


class IdentitySelector(ApiStruct):
    """Callers; empty is everyone."""

    service_account_selector: Annotated[ObjectSelector | None, doc("Service accounts of the callers")] = None
    external_workload_selector: Annotated[ObjectSelector | None, doc("External workloads that call")] = None
    request_identity_matcher: Annotated[RequestIdentityMatcher | None, doc("Identity from the token")] = None


class HeaderValues(ApiStruct):
    """A condition on one request header."""

    values: Annotated[tuple[str, ...], doc("One must match; * is a wildcard")] = ()
    not_values: Annotated[tuple[str, ...], doc("None may match; * is a wildcard")] = ()


class AccessRequestMatch(ApiStruct):
    """Conditions on the request."""

    headers: Annotated[Mapping[str, HeaderValues], doc("Conditions by header name")] = {}


class AccessMatch(ApiStruct):
    """Further conditions of a rule."""

    request: Annotated[AccessRequestMatch | None, doc("Conditions on the request")] = None


class Authorization(ApiStruct):
    """One rule about who may do what."""

    allowed_clients: Annotated[tuple[IdentitySelector, ...], doc("Callers allowed; one empty entry is everyone")] = ()
    allowed_paths: Annotated[tuple[str, ...], doc("Paths allowed, exact, prefix* or *suffix")] = ()
    allowed_methods: Annotated[tuple[str, ...], doc("HTTP methods allowed; empty is any")] = ()
    match: Annotated[AccessMatch | None, doc("Further conditions")] = None
    allowed_ip_blocks: Annotated[tuple[str, ...], doc("Addresses or CIDRs of the direct peer")] = ()
    allowed_remote_ip_blocks: Annotated[tuple[str, ...], doc("Addresses or CIDRs of the original client")] = ()
    dry_run: Annotated[bool, doc("Evaluate and report, but do not enforce")] = False


class AccessAuthentication(ApiStruct):
    """How callers prove who they are."""

    tls_mode: Annotated[TlsMode, doc("Whether callers must use mutual TLS")] = TlsMode.DISABLE


class AccessPolicyConfig(ApiStruct):
    """The rules of an access policy."""

    authn: Annotated[AccessAuthentication | None, doc("How callers prove who they are")] = None
    authz: Annotated[Authorization | None, doc("Deprecated: one rule; ignored when authzList is set")] = None
    authz_list: Annotated[tuple[Authorization, ...], doc("Rules; any one may allow")] = ()
    enforcement_layers: Annotated[EnforcementLayers | None, doc("Layers that enforce; unset is all")] = None


class AccessPolicySpec(ApiStruct):
    """Who may call which workloads."""

    apply_to_destinations: Annotated[
        tuple[DestinationSelector, ...], doc("Destinations protected; ignored when applyToWorkloads is set")
    ] = ()
    apply_to_workloads: Annotated[tuple[AccessWorkloadSelector, ...], doc("Workloads protected")] = ()
    config: Annotated[AccessPolicyConfig, doc("The rules")] = AccessPolicyConfig()


class AccessPolicy(ApiObject):
    """Limits who may call workloads and destinations."""

    spec: Annotated[AccessPolicySpec, doc("Who may call what")] = AccessPolicySpec()
    status: Annotated[AccessPolicyStatus | None, doc("What became of it; written by the control plane")] = None
