"""ModelEnvoy: has resources, takes one at a time, and says what it would answer: routes, JWT filters and RBAC filters.

An own reading of what is on the wire, as ``reading`` is, but of requests: a token is taken out of the request by the filter
that accepts it, so what a later filter finds depends on the ones before. Tokens are judged by what they were made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication, PerRouteConfig
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.service.discovery.v3.discovery_pb2 import Resource as DiscoveryResource
from tests.support.churn import ALL_PLACES, TOKENS, Ask
from tests.support.reading import read_any
from tests.support.tokens import public_jwk

from meshpass.envoy.snapshot import EXTENSION_CONFIG, ROUTES, Resource, Snapshot

PHASES = ("pre", "post")
PARAMETERS = frozenset({"auth_token"})


@dataclass(frozen=True)
class Outcome:
    """What a request comes to."""

    passed: bool
    left: frozenset[str] = frozenset()
    """Places where the application finds the token, if the request passed and no filter let it pass as failed."""
    why: str = ""


class ModelEnvoy:
    """The resources of one sidecar. What is not there refuses, as it does in Envoy."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.has: dict[tuple[str, str], Resource] = {}
        for resource in resources_of(snapshot) if snapshot else ():
            self.take(resource)

    def take(self, resource: Resource) -> None:
        """The resource is there, in the place of the one of its name."""
        self.has[resource.type_url, resource.name] = resource

    def drop(self, type_url: str, name: str) -> None:
        """The resource is gone."""
        self.has.pop((type_url, name), None)

    @property
    def versions(self) -> dict[str, dict[str, str]]:
        """Type URL → name → version: what a resume says."""
        found: dict[str, dict[str, str]] = {}
        for (type_url, name), resource in self.has.items():
            found.setdefault(type_url, {})[name] = resource.version
        return found

    def ask(self, ask: Ask) -> Outcome:
        """What the request to ``http://<host>.example.com/get`` comes to."""
        route = self._route(f"{ask.host}.example.com")
        if route is None:
            return Outcome(passed=False, why="no route")
        places = dict.fromkeys(ALL_PLACES, ask.token) if ask.token else {}
        payloads: dict[str, Mapping[str, Any]] = {}
        for phase in PHASES:
            if why := self._verify(phase, route, places, payloads):
                return Outcome(passed=False, why=f"{phase}: {why}")
            if self._denies(phase, route, payloads):
                return Outcome(passed=False, why=f"{phase}: denied")
        return Outcome(passed=True, left=frozenset(places))

    def _route(self, host: str) -> Any:
        for (type_url, _), resource in self.has.items():
            if type_url == ROUTES:
                for virtual_host in _routes(resource.wire).virtual_hosts:
                    if host in virtual_host.domains:
                        return virtual_host.routes[0]
        return None

    def _config(self, phase: str, stage: str, message: Any) -> Any:
        resource = self.has.get((EXTENSION_CONFIG, f"meshpass.outbound.{phase}.{stage}"))
        return None if resource is None else _filter(resource.wire, message)

    def _verify(self, phase: str, route: Any, places: dict[str, str], payloads: dict[str, Mapping[str, Any]]) -> str:
        """Why the JWT filter refuses the request; empty if it does not."""
        config = self._config(phase, "jwt", JwtAuthentication)
        if config is None:
            return "no filter"
        name = f"meshpass.outbound.{phase}.jwt"
        requirement = read_any(route.typed_per_filter_config[name], PerRouteConfig).requirement_name
        if requirement not in config.requirement_map:
            return "unknown requirement"
        return _Request(config, places, payloads).unmet(config.requirement_map[requirement])

    def _denies(self, phase: str, route: Any, payloads: Mapping[str, Mapping[str, Any]]) -> bool:
        config = self._config(phase, "authorization", RBAC)
        if config is None:
            return True
        selection_class = route.metadata.filter_metadata["meshpass"]["class"]
        return any(
            any(_permits(one, selection_class) for one in policy.permissions)
            and any(_is_principal(one, payloads) for one in policy.principals)
            for policy in config.rules.policies.values()
        )


