"""Claims and scopes of a JWTPolicy → rules for its payloads (behaviour §2.6)."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.security import ClaimMatcher, JWTPolicyConfig
from meshpass.ir import ClaimPattern, ClaimRule, PatternKind

SCOPE = "scope"
MAX_LENGTH = 256
"""Characters of a claim's name and value; words of a scope become regular expressions, whose size is limited."""

Problem = tuple[str, str]
"""A field's path and what is wrong there."""


def translate_rules(config: JWTPolicyConfig) -> tuple[ClaimRule, ...]:
    """The rules that every payload must keep; meant for a config without ``rule_problems``."""
    claims = tuple(_translate_claim(matcher) for matcher in config.claims)
    scopes = tuple(
        ClaimRule(path=(SCOPE,), values=(ClaimPattern(PatternKind.EXACT, scope),), words=True)
        for scope in config.required_scopes
    )
    return (*claims, *scopes)


def rule_problems(config: JWTPolicyConfig) -> Iterator[Problem]:
    """What is wrong with claims and scopes."""
    seen: set[str] = set()
    for index, matcher in enumerate(config.claims):
        path = f"spec.config.claims[{index}]"
        yield from _claim_problems(matcher, path)
        if matcher.key in seen:
            yield f"{path}.key", f"{matcher.key} is there twice; put all its values in one entry"
        seen.add(matcher.key)
    scopes = config.required_scopes
    for index, scope in enumerate(scopes):
        path = f"spec.config.requiredScopes[{index}]"
        if not 1 <= len(scope) <= MAX_LENGTH or " " in scope:
            yield path, f"is no scope: scopes have 1 to {MAX_LENGTH} characters and no space (RFC 6749 §3.3)"
        elif scope in scopes[:index]:
            yield path, f"{scope} is there twice"


def _claim_problems(matcher: ClaimMatcher, path: str) -> Iterator[Problem]:
    if not 1 <= len(matcher.key) <= MAX_LENGTH:
        yield f"{path}.key", f"has not 1 to {MAX_LENGTH} characters"
    elif not all(_path(matcher)):
        yield f"{path}.key", "has an empty part between delimiters"
    if not matcher.values and not matcher.not_values:
        yield path, "has neither values nor notValues"
    for field, values in (("values", matcher.values), ("notValues", matcher.not_values)):
        for place, value in enumerate(values):
            if problem := _pattern_problem(value):
                yield f"{path}.{field}[{place}]", problem


def _path(matcher: ClaimMatcher) -> tuple[str, ...]:
    delimiter = matcher.nested_claim_delimiter
    return tuple(matcher.key.split(delimiter)) if delimiter else (matcher.key,)


def _translate_claim(matcher: ClaimMatcher) -> ClaimRule:
    path = _path(matcher)
    return ClaimRule(
        path=path,
        values=tuple(map(_translate_pattern, matcher.values)),
        not_values=tuple(map(_translate_pattern, matcher.not_values)),
        words=path == (SCOPE,),
    )


def _pattern_problem(value: str) -> str | None:
    if not 1 <= len(value) <= MAX_LENGTH:
        return f"has not 1 to {MAX_LENGTH} characters"
    if "*" in value.removeprefix("*").removesuffix("*") or (value != "*" and value[0] == value[-1] == "*"):
        return "a * is possible alone, at the start or at the end"
    return None


def _translate_pattern(value: str) -> ClaimPattern:
    if value == "*":
        return ClaimPattern(PatternKind.ANY)
    if value.endswith("*"):
        return ClaimPattern(PatternKind.PREFIX, value[:-1])
    if value.startswith("*"):
        return ClaimPattern(PatternKind.SUFFIX, value[1:])
    return ClaimPattern(PatternKind.EXACT, value)
