"""HTTPRequestMatcher → PlacedMatch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from meshpass.api.routetable import HeaderMatcher, HTTPRequestMatcher, QueryParameterMatcher, StringMatch
from meshpass.ir import HeaderMatch, PathExact, PathMatch, PathPrefix, PathRegex, QueryMatch, RouteMatch
from meshpass.translate.pattern import regex_problem
from meshpass.translate.placedmatch import PlacedMatch

MAX_NAME = 256

_HEADER_NAME = re.compile(r":?[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1, and the pseudo-headers of HTTP/2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class MatcherProblem(NamedTuple):
    """Why a matcher cannot be told to a proxy."""

    path: str
    message: str


def translate_matcher(matcher: HTTPRequestMatcher, path: str) -> PlacedMatch | MatcherProblem:
    """The conditions of one matcher; the route of a matcher that cannot be expressed must not match without it."""
    where = _translate_path(matcher.uri, f"{path}.uri")
    if isinstance(where, MatcherProblem):
        return where
    for place, condition in _conditions(matcher, path):
        problem = _condition_problem(condition, place)
        if problem is not None:
            return problem
    match = RouteMatch(
        path=where,
        headers=tuple(
            HeaderMatch(
                name=header.name.lower(), value=header.value or None, regex=header.regex, invert=header.invert_match
            )
            for header in matcher.headers
        ),
        query_parameters=tuple(
            QueryMatch(name=parameter.name, value=parameter.value or None, regex=parameter.regex)
            for parameter in matcher.query_parameters
        ),
        method=matcher.method or None,
    )
    return PlacedMatch(matcher.port or None, match)


def _translate_path(uri: StringMatch | None, path: str) -> PathMatch | MatcherProblem:
    if uri is None:
        return PathPrefix("/")
    if uri.exact is not None:
        return PathExact(uri.exact, uri.ignore_case) if uri.exact else MatcherProblem(f"{path}.exact", "is empty")
    if uri.regex is not None:
        problem = regex_problem(uri.regex)
        return MatcherProblem(f"{path}.regex", problem) if problem else PathRegex(uri.regex)
    if uri.suffix is not None:
        return MatcherProblem(f"{path}.suffix", "matching the end of a path is not supported by the API")
    return PathPrefix(uri.prefix or "/", uri.ignore_case)


def _condition_problem(condition: HeaderMatcher | QueryParameterMatcher, path: str) -> MatcherProblem | None:
    if not 1 <= len(condition.name) <= MAX_NAME:
        return MatcherProblem(f"{path}.name", f"has not 1 to {MAX_NAME} characters")
    if isinstance(condition, HeaderMatcher) and not _HEADER_NAME.fullmatch(condition.name):
        return MatcherProblem(f"{path}.name", "is no name of a header")
    if _CONTROL.search(condition.value):
        return MatcherProblem(f"{path}.value", "has a control character")
    problem = regex_problem(condition.value) if condition.regex else None
    return MatcherProblem(f"{path}.value", problem) if problem else None


def _conditions(matcher: HTTPRequestMatcher, path: str) -> Iterator[tuple[str, HeaderMatcher | QueryParameterMatcher]]:
    for index, header in enumerate(matcher.headers):
        yield f"{path}.headers[{index}]", header
    for index, parameter in enumerate(matcher.query_parameters):
        yield f"{path}.queryParameters[{index}]", parameter
