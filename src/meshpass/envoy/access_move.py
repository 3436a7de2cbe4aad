"""Who may call, while a running Envoy is switched from one PolicySet to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from meshpass.ir import AccessRules


def expand_access(old: Mapping[str, AccessRules], new: Mapping[str, AccessRules]) -> Mapping[str, AccessRules]:
    """The rules of the old side, those of classes that only the new side has, and tokens from where either side finds them.

    A payload key is written by nothing but a provider that has verified the token, so a rule may look at those of both
    sides, while one side's verification takes the place of the other's.
    """
    if old is new:
        return old
    expanded = {**new, **old}
    for name in old.keys() & new.keys():
        keys = tuple(sorted({*old[name].payload_keys, *new[name].payload_keys}))
        if keys != old[name].payload_keys:
            expanded[name] = replace(old[name], payload_keys=keys)
    return old if expanded == dict(old) else MappingProxyType(expanded)


def who_may_call(access: AccessRules | None) -> AccessRules | None:
    """The rules without where they find their tokens, but for whether they find any at all; None: everybody may.

    The former follows from other policies. Where nobody verifies tokens, a rule about them allows nobody; where somebody
    does, a rule against some tokens allows who has none, which it must not begin to do before they are verified.
    """
    return access if access is None or not access.payload_keys else replace(access, payload_keys=(ANYWHERE,))


ANYWHERE = "*"
"""Stands for any payload key."""
