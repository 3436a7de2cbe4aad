"""World: two protected hosts and an open one under policies that change, what it means for a request, and its edits."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.support.http_client import Request
from tests.support.objects import forward, jwt_policy, route_table
from tests.support.tokens import DEV, DEV_ISSUER, LOGIN, LOGIN_ISSUER, break_signature, public_jwks, public_pem, sign

Manifest = dict[str, Any]

PROTECTED = ("one", "two")
OPEN = "open"
ZONES = ("north", "south", "east", "west")
AUDIENCE = "books"

TOKENS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "dev": ("main", {**DEV, "aud": [AUDIENCE, "more"], "scope": "read write"}),
    "other": ("other", {**DEV, "org": "external", "scope": "read"}),
    "login": ("main", {**{k: v for k, v in LOGIN.items() if k != "org"}, "aud": AUDIENCE, "scope": "read"}),
    "broken": ("", {**DEV, "org": "forged", "aud": AUDIENCE, "scope": "read write"}),
}
"""Name → the key that signed it (none: a bad signature), and its claims."""

ISSUERS = {"dev": DEV_ISSUER, "login": LOGIN_ISSUER, "any": ""}
SOURCES: Mapping[str, Manifest | None] = {
    "default": None,
    "header": {"headers": [{"name": "X-Auth", "prefix": "Bearer "}]},
    "query": {"queryParams": ["auth_token"]},
    "both": {"headers": [{"name": "X-Auth", "prefix": "Bearer "}], "queryParams": ["auth_token"]},
}
PLACES: Mapping[str, frozenset[str]] = {
    "default": frozenset({"Authorization"}),
    "header": frozenset({"X-Auth"}),
    "query": frozenset({"auth_token"}),
    "both": frozenset({"X-Auth", "auth_token"}),
}
ALL_PLACES = frozenset({"Authorization", "X-Auth", "auth_token"})
CLAIMS: Mapping[str, tuple[list[Manifest], Callable[[Mapping[str, Any]], bool]]] = {
    "": ([], lambda _: True),
    "internal": ([{"key": "org", "values": ["internal"]}], lambda claims: claims.get("org") == "internal"),
    "not external": ([{"key": "org", "notValues": ["ext*"]}], lambda claims: claims.get("org") != "external"),
}
HEADERS: Mapping[str, Manifest] = {
    "": {},
    "overwrite": {"claimsToHeaders": [{"claim": "org", "header": "x-org"}]},
    "append": {"claimsToHeaders": [{"claim": "org", "header": "x-org", "append": True}]},
    "join": {"claimsToHeaders": [{"claim": "org", "header": "x-org", "append": True}], "customDelimiter": ";"},
}
DELIMITERS = {"append": ",", "join": ";"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A JWTPolicy; each field is one that is edited."""

    zones: frozenset[str]
    created: int = 2020
    keys: tuple[str, ...] = ("main",)
    issuers: tuple[str, ...] = ("dev",)
    audiences: tuple[str, ...] = ()
    claims: str = ""
    scopes: tuple[str, ...] = ()
    headers: str = "overwrite"
    source: str = "both"
    keep: bool = False
    phase: str = "preAuthz"
    priority: int = 0
    validation: str = "REQUIRE_VALID"
    broken: bool = False

    def manifest(self, name: str) -> Manifest:
        """The policy as an object."""
        config = {
            "phase": {self.phase: {"priority": self.priority}},
            "validationPolicy": self.validation,
            "claims": CLAIMS[self.claims][0],
            "requiredScopes": list(self.scopes),
            "providers": {issuer: self._provider(issuer) for issuer in self.issuers},
        }
        routes = [{"route": {"labels": {"zone": zone}}} for zone in sorted(self.zones)]
        return jwt_policy(name, created=f"{self.created}-01-01T00:00:00Z", applyToRoutes=routes, config=config)

    def _provider(self, issuer: str) -> Manifest:
        keys = public_pem(self.keys[0]) if len(self.keys) == 1 else public_jwks(*self.keys)
        provider = {
            "issuer": ISSUERS[issuer],
            "audiences": list(self.audiences),
            "local": {"inline": "no key" if self.broken else keys},
            "keepToken": self.keep,
            **HEADERS[self.headers],
        }
        source = SOURCES[self.source]
        return provider if source is None else provider | {"tokenSource": source}

    def verifies(self, token: str) -> bool:
        """True for a token that a provider accepts."""
        key, claims = TOKENS[token]
        audiences = claims.get("aud", [])
        return (
            key in self.keys
            and any(ISSUERS[issuer] in {"", claims["iss"]} for issuer in self.issuers)
            and (
                not self.audiences or bool({*self.audiences} & {*([audiences] if audiences == AUDIENCE else audiences)})
            )
        )

    def allows(self, token: str) -> bool:
        """True for a verified token whose claims and scopes satisfy the rules."""
        claims = TOKENS[token][1]
        return CLAIMS[self.claims][1](claims) and {*self.scopes} <= {*claims["scope"].split()}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """All that holds at one time."""

    zones: Mapping[str, str] = field(default_factory=lambda: dict(zip((*PROTECTED, OPEN), ZONES, strict=False)))
    """Host → the label of its route."""
    policies: Mapping[str, Policy] = field(
        default_factory=lambda: {"main": Policy(zones=frozenset(ZONES[: len(PROTECTED)]))}
    )

    def tables(self) -> dict[str, Manifest]:
        """Name → RouteTable."""
        return {
            host: route_table(
                host, hosts=[f"{host}.example.com"], workloadSelectors=[{}], http=[forward(zone=self.zones[host])]
            )
            for host in self.zones
        }

    def holding(self, host: str) -> Policy | None:
        """The policy that holds on the host's route: the oldest that selects it."""
        selecting = [(one.created, name) for name, one in self.policies.items() if self.zones[host] in one.zones]
        return self.policies[min(selecting)[1]] if selecting else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request: the token in all places, or none, and a client's own claim header, or none."""

    host: str
    token: str = ""
    spoofed: bool = False

    def encode(self) -> bytes:
        """The request as it goes on the wire."""
        url, headers = f"http://{self.host}.example.com/get", []
        if self.token:
            text = token_text(self.token)
            url += f"?auth_token={text}"
            headers += [("X-Auth", f"Bearer {text}"), ("Authorization", f"Bearer {text}")]
        if self.spoofed:
            headers.append(("x-org", "evil"))
        return Request(url=url, headers=tuple(headers)).encode()


