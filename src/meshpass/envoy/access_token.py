"""TokenCaller → RBAC principals over verified payloads.

An identity is the token's issuer, a slash and its subject. Both may hold slashes themselves, so a text with several is
taken apart at each of them: the conditions hold for exactly those pairs that, put together, are like the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from envoy.config.rbac.v3.rbac_pb2 import Principal
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from envoy.type.matcher.v3.value_pb2 import ValueMatcher

from meshpass.envoy.rbac import all_of, any_of, in_payload
from meshpass.ir import Glob, TokenCaller

_SOMETHING = StringMatcher(safe_regex=RegexMatcher(regex="(?s).+"))

_Pair = tuple[StringMatcher, StringMatcher]
"""What the issuer is like, and the subject."""


def build_token_principal(token: TokenCaller, payload_keys: tuple[str, ...]) -> Principal:
    """True where the verified tokens say that the caller is such a one; never where no token is verified before."""
    if not payload_keys:
        return any_of(())
    conditions = [Principal(not_id=_is_any(token.not_principals, payload_keys))] if token.not_principals else []
    if token.principals:
        conditions.insert(0, _is_any(token.principals, payload_keys))
    return all_of(conditions)


def _is_any(globs: Iterable[Glob], payload_keys: tuple[str, ...]) -> Principal:
    return any_of(
        all_of((_claim(key, "iss", issuer), _claim(key, "sub", subject)))
        for glob in globs
        for issuer, subject in _pairs(glob)
        for key in payload_keys
    )


def _claim(payload_key: str, name: str, matcher: StringMatcher) -> Principal:
    return in_payload(payload_key, (name,), ValueMatcher(string_match=matcher))


def _pairs(glob: Glob) -> Iterator[_Pair]:
    """Every pair of which neither is empty. A glob with more than one gap is one that translation does not make."""
    match glob.parts:
        case (exact,):
            yield from ((_exact(issuer), _exact(subject)) for issuer, subject in _splits(exact) if issuer and subject)
        case ("", ""):
            yield _SOMETHING, _SOMETHING
        case (prefix, ""):
            yield StringMatcher(prefix=prefix), _SOMETHING
            yield from ((_exact(issuer), _beginning(subject)) for issuer, subject in _splits(prefix) if issuer)
        case ("", suffix):
            yield _SOMETHING, StringMatcher(suffix=suffix)
            yield from ((_end(issuer), _exact(subject)) for issuer, subject in _splits(suffix) if subject)
        case _:
            raise AssertionError("an identity has a gap at one end at most")


def _exact(text: str) -> StringMatcher:
    return StringMatcher(exact=text)


def _beginning(text: str) -> StringMatcher:
    return StringMatcher(prefix=text) if text else _SOMETHING


def _end(text: str) -> StringMatcher:
    return StringMatcher(suffix=text) if text else _SOMETHING


def _splits(text: str) -> Iterator[tuple[str, str]]:
    return ((text[:index], text[index + 1 :]) for index, character in enumerate(text) if character == "/")
