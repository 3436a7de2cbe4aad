"""Authorization, an entry of an AccessPolicy → AccessRule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from meshpass.api.common import ObjectSelector
from meshpass.api.security import Authorization, HeaderValues, IdentitySelector, RequestIdentityMatcher
from meshpass.ir import EVERYBODY, AccessRule, Caller, HeaderCondition, TokenCaller
from meshpass.translate.accessaccount import SelectedAccounts
from meshpass.translate.accessvalue import (
    block_problem,
    header_problem,
    identity_problem,
    make_block,
    make_glob,
    method_problem,
    path_problem,
    pattern_problem,
)

Problem = tuple[str, str]
"""A field's path and what is wrong there."""
SelectAccounts = Callable[[ObjectSelector], SelectedAccounts]
NOBODY = AccessRule(callers=())
_HOST = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What one entry comes to."""

    path: str
    """Of the entry in its policy."""
    rule: AccessRule
    accounts: tuple[tuple[str, SelectedAccounts], ...]
    """Path of each selector of service accounts, and what it selects."""


def translate_entry(entry: Authorization, path: str, select: SelectAccounts) -> Entry:
    """The rule; meant for an entry without ``entry_problems``. One that says nothing allows nobody (fields.md §8)."""
    if not _says_anything(entry):
        return Entry(path=path, rule=NOBODY, accounts=())
    selected = tuple(
        (f"{path}.allowedClients[{index}].serviceAccountSelector", select(client.service_account_selector))
        for index, client in enumerate(entry.allowed_clients)
        if client.service_account_selector is not None
    )
    found = iter(selected)
    callers = tuple(
        _translate_client(client, next(found)[1] if client.service_account_selector is not None else None)
        for client in entry.allowed_clients
    )
    rule = AccessRule(
        callers=callers or (EVERYBODY,),
        paths=() if "*" in entry.allowed_paths else tuple(map(make_glob, entry.allowed_paths)),
        methods=tuple(entry.allowed_methods),
        headers=tuple(_translate_header(name, values) for name, values in sorted(_headers(entry))),
        peer_blocks=tuple(map(make_block, entry.allowed_ip_blocks)),
        client_blocks=tuple(map(make_block, entry.allowed_remote_ip_blocks)),
    )
    return Entry(path=path, rule=rule, accounts=selected)


def _says_anything(entry: Authorization) -> bool:
    return bool(
        entry.allowed_clients
        or entry.allowed_paths
        or entry.allowed_methods
        or list(_headers(entry))
        or entry.allowed_ip_blocks
        or entry.allowed_remote_ip_blocks
    )


def _headers(entry: Authorization) -> Iterable[tuple[str, HeaderValues]]:
    request = entry.match.request if entry.match is not None else None
    return request.headers.items() if request is not None else ()


def _translate_client(client: IdentitySelector, accounts: SelectedAccounts | None) -> Caller:
    identities = accounts.identities if accounts is not None else None
    if identities is None and client.external_workload_selector is not None:
        identities = ()
    matcher = client.request_identity_matcher
    return Caller(identities=identities, token=_translate_token(matcher) if matcher is not None else None)


def _translate_token(matcher: RequestIdentityMatcher) -> TokenCaller:
    return TokenCaller(
        principals=tuple(map(make_glob, matcher.request_principals)),
        not_principals=tuple(map(make_glob, matcher.not_request_principals)),
    )


def _translate_header(name: str, condition: HeaderValues) -> HeaderCondition:
    # HTTP/2's name for it (RFC 9113 §8.3.1) is what proxies know it by.
    return HeaderCondition(
        name=":authority" if name.lower() == _HOST else name.lower(),
        values=tuple(map(make_glob, condition.values)),
        not_values=tuple(map(make_glob, condition.not_values)),
    )


def entry_problems(entry: Authorization, path: str) -> Iterator[Problem]:
    """What is wrong with an entry."""
    for index, client in enumerate(entry.allowed_clients):
        if client.request_identity_matcher is not None:
            yield from _token_problems(
                client.request_identity_matcher, f"{path}.allowedClients[{index}].requestIdentityMatcher"
            )
    yield from _problems(entry.allowed_paths, f"{path}.allowedPaths", path_problem)
    yield from _problems(entry.allowed_methods, f"{path}.allowedMethods", method_problem)
    yield from _problems(entry.allowed_ip_blocks, f"{path}.allowedIpBlocks", block_problem)
    yield from _problems(entry.allowed_remote_ip_blocks, f"{path}.allowedRemoteIpBlocks", block_problem)
    for name, condition in sorted(_headers(entry)):
        place = f"{path}.match.request.headers[{name}]"
        if problem := header_problem(name):
            yield place, problem
        if not condition.values and not condition.not_values:
            yield place, "has neither values nor notValues"
        yield from _problems(condition.values, f"{place}.values", _value_problem)
        yield from _problems(condition.not_values, f"{place}.notValues", _value_problem)


def _token_problems(matcher: RequestIdentityMatcher, path: str) -> Iterator[Problem]:
    if not matcher.request_principals and not matcher.not_request_principals:
        yield path, "has neither requestPrincipals nor notRequestPrincipals"
    yield from _problems(matcher.request_principals, f"{path}.requestPrincipals", identity_problem)
    yield from _problems(matcher.not_request_principals, f"{path}.notRequestPrincipals", identity_problem)


def _value_problem(text: str) -> str | None:
    return pattern_problem(text, inside=True)


def _problems(values: Iterable[str], path: str, judge: Callable[[str], str | None]) -> Iterator[Problem]:
    for index, value in enumerate(values):
        if problem := judge(value):
            yield f"{path}[{index}]", problem
