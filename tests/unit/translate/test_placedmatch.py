"""What two matchers come to together."""

from __future__ import annotations

import pytest
from tests.support.route_oracle import path_matches

from meshpass.ir import HeaderMatch, PathExact, PathMatch, PathPrefix, PathRegex, QueryMatch, RouteMatch
from meshpass.translate.placedmatch import ANY_REQUEST, PlacedMatch, conjoin, specificity


def placed(path: PathMatch, *also: PathMatch) -> PlacedMatch:
    return PlacedMatch(None, RouteMatch(path=path, also=also))


def paths(one: PathMatch, other: PathMatch) -> tuple[PathMatch, ...] | None:
    found = conjoin(placed(one), placed(other))
    return None if found is None else (found.match.path, *found.match.also)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (PathPrefix("/"), PathExact("/get"), [PathExact("/get")]),
        (PathPrefix("/a"), PathPrefix("/a/b"), [PathPrefix("/a/b")]),
        (PathPrefix("/a"), PathPrefix("/b"), None),
        (PathPrefix("/a"), PathPrefix("/A"), None),
        (PathPrefix("/a"), PathPrefix("/A/b", True), [PathPrefix("/A/b", True), PathPrefix("/a")]),
        (PathPrefix("/a", True), PathPrefix("/A/b"), [PathPrefix("/A/b")]),
        (PathPrefix("/a", True), PathPrefix("/B", True), None),
        (PathExact("/a/b"), PathPrefix("/a"), [PathExact("/a/b")]),
        (PathExact("/a/b"), PathPrefix("/b"), None),
        (PathExact("/a"), PathExact("/a"), [PathExact("/a")]),
        (PathExact("/a"), PathExact("/b"), None),
        (PathExact("/a", True), PathExact("/A"), [PathExact("/A")]),
        (PathExact("/a", True), PathExact("/a", True), [PathExact("/a", True)]),
        (PathExact("/a", True), PathPrefix("/A"), [PathExact("/a", True), PathPrefix("/A")]),
        (PathExact("/a/b", True), PathPrefix("/A", True), [PathExact("/a/b", True)]),
        (PathExact("/a/1"), PathRegex("/a/[0-9]"), [PathExact("/a/1")]),
        (PathExact("/a/12"), PathRegex("/a/[0-9]"), None),
        (PathExact("/b"), PathRegex("/a|/b"), [PathExact("/b")]),
        (PathRegex("/a.*"), PathPrefix("/"), [PathRegex("/a.*")]),
        (PathRegex("/a.*"), PathPrefix("/a/b"), [PathRegex("/a.*"), PathPrefix("/a/b")]),
        (PathRegex("/a.*"), PathRegex(".*b"), [PathRegex("/a.*"), PathRegex(".*b")]),
        (PathRegex("/a.*"), PathRegex("/a.*"), [PathRegex("/a.*")]),
    ],
)
def test_paths_come_to_the_least_that_says_both(one: PathMatch, other: PathMatch, both: list[PathMatch] | None) -> None:
    """Nothing that follows from the rest is left, what excludes the rest is None; the order does not matter."""
    assert paths(one, other) == (None if both is None else tuple(both))
    reverse = paths(other, one)
    assert (None if reverse is None else set(reverse)) == (None if both is None else set(both))


def test_many_levels_keep_every_condition() -> None:
    """Each further table adds what it asks; what was asked above is not lost."""
    found = ANY_REQUEST
    conditions: list[PathMatch] = [PathRegex("/a.*"), PathPrefix("/A/b", True), PathRegex(".*c"), PathPrefix("/a")]
    for condition in conditions:
        both = conjoin(found, placed(condition))
        assert both is not None
        found = both
    for path in ("/a/b/c", "/a/bc", "/A/b/c", "/a/b", "/a/c", "/a/B/c"):
        wanted = all(path_matches(condition, path) for condition in conditions)
        assert all(path_matches(one, path) for one in (found.match.path, *found.match.also)) == wanted, path


def test_ports_and_methods_are_equal_or_exclude_each_other() -> None:
    """One that asks for none takes the other's."""
    get, post = (PlacedMatch(None, RouteMatch(method=method)) for method in ("GET", "POST"))
    assert conjoin(get, post) is None
    assert conjoin(get, PlacedMatch(80, RouteMatch())) == PlacedMatch(80, RouteMatch(method="GET"))
    assert conjoin(PlacedMatch(80, RouteMatch()), get) == PlacedMatch(80, RouteMatch(method="GET"))
    assert conjoin(PlacedMatch(80, RouteMatch()), PlacedMatch(81, RouteMatch())) is None


def test_headers_and_parameters_add_up() -> None:
    """Each once."""
    one = RouteMatch(headers=(HeaderMatch(name="a"), HeaderMatch(name="b")), query_parameters=(QueryMatch(name="q"),))
    other = RouteMatch(headers=(HeaderMatch(name="b"), HeaderMatch(name="a", value="1")))
    found = conjoin(PlacedMatch(None, one), PlacedMatch(None, other))
    assert found is not None
    assert found.match.headers == (*one.headers, HeaderMatch(name="a", value="1"))
    assert found.match.query_parameters == one.query_parameters


def test_specificity_sorts_exact_then_expressions_then_prefixes() -> None:
    """Longer before shorter, but of expressions."""
    ordered: list[PathMatch] = [
        PathExact("/a/b"),
        PathExact("/"),
        PathRegex("/.*"),
        PathPrefix("/a/b/c"),
        PathPrefix("/a"),
        PathPrefix("/"),
    ]
    found = ordered[::-1]
    found.sort(key=lambda path: specificity(placed(path)))
    assert found == ordered
    assert specificity(placed(PathRegex("/"))) == specificity(placed(PathRegex("/long/.*")))
