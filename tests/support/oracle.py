"""An oracle for JWT policies: what a request is answered, said by the API's description and by nothing of ours.

It knows tokens by what they were made of, so it verifies no signature. Where the description leaves a choice (two tokens
of which one is good, under several providers or a lax policy), it names every answer that is right.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Config = Mapping[str, Any]

MISSING = "Jwt is missing"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
WRONG_AUDIENCE = "Audiences in Jwt are not allowed"
EXPIRED = "Jwt is expired"
NOT_YET = "Jwt not yet valid"
NO_KEY = "Jwks doesn't have key to match kid or alg from Jwt"
FAILS = "Jwt verification fails"
DENIED = "RBAC: access denied"

FAMILIES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token, and what it was made of."""

    text: str
    claims: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    """The key that signed it; empty if its signature is worth nothing."""
    alg: str = "RS256"
    kid: str | None = None
    malformed: str = ""
    """How the refusal of a token begins that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A public key of a provider."""

    name: str
    kind: str = "RSA"
    kid: str | None = None
    alg: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as the policy sees it. ``tokens`` are known by their text; names of headers are in lower case."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    tokens: Mapping[str, Token]
    now: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """The request reached the application, which saw these claim headers, and these places with something in them."""

    headers: Mapping[str, str]
    """Header → what it holds; those that are absent were not there."""
    removed: frozenset[str]
    """Places (``header:x`` or ``query:x``) where nothing was left."""
    kept: frozenset[str]
    """Places where what the client sent was left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The proxy answered by itself."""

    status: int
    body: str
    """How the body begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralTokens:
    """The request with several different tokens reached the application. Which of them wrote is not said."""

    headers: Mapping[str, str]
    """What may be left of the client's own headers."""
    claims: frozenset[tuple[str, str]]
    """Header and value of every claim that may be written, possibly after something else."""
    payloads: frozenset[str]
    removed: frozenset[str]


