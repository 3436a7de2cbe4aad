"""Hosts of route tables."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshpass.translate.host import host_problem, normalize_host


@pytest.mark.parametrize(
    "host",
    [
        "www.example.com",
        "WWW.Example.COM",
        "example",
        "a",
        "www.example.com.",
        "*.example.com",
        "*-api.example.com",
        "*.a",
        "1.2.3.4a",
        "xn--bcher-kva.example",
        "a--b.c",
        f"{'a' * 63}.com",
    ],
)
def test_valid(host: str) -> None:
    """These can be served."""
    assert host_problem(host) is None


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("*", "on gateways only"),
        ("", "1 to 255"),
        (".", "no part of a DNS name"),
        ("a..b", "no part"),
        ("a b", "no part"),
        ("a_b.com", "no part"),
        ("-a.com", "no part"),
        ("a-.com", "no part"),
        ("a.*.com", "no part"),
        ("a*.com", "wildcard stands at the start"),
        ("**.com", "wildcard stands at the start"),
        ("*-.com", "wildcard stands at the start"),
        ("*a", "domain after it"),
        ("10.0.0.1", "not a number"),
        ("*.1", "not a number"),
        ("a:80", "no part"),
        ("http://a", "no part"),
        ("a.com\n", "no part"),
        ("münchen.de", "no part"),
        (f"{'a' * 64}.com", "no part"),
        ("a." * 128 + "com", "1 to 255"),
    ],
)
def test_invalid(host: str, words: str) -> None:
    """These cannot, and the reason is said."""
    problem = host_problem(host)

    assert problem is not None
    assert words in problem


@pytest.mark.parametrize(("host", "form"), [("A.Example.COM.", "a.example.com"), ("a", "a"), ("*.A", "*.a")])
def test_one_form(host: str, form: str) -> None:
    """Case and a trailing dot make no other host."""
    assert normalize_host(host) == form


@given(st.text(alphabet="aA0.*-_: \n", max_size=12) | st.text(max_size=8))
def test_a_valid_host_has_one_form_that_is_valid(host: str) -> None:
    """Whatever passes is plain ASCII without port or space, and normalising it again changes nothing."""
    if host_problem(host) is not None:
        return
    form = normalize_host(host)
    assert form.isascii()
    assert not set(form) & set(": \n/")
    assert normalize_host(form) == form
    assert host_problem(form) is None
