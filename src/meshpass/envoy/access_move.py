"""Who may call, while a running Envoy is switched from one PolicySet to another."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from meshpass.ir import AccessRules

Access = Mapping[str, AccessRules]

ANYWHERE = "*"
"""Stands for any payload key."""


def expand_access(old: Access, new: Access, known: Container[str]) -> Access:
    """The rules of the old side, those of classes that it does not know, and tokens from where either side finds them.

    A payload key is written by nothing but a provider that has verified the token, so rules that stay may look at those
    of both sides, while one side's verification takes the place of the other's.
    """
    if old is new:
        return old
    expanded = {**{name: access for name, access in new.items() if name not in known}, **old}
    for name in old.keys() & new.keys():
        keys = tuple(sorted({*old[name].payload_keys, *new[name].payload_keys}))
        if keys != old[name].payload_keys and who_may_call(old[name]) == who_may_call(new[name]):
            expanded[name] = replace(old[name], payload_keys=keys)
    return old if expanded == dict(old) else MappingProxyType(expanded)


def allow_by_both(expanded: Access, new: Access, names: Iterable[str]) -> Access:
    """For these classes, what the rules of both sides allow, each looking for tokens where its own side finds them."""
    changed = dict(expanded)
    for name in names:
        before, after = expanded.get(name), new.get(name)
        if before is None or after is None or who_may_call(before) == who_may_call(after):
            changed.update({name: after} if before is None and after is not None else {})
        else:
            changed[name] = replace(before, also=(*before.also, replace(after, also=()), *after.also))
    return expanded if changed == dict(expanded) else MappingProxyType(changed)


def allow_by_new(expanded: Access, new: Access, names: Iterable[str]) -> Access:
    """For these classes, what the rules of the new side allow."""
    changed = dict(expanded)
    for name in names:
        changed.pop(name, None)
        if name in new:
            changed[name] = new[name]
    return expanded if changed == dict(expanded) else MappingProxyType(changed)


def who_may_call(access: AccessRules | None) -> AccessRules | None:
    """The rules without where they find their tokens, but for whether they find any at all; None: everybody may.

    The former follows from other policies. Where nobody verifies tokens, a rule about them allows nobody; where somebody
    does, a rule against some tokens allows who has none, which it must not begin to do before they are verified.
    """
    return None if access is None else _anywhere(access)


def _anywhere(access: AccessRules) -> AccessRules:
    if not access.payload_keys and not access.also:
        return access
    keys = (ANYWHERE,) if access.payload_keys else ()
    return replace(access, payload_keys=keys, also=tuple(map(_anywhere, access.also)))