Outcome = Passed | SeveralTokens | Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """All policies of one Envoy: a header that one of them overwrites is taken from clients on every route."""

    policies: Mapping[str, Config]
    keys: Mapping[str, tuple[Key, ...]]
    """The text of a provider's keys → the keys in it."""

    def outcomes(self, name: str, asked: Asked) -> list[Outcome]:
        """Every right answer to the request on the route of the policy ``name``."""
        config = self.policies[name]
        providers = list(config["providers"].values())
        found = [self._tokens(provider, asked) for provider in providers]
        places = {place for tokens in found for place in tokens}
        good = [
            (provider, place, token)
            for provider, tokens in zip(providers, found, strict=True)
            for place, token in tokens.items()
            if self._refusal(provider, token, asked) is None
        ]
        bad = places - {place for _, place, _ in good}
        lax = self._lax(config)
        if not places:
            return [self._refuse()] if lax == "REQUIRE_VALID" else [self._pass((), asked, ())]
        refusals = self._refusals(config, asked)
        if len({asked_text(place, asked) for place in places}) > 1:
            return self._mixed(config, good, bad, asked, refusals)
        # One token, at one place or at several.
        accepting = [
            provider
            for provider, tokens in zip(providers, found, strict=True)
            if tokens and all(self._refusal(provider, token, asked) is None for token in tokens.values())
        ]
        if accepting:
            winner = [one for one in good if one[0] is accepting[0]]
            return self._judge(config, winner, asked, bad if lax == "ALLOW_MISSING_OR_FAILED" else ())
        if lax == "ALLOW_MISSING_OR_FAILED":
            return [self._pass((), asked, bad)]
        return refusals

    def _mixed(
        self, config: Config, good: list[Accepted], bad: set[str], asked: Asked, refusals: list[Outcome]
    ) -> list[Outcome]:
        """Different tokens at once. One provider has to accept all of them; of several, each may accept its own."""
        lax = self._lax(config)
        if lax != "ALLOW_MISSING_OR_FAILED" and (not good or (len(config["providers"]) == 1 and bad)):
            return refusals
        every = [Refused(status=403, body=DENIED)] if not all(keeps_rules(config, t.claims) for _, _, t in good) else []
        headers = self._survivors((), asked)
        several = SeveralTokens(
            headers=headers,
            claims=frozenset(
                (entry["header"], render(token.claims[entry["claim"]]))
                for provider, _, token in good
                for entry in _entries(provider)
                if token.claims.get(entry["claim"]) is not None
            ),
            payloads=frozenset(payload(token) for _, _, token in good),
            removed=frozenset(bad) if lax == "ALLOW_MISSING_OR_FAILED" else frozenset(),
        )
        return [*every, several, *([] if lax == "ALLOW_MISSING_OR_FAILED" else refusals)]

    def _refuse(self) -> Outcome:
        return Refused(status=401, body=MISSING)

    def _refusals(self, config: Config, asked: Asked) -> list[Outcome]:
        """Each provider tells one of its refusals; of those, one that is not about the issuer comes first."""
        verdicts = []
        for provider in config["providers"].values():
            refused = [self._refusal(provider, token, asked) for token in self._tokens(provider, asked).values()]
            verdicts.append([refusal for refusal in refused if refusal is not None])
        found = [verdict for verdict in verdicts if verdict]
        telling: list[Outcome] = [refusal for verdict in found for refusal in verdict if refusal.body != UNKNOWN_ISSUER]
        if all(any(refusal.body == UNKNOWN_ISSUER for refusal in verdict) for verdict in found):
            telling.append(Refused(status=401, body=UNKNOWN_ISSUER if found else MISSING))
        return telling

    def _judge(
        self, config: Config, accepted: Sequence[Accepted], asked: Asked, failed: Iterable[str]
    ) -> list[Outcome]:
        """Claims and scopes of what was accepted; then what the application sees."""
        if all(keeps_rules(config, token.claims) for _, _, token in accepted):
            return [self._pass(accepted, asked, failed)]
        return [Refused(status=403, body=DENIED)]

    def _pass(self, accepted: Sequence[Accepted], asked: Asked, failed: Iterable[str]) -> Passed:
        headers = self._survivors(accepted, asked)
        removed: set[str] = set(failed)
        kept: set[str] = set()
        written: dict[str, str] = {}
        for provider, place, token in accepted:
            for entry in _entries(provider):
                claim = token.claims.get(entry["claim"])
                if claim is None:
                    continue
                text = render(claim)
                before = headers.get(entry["header"]) if entry.get("append", False) else None
                delimiter = provider.get("customDelimiter") or ","
                written[entry["header"]] = f"{before}{delimiter}{text}" if before else text
            if header := provider.get("outputPayloadToHeader"):
                written[header] = payload(token)
            (kept if provider.get("keepToken", False) else removed).add(place)
        return Passed(headers=headers | written, removed=frozenset(removed), kept=frozenset(kept))

    def _survivors(self, accepted: Sequence[Accepted], asked: Asked) -> dict[str, str]:
        """What the client sent in headers that no policy overwrites, or that the accepting provider appends to."""
        overwritten = self._headers(append=False)
        appended = {
            entry["header"] for provider, _, _ in accepted for entry in _entries(provider) if entry.get("append", False)
        }
        return {name: value for name, value in asked.headers.items() if name not in overwritten or name in appended}

    def _headers(self, *, append: bool) -> set[str]:
        providers = [provider for config in self.policies.values() for provider in config["providers"].values()]
        entries = {
            entry["header"]
            for provider in providers
            for entry in _entries(provider)
            if entry.get("append", False) is append
        }
        return entries | ({p["outputPayloadToHeader"] for p in providers if p.get("outputPayloadToHeader")} - {""})

    def _lax(self, config: Config) -> str:
        chosen: str = config.get("validationPolicy", "REQUIRE_VALID")
        if chosen == "REQUIRE_VALID" and config.get("allowMissingOrFailed", False):
            return "ALLOW_MISSING_OR_FAILED"
        return chosen

    def _tokens(self, provider: Config, asked: Asked) -> dict[str, Token]:
        """Place → what a provider finds there."""
        source = provider.get("tokenSource") or {}
        headers, parameters = source.get("headers", []), source.get("queryParams", [])
        if not headers and not parameters:
            headers, parameters = [{"name": "Authorization", "prefix": "Bearer "}], ["access_token"]
        found = {}
        for header in headers:
            name, prefix = header["name"].lower(), header.get("prefix") or ""
            value = asked.headers.get(name)
            if value is not None and prefix in value:
                text = value.partition(prefix)[2] if prefix else value
                found[f"header:{name}"] = asked.tokens.get(text, Token(text=text, malformed="Jwt "))
        for parameter in parameters:
            if parameter in asked.query:
                text = asked.query[parameter]
                found[f"query:{parameter}"] = asked.tokens.get(text, Token(text=text, malformed="Jwt "))
        return found

    def _refusal(self, provider: Config, token: Token, asked: Asked) -> Refused | None:
        if token.malformed:
            return Refused(status=401, body=token.malformed)
        issuer, skew = provider.get("issuer", ""), provider.get("clockSkewSeconds", 60)
        if issuer and token.claims.get("iss") != issuer:
            return Refused(status=401, body=UNKNOWN_ISSUER)
        if asked.now + skew < token.claims.get("nbf", 0):
            return Refused(status=401, body=NOT_YET)
        if "exp" in token.claims and asked.now > token.claims["exp"] + skew:
            return Refused(status=401, body=EXPIRED)
        aud = token.claims.get("aud", [])
        wanted = set(provider.get("audiences", []))
        if wanted and not wanted.intersection([aud] if isinstance(aud, str) else aud):
            return Refused(status=403, body=WRONG_AUDIENCE)
        return self._check_keys(self.keys[provider["local"]["inline"]], token)

    def _check_keys(self, keys: Iterable[Key], token: Token) -> Refused | None:
        fitting = [
            key for key in keys if (token.kid is None or key.kid in {None, token.kid}) and key.alg in {None, token.alg}
        ]
        if any(key.name == token.key and key.kind == FAMILIES.get(token.alg[:2]) for key in fitting):
            return None
        return Refused(status=401, body=FAILS if fitting else NO_KEY)


