"""Settings of a translation: what is decided for a whole mesh, not by an object."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

from meshpass.errors import MeshpassError


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureGates:
    """Switches of behaviour (decision 27), by the names that the product's users know."""

    EnableJWTPolicyEastWestRoute: bool = True
    """False: policies that select routes hold at gateways only."""
    GatewayDefaultDenyAllHTTPRequests: bool = False
    """True: routes labelled to require authentication are denied as long as no policy holds on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranslateSettings:
    """What is decided for a whole mesh."""

    management_cluster: str
    gates: FeatureGates = field(default_factory=FeatureGates)
    system_authorities: str = ""
    """Path of the PEM file of authorities that proxies believe where an object names none; empty: there is no such file."""
    serves: frozenset[str] | None = None
    """The clusters whose proxies are served; None: those of all. What is said of objects is about all proxies."""


def parse_feature_gates(text: str) -> FeatureGates:
    """``EnableJWTPolicyEastWestRoute=false,…``; a gate that is not named keeps its default. Raises MeshpassError."""
    gates = FeatureGates()
    known = {field.name.lower(): field.name for field in fields(FeatureGates)}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, separator, value = part.partition("=")
        if name.lower() not in known:
            raise MeshpassError(f"unknown feature gate {name}", hint=f"there are {', '.join(known.values())}")
        if not separator or value.lower() not in {"true", "false"}:
            raise MeshpassError(f"feature gate {name} is neither true nor false", hint=f"write {name}=true")
        gates = replace(gates, **{known[name.lower()]: value.lower() == "true"})
    return gates
