"""Providers that leave the token in the request, for whoever looks for it next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from meshpass.ir import JwtProvider, JwtRequirement

Requirements = tuple[JwtRequirement, ...]

KEPT = "-kept"
"""After the name of a provider: the same provider, except that it leaves the token in the request."""


def keep_token(provider: JwtProvider) -> JwtProvider:
    """The one beside the provider that leaves the token in the request, also one that it refuses; itself if it is one."""
    return replace(provider, name=keep_name(provider.name), keep_token=True)


def keep_name(name: str) -> str:
    """The name of the provider beside the one of this name that leaves the token in the request."""
    return name if name.endswith(KEPT) else name + KEPT


def leave_to_later(
    requirements: Requirements, providers: Mapping[str, JwtProvider]
) -> tuple[Requirements, tuple[JwtProvider, ...]]:
    """The same requirements, of which each leaves a token where a later one looks for it; and the providers of that.

    Envoy takes requirements of which all have to hold one by one, each with what the ones before have left in the
    request. The last one that looks somewhere is the one that removes what it accepts.
    """
    found: list[JwtRequirement] = []
    kept: list[JwtProvider] = []
    looked_at: frozenset[str] = frozenset()
    for requirement in reversed(requirements):
        own = [providers[name] for name in requirement.providers]
        shared = {one.name: keep_token(one) for one in own if not one.keep_token and looked_at & _places(one)}
        kept += shared.values()
        names = tuple(shared[name].name if name in shared else name for name in requirement.providers)
        found.append(replace(requirement, providers=names) if names != requirement.providers else requirement)
        looked_at |= frozenset[str]().union(*map(_places, own))
    return tuple(reversed(found)), tuple(kept)


def _places(provider: JwtProvider) -> frozenset[str]:
    """Where the provider looks for tokens."""
    headers = (f"header {header.name.lower()}" for header in provider.headers)
    return frozenset((*headers, *(f"parameter {name}" for name in provider.query_parameters)))