Accepted = tuple[Config, str, Token]


def asked_text(place: str, asked: Asked) -> str:
    """What stands at a place, without the scheme before it."""
    kind, _, name = place.partition(":")
    value = asked.headers[name] if kind == "header" else asked.query[name]
    return value.rpartition(" ")[2]


def payload(token: Token) -> str:
    """The payload as it stands in the token."""
    return token.text.split(".")[1]


def _entries(provider: Config) -> list[Mapping[str, Any]]:
    return list(provider.get("claimsToHeaders", []))


def render(claim: Any) -> str:
    """A claim as a header: text as it is, all else as JSON."""
    return claim if isinstance(claim, str) else json.dumps(claim, separators=(",", ":"), ensure_ascii=False)


def keeps_rules(config: Config, claims: Mapping[str, Any]) -> bool:
    """True for claims that satisfy ``claims`` and ``requiredScopes``."""
    scopes = _values(claims.get("scope"), words=True)
    if not all(scope in scopes for scope in config.get("requiredScopes", [])):
        return False
    return all(_keeps(rule, claims) for rule in config.get("claims", []))


def _keeps(rule: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    delimiter = rule.get("nestedClaimDelimiter")
    claim: Any = claims
    for part in rule["key"].split(delimiter) if delimiter else [rule["key"]]:
        claim = claim.get(part) if isinstance(claim, Mapping) else None
    values = _values(claim, words=rule["key"] == "scope")
    present = claim is not None
    wanted, unwanted = rule.get("values", []), rule.get("notValues", [])
    if wanted and not any(_matches(pattern, values, present=present) for pattern in wanted):
        return False
    return not any(_matches(pattern, values, present=present) for pattern in unwanted)


def _values(claim: Any, *, words: bool) -> list[Any]:
    match claim:
        case None:
            return []
        case str() if words:
            return claim.split(" ")
        case list():
            return claim
        case _:
            return [claim]


def _matches(pattern: str, values: Sequence[Any], *, present: bool) -> bool:
    if pattern == "*":
        return present
    return any(_is_like(pattern, value) for value in values)


def _is_like(pattern: str, value: Any) -> bool:
    match value:
        case bool():
            return pattern == ("true" if value else "false")
        case int() | float():
            return pattern == render(value)
        case str() if pattern.endswith("*"):
            return value.startswith(pattern[:-1])
        case str() if pattern.startswith("*"):
            return value.endswith(pattern[1:])
        case str():
            return value == pattern
        case _:
            return False