_TEXTS: dict[str, str] = {}


def token_text(name: str) -> str:
    """The token of this name; always the same one."""
    if name not in _TEXTS:
        key, claims = TOKENS[name]
        _TEXTS[name] = sign(claims, key=key) if key else break_signature(sign(claims))
    return _TEXTS[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a request should come to."""

    passed: bool
    phase: str = ""
    """That of the policy that holds."""
    header: str = ""
    """The claim header at the application, if the request passed."""
    left: frozenset[str] | None = frozenset()
    """Places where the application finds the token; None where either is right."""


def mean(world: World, ask: Ask) -> Meaning:
    """What the world's policies mean for a request."""
    policy = world.holding(ask.host)
    return replace(_mean(world, policy, ask), phase=policy.phase if policy else "")


def _mean(world: World, policy: Policy | None, ask: Ask) -> Meaning:
    places = ALL_PLACES if ask.token else frozenset[str]()
    spoofed = "evil" if ask.spoofed else ""
    active = [holding for host in PROTECTED if (holding := world.holding(host)) and not holding.broken]
    stripped = "" if any(one.headers == "overwrite" for one in active) else spoofed
    if policy is None:
        return Meaning(passed=True, header=stripped, left=places)
    if policy.broken:
        return Meaning(passed=False)
    if not ask.token:
        return Meaning(passed=policy.validation != "REQUIRE_VALID", header=stripped)
    if not policy.verifies(ask.token):
        passed = policy.validation == "ALLOW_MISSING_OR_FAILED"
        return Meaning(passed=passed, header=stripped, left=places - PLACES[policy.source])
    org = TOKENS[ask.token][1].get("org", "")
    if policy.headers == "overwrite":
        header = org
    elif policy.headers in DELIMITERS:
        header = DELIMITERS[policy.headers].join(filter(None, (spoofed, org)))
    else:
        header = stripped
    left: frozenset[str] | None = places if policy.keep else places - PLACES[policy.source]
    if policy.validation == "ALLOW_MISSING_OR_FAILED" and policy.keep:
        left = None  # more than one place, or more than one provider: which of them was refused is not known
    return Meaning(passed=policy.allows(ask.token), header=header, left=left)


ASKS = (
    *(Ask(host=host) for host in (*PROTECTED, OPEN) for _ in range(2)),
    *(Ask(host=host, token="dev") for host in PROTECTED for _ in range(4)),
    *(Ask(host=host, token=token) for host in (*PROTECTED, OPEN) for token in TOKENS),
    *(Ask(host=host, token=token, spoofed=True) for host in (*PROTECTED, OPEN) for token in ("", "dev", "login")),
)

Edit = Callable[[World, random.Random], World]


def _field(name: str, *values: Any) -> Edit:
    def edit(world: World, chosen: random.Random) -> World:
        target = chosen.choice(sorted(world.policies)) if world.policies else ""
        if not target:
            return create(world, chosen)
        policy = world.policies[target]
        value = chosen.choice([one for one in values if one != getattr(policy, name)])
        return replace(world, policies={**world.policies, target: replace(policy, **{name: value})})

    return edit


def create(world: World, chosen: random.Random) -> World:
    """The policy ``main`` is there, if it was not."""
    protected = frozenset(world.zones[host] for host in PROTECTED)
    return replace(world, policies={"main": Policy(zones=protected, phase=chosen.choice(PHASES)), **world.policies})


def delete(world: World, chosen: random.Random) -> World:
    """One of the policies is gone, if there is one."""
    gone = chosen.choice(sorted(world.policies)) if world.policies else ""
    return replace(world, policies={name: one for name, one in world.policies.items() if name != gone})


def rival(world: World, chosen: random.Random) -> World:
    """Another policy, older or newer, on one host or both; or the end of it."""
    if "rival" in world.policies:
        return replace(world, policies={name: one for name, one in world.policies.items() if name != "rival"})
    base = world.policies.get("main") or Policy(zones=frozenset())
    hosts = chosen.choice([PROTECTED, PROTECTED[:1], PROTECTED[1:]])
    rival = replace(
        base,
        zones=frozenset(world.zones[host] for host in hosts),
        created=chosen.choice([2019, 2021]),
        phase=chosen.choice(PHASES),
        headers=chosen.choice(list(HEADERS)),
        validation=chosen.choice(VALIDATIONS),
        keys=chosen.choice(KEYS),
        broken=False,
    )
    return replace(world, policies={**world.policies, "rival": rival})


def relabel(world: World, chosen: random.Random) -> World:
    """Every route has another label, often one that another route had; the policies follow, in the same edit."""
    labels = chosen.sample(ZONES, len(world.zones))
    zones = dict(zip(world.zones, labels, strict=True))
    moved = {world.zones[host]: zones[host] for host in world.zones}
    policies = {
        name: replace(one, zones=frozenset(moved[zone] for zone in one.zones if zone in moved))
        for name, one in world.policies.items()
    }
    return replace(world, zones=zones, policies=policies)


def relabel_and_move(world: World, chosen: random.Random) -> World:
    """New labels and another phase at once."""
    return EDITS["phase"](relabel(world, chosen), chosen)


def everything(world: World, chosen: random.Random) -> World:
    """Several fields at once."""
    for name in chosen.sample([name for name, edit in EDITS.items() if edit is not everything], 4):
        world = EDITS[name](world, chosen)
    return world


KEYS = (("main",), ("main", "other"), ("other",), ("main", "third"))
PHASES = ("preAuthz", "postAuthz")
VALIDATIONS = ("REQUIRE_VALID", "ALLOW_MISSING", "ALLOW_MISSING_OR_FAILED")

EDITS: Mapping[str, Edit] = {
    "keys": _field("keys", *KEYS),
    "issuer": _field("issuers", ("dev",), ("login",), ("dev", "login"), ("any",)),
    "audiences": _field("audiences", (), (AUDIENCE,), (AUDIENCE, "more"), ("nobody",)),
    "claims": _field("claims", *CLAIMS),
    "scopes": _field("scopes", (), ("read",), ("read", "write")),
    "claim headers": _field("headers", *HEADERS),
    "token source": _field("source", *SOURCES),
    "keep token": _field("keep", False, True),
    "phase": _field("phase", *PHASES),
    "priority": _field("priority", 0, 1, -1),
    "validation": _field("validation", *VALIDATIONS),
    "break": _field("broken", True, False),
    "age": _field("created", 2018, 2020, 2022),
    "delete": delete,
    "create": create,
    "rival": rival,
    "relabel": relabel,
    "relabel and move": relabel_and_move,
    "everything": everything,
}
