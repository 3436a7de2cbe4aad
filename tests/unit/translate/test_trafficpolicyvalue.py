"""Times and names of headers in policies."""

from __future__ import annotations

import pytest

from meshpass.translate.trafficpolicyvalue import (
    duration_problem,
    header_problem,
    header_value_problem,
    milliseconds,
    token_problem,
)


@pytest.mark.parametrize(
    ("text", "count"),
    [("1ms", 1), ("0.5s", 500), ("1s500ms", 1500), ("1.5h", 5_400_000), ("8760h", 31_536_000_000), ("1500us500us", 2)],
)
def test_a_time_is_counted_in_milliseconds(text: str, count: int) -> None:
    """From one millisecond to a year."""
    assert duration_problem(text) is None
    assert milliseconds(text) == count


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", "is under 1ms"),
        ("0s", "is under 1ms"),
        ("999us", "is under 1ms"),
        ("1ns", "is under 1ms"),
        ("1.5ms", "is finer than a millisecond"),
        ("1s1us", "is finer than a millisecond"),
        ("8760h1ms", "is over 8760h"),
        ("9999999999999999999999999h", "is over 8760h"),
    ],
)
def test_a_time_that_envoy_cannot_count(text: str, problem: str) -> None:
    """Nothing is rounded, so that what holds is what was written."""
    assert duration_problem(text) == problem


@pytest.mark.parametrize("name", ["x", "X-User", "*", "a" * 256, "x_y.z"])
def test_names(name: str) -> None:
    """RFC 9110 §5.6.2."""
    assert token_problem(name) is None
    assert header_problem(name) is None


@pytest.mark.parametrize("name", ["", "a" * 257, "a b", "a:b", "ä", "a\r\nb", "a\n", "a\0", "(x)"])
def test_what_is_no_name(name: str) -> None:
    """A name that Envoy would refuse would take every route of the proxy with it."""
    assert token_problem(name) is not None
    assert header_problem(name) is not None


@pytest.mark.parametrize("name", ["host", "Host", ":path", ":authority", "x-meshpass-path", "X-Meshpass-Anything"])
def test_headers_that_no_policy_may_touch(name: str) -> None:
    """Where a request goes, and what filters tell each other, is not a policy's."""
    assert header_problem(name) is not None


@pytest.mark.parametrize("value", ["", "x", "a b", "100%", "ä", "v" * 4096])
def test_values(value: str) -> None:
    """Any text of one line."""
    assert header_value_problem(value) is None


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\0", "a\tb", "\x7f", "\ud800", " a", "a ", "v" * 4097])
def test_what_is_no_value(value: str) -> None:
    """No line ends in it, and it is of a size that Envoy's configuration takes."""
    assert header_value_problem(value) is not None