class _Request:
    """A request in one JWT filter."""

    def __init__(self, config: Any, places: dict[str, str], payloads: dict[str, Mapping[str, Any]]) -> None:
        self._config = config
        self._places = places
        self._payloads = payloads

    def unmet(self, requirement: Any) -> str:
        """Why the requirement does not hold; empty if it does. Each provider looks at what those before have left."""
        match requirement.WhichOneof("requires_type"):
            case None:
                return ""
            case "provider_name":
                return self._refuse(self._config.providers[requirement.provider_name])
            case "requires_all":
                return next(filter(None, map(self.unmet, requirement.requires_all.requirements)), "")
            case "requires_any":
                return self._unmet_any(requirement.requires_any.requirements)
        raise AssertionError("no requirement that is written here")

    def _unmet_any(self, requirements: Iterable[Any]) -> str:
        reasons: list[str] = []
        for one in requirements:
            match one.WhichOneof("requires_type"):
                case "allow_missing_or_failed":
                    return ""
                case "allow_missing":
                    if all(reason == "Jwt is missing" for reason in reasons):
                        return ""
                case _:
                    if not (reason := self.unmet(one)):
                        return ""
                    reasons.append(reason)
        return next((reason for reason in reasons if reason != "Jwt is missing"), reasons[0])

    def _refuse(self, provider: Any) -> str:
        looked_at = {header.name for header in provider.from_headers} | set(provider.from_params)
        found = [place for place in sorted(self._places) if place in looked_at]
        if not found:
            return "Jwt is missing"
        key, claims = TOKENS[self._places[found[0]]]
        if provider.issuer not in {"", claims["iss"]}:
            return "Jwt issuer is not configured"
        audiences = claims.get("aud", [])
        if provider.audiences and not {*provider.audiences} & {
            *([audiences] if isinstance(audiences, str) else audiences)
        }:
            return "Audiences in Jwt are not allowed"
        if not key or _modulus(key) not in _moduli(provider.local_jwks.inline_string):
            return "Jwt verification fails"
        if not provider.forward:
            # The first place by the filter, parameters by the script that follows; the text is the same everywhere.
            for place in found:
                self._places.pop(place)
        self._payloads[provider.payload_in_metadata] = claims
        return ""


def resources_of(snapshot: Snapshot) -> Iterator[Resource]:
    """All resources of the Snapshot."""
    for of_type in snapshot.resources.values():
        yield from of_type.values()


@cache
def _routes(wire: bytes) -> Any:
    return read_any(DiscoveryResource.FromString(wire).resource, RouteConfiguration)


@cache
def _filter(wire: bytes, message: Any) -> Any:
    config = read_any(DiscoveryResource.FromString(wire).resource, TypedExtensionConfig).typed_config
    return read_any(config, message)


@cache
def _modulus(key: str) -> str:
    return str(public_jwk(key)["n"])


@cache
def _moduli(jwks: str) -> frozenset[str]:
    return frozenset(one["n"] for one in json.loads(jwks)["keys"]) if jwks else frozenset()


def _permits(permission: Any, selection_class: str) -> bool:
    if permission.WhichOneof("rule") == "any":
        return bool(permission.any)
    matcher = permission.sourced_metadata.metadata_matcher
    return bool(matcher.value.string_match.exact == selection_class)


def _is_principal(principal: Any, payloads: Mapping[str, Any]) -> bool:
    match principal.WhichOneof("identifier"):
        case "any":
            return True
        case "and_ids":
            return all(_is_principal(one, payloads) for one in principal.and_ids.ids)
        case "or_ids":
            return any(_is_principal(one, payloads) for one in principal.or_ids.ids)
        case "not_id":
            return not _is_principal(principal.not_id, payloads)
        case "sourced_metadata":
            matcher = principal.sourced_metadata.metadata_matcher
            value: Any = payloads
            for segment in matcher.path:
                value = value.get(segment.key) if isinstance(value, Mapping) else None
            return value is not None and _is_value(matcher.value, value)
    raise AssertionError("no principal that is written here")


def _is_value(matcher: Any, value: Any) -> bool:
    match matcher.WhichOneof("match_pattern"):
        case "present_match":
            return True
        case "string_match":
            return isinstance(value, str) and _is_text(matcher.string_match, value)
        case "list_match":
            return isinstance(value, list) and any(_is_value(matcher.list_match.one_of, one) for one in value)
        case _:
            return False


def _is_text(matcher: Any, text: str) -> bool:
    match matcher.WhichOneof("match_pattern"):
        case "exact":
            return bool(text == matcher.exact)
        case "prefix":
            return text.startswith(matcher.prefix)
        case "suffix":
            return text.endswith(matcher.suffix)
        case "safe_regex":
            return any(f"{word}(?: .*)?" in matcher.safe_regex.regex for word in text.split())
    raise AssertionError("no matcher that is written here")
