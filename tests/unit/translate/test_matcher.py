"""Matchers of routes: conditions for a proxy, or why they cannot be told to one."""

from __future__ import annotations

import pytest

from meshpass.api.routetable import HeaderMatcher, HTTPRequestMatcher, QueryParameterMatcher, StringMatch
from meshpass.ir import HeaderMatch, PathExact, PathMatch, PathPrefix, PathRegex, QueryMatch, RouteMatch
from meshpass.translate.matcher import MatcherProblem, translate_matcher
from meshpass.translate.placedmatch import PlacedMatch


def translate(**fields: object) -> RouteMatch | MatcherProblem:
    found = translate_matcher(HTTPRequestMatcher(**fields), "m")  # type: ignore[arg-type]
    return found if isinstance(found, MatcherProblem) else found.match


def test_a_port_is_where_the_match_is_placed() -> None:
    """The port is no condition of the match itself: it says in which virtual hosts the route is."""
    for port, placed in ((0, None), (8080, 8080)):
        found = translate_matcher(HTTPRequestMatcher(port=port), "m")

        assert isinstance(found, PlacedMatch)
        assert (found.port, found.match) == (placed, RouteMatch())


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        pytest.param(None, PathPrefix("/"), id="none"),
        pytest.param(StringMatch(), PathPrefix("/"), id="empty"),
        pytest.param(StringMatch(prefix=""), PathPrefix("/"), id="empty-prefix"),
        pytest.param(StringMatch(prefix="/a", ignore_case=True), PathPrefix("/a", ignore_case=True), id="prefix"),
        pytest.param(StringMatch(exact="/a"), PathExact("/a"), id="exact"),
        pytest.param(StringMatch(exact="/a", ignore_case=True), PathExact("/a", ignore_case=True), id="any-case"),
        pytest.param(StringMatch(regex="/a.*"), PathRegex("/a.*"), id="regex"),
    ],
)
def test_paths(uri: StringMatch | None, path: PathMatch) -> None:
    """Without a path, every path."""
    found = translate(uri=uri)

    assert isinstance(found, RouteMatch)
    assert found.path == path


def test_conditions_keep_their_order_and_meaning() -> None:
    """A name alone asks for presence; names of headers have no case, names of parameters do."""
    found = translate(
        headers=(
            HeaderMatcher(name="X-Mesh"),
            HeaderMatcher(name="x-a", value="1", invert_match=True),
            HeaderMatcher(name=":authority", value="a.*", regex=True),
        ),
        query_parameters=(QueryParameterMatcher(name="Q"), QueryParameterMatcher(name="r", value="v", regex=True)),
        method="POST",
    )

    assert isinstance(found, RouteMatch)
    assert found.headers == (
        HeaderMatch(name="x-mesh"),
        HeaderMatch(name="x-a", value="1", invert=True),
        HeaderMatch(name=":authority", value="a.*", regex=True),
    )
    assert found.query_parameters == (QueryMatch(name="Q"), QueryMatch(name="r", value="v", regex=True))
    assert found.method == "POST"


def test_no_method_means_any() -> None:
    """An empty text is no method."""
    found = translate(method="")

    assert isinstance(found, RouteMatch)
    assert found.method is None


@pytest.mark.parametrize(
    ("fields", "path", "words"),
    [
        pytest.param({"uri": StringMatch(exact="")}, "m.uri.exact", "is empty", id="empty-exact"),
        pytest.param({"uri": StringMatch(suffix="x")}, "m.uri.suffix", "not supported", id="suffix"),
        pytest.param({"uri": StringMatch(regex="(")}, "m.uri.regex", "", id="bad-regex"),
        pytest.param({"headers": (HeaderMatcher(),)}, "m.headers[0].name", "has not 1 to 256", id="no-name"),
        pytest.param(
            {"headers": (HeaderMatcher(name="x"), HeaderMatcher(name="x y"))},
            "m.headers[1].name",
            "no name of a header",
            id="bad-name",
        ),
        pytest.param(
            {"headers": (HeaderMatcher(name="x", value="a\nb"),)}, "m.headers[0].value", "control", id="control"
        ),
        pytest.param(
            {"headers": (HeaderMatcher(name="x", value="(", regex=True),)}, "m.headers[0].value", "", id="header-regex"
        ),
        pytest.param(
            {"query_parameters": (QueryParameterMatcher(name="q" * 257),)},
            "m.queryParameters[0].name",
            "has not 1 to 256",
            id="long-parameter",
        ),
        pytest.param(
            {"query_parameters": (QueryParameterMatcher(name="q", value="[", regex=True),)},
            "m.queryParameters[0].value",
            "",
            id="parameter-regex",
        ),
    ],
)
def test_what_cannot_be_expressed_is_a_problem_and_no_match(fields: dict[str, object], path: str, words: str) -> None:
    """The route must not match without the condition."""
    found = translate(**fields)

    assert isinstance(found, MatcherProblem)
    assert found.path == path
    assert found.message
    assert words in found.message


def test_a_plain_value_may_look_like_a_broken_expression() -> None:
    """It is one only where the matcher says so."""
    assert isinstance(translate(headers=(HeaderMatcher(name="x", value="("),)), RouteMatch)
