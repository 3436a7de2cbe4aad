"""Hosts on gateways: what an entry of allowedRouteTables allows, and which listener a server name leads to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from meshpass.api.common import ObjectSelector
from meshpass.api.objectset import ObjectKey
from meshpass.translate.gatewayhost import (
    AllowedTables,
    allowed_hosts,
    choose_server_name,
    covers,
    read_allowed_host,
    server_name,
)

TABLE = ObjectKey("RouteTable", "cluster1", "team", "table")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("www.example.com", ("", "www.example.com")),
        ("WWW.Example.com.", ("", "www.example.com")),
        ("*", ("", "*")),
        ("*/*", ("", "*")),
        ("./*.example.com", ("own", "*.example.com")),
        ("team/*-api.example.com", ("team", "*-api.example.com")),
        ("/www.example.com", None),
        ("a.*.com", None),
        ("team/", None),
        ("*.", None),
        ("http://www.example.com", None),
    ],
)
def test_a_host_may_have_a_namespace(text: str, expected: tuple[str, str] | None) -> None:
    """``*`` is any, ``.`` that of the VirtualGateway."""
    assert read_allowed_host(text, "own") == expected


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("*", "*", True),
        ("*", "*.example.com", True),
        ("www.example.com", "www.example.com", True),
        ("www.example.com", "*.example.com", False),
        ("*.example.com", "www.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "*.b.example.com", True),
        ("*.example.com", "*-b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "*", False),
        ("*-b.example.com", "a-b.example.com", True),
        ("*-b.example.com", "*.example.com", False),
        ("*.com", "*", False),
    ],
)
def test_a_pattern_covers_a_host_if_it_covers_all_of_it(pattern: str, host: str, expected: bool) -> None:
    """A wildcard is any text, dots too, as in Envoy."""
    assert covers(pattern, host) is expected


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        pytest.param({}, ("www.example.com", "api.example.com"), id="everything"),
        pytest.param({"host": "www.example.com"}, ("www.example.com",), id="host"),
        pytest.param({"namespace": "team"}, ("www.example.com", "api.example.com"), id="namespace"),
        pytest.param({"namespace": "other"}, (), id="other-namespace"),
        pytest.param(
            {"selector": ObjectSelector(labels={"a": "b"})}, ("www.example.com", "api.example.com"), id="labels"
        ),
        pytest.param({"selector": ObjectSelector(labels={"a": "c"})}, (), id="other-labels"),
        pytest.param({"selector": ObjectSelector(name="other")}, (), id="other-name"),
        pytest.param({"selector": ObjectSelector(namespace="other")}, (), id="other-namespace-of-the-selector"),
        pytest.param({"selector": ObjectSelector(cluster="other")}, (), id="other-cluster"),
        pytest.param({"selector": ObjectSelector(workspace="other")}, (), id="other-workspace"),
    ],
)
def test_all_of_an_entry_has_to_hold(entry: Mapping[str, object], expected: tuple[str, ...]) -> None:
    """Host, namespace and selector."""
    allowed = AllowedTables(**{"namespace": "", "host": "*", "selector": ObjectSelector(), **entry})  # type: ignore[arg-type]
    hosts = ("www.example.com", "api.example.com")

    assert allowed_hosts((allowed,), TABLE, "mesh", {"a": "b"}, hosts) == expected


def test_any_entry_allows() -> None:
    """Several add up; none allows nothing."""
    hosts = ("a.example.com", "b.example.com", "c.example.com")
    entries = tuple(AllowedTables(namespace="", host=host, selector=ObjectSelector()) for host in hosts[:2])

    assert allowed_hosts(entries, TABLE, "mesh", {}, hosts) == hosts[:2]
    assert allowed_hosts((), TABLE, "mesh", {}, hosts) == ()


@pytest.mark.parametrize(
    ("pattern", "host", "expected"),
    [
        ("*.example.com", "*", "*.example.com"),
        ("www.example.com", "*.example.com", "www.example.com"),
        ("*-api.example.com", "*.example.com", "*-api.example.com"),
        ("*.example.com", "www.example.com", "www.example.com"),
    ],
)
def test_the_narrower_of_two_hosts_is_served(pattern: str, host: str, expected: str) -> None:
    """Whether it is the table's or the listener's."""
    entry = AllowedTables(namespace="", host=pattern, selector=ObjectSelector())

    assert allowed_hosts((entry,), TABLE, "mesh", {}, (host,)) == (expected,)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("www.example.com", "www.example.com"),
        ("*.example.com", "*.example.com"),
        ("*", "*"),
        ("*-api.example.com", "*.example.com"),
        ("*api.example.com", "*.example.com"),
    ],
)
def test_a_host_is_asked_for_by_a_server_name_that_envoy_can_match(host: str, expected: str) -> None:
    """Envoy refuses a listener with a partial wildcard in its server names."""
    assert server_name(host) == expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("www.example.com", "www.example.com"),
        ("api.example.com", "*.example.com"),
        ("a.api.example.com", "*.api.example.com"),
        ("*.api.example.com", "*.api.example.com"),
        ("*-x.example.com", "*.example.com"),
        ("example.org", "*"),
        ("*", "*"),
    ],
)
def test_the_longest_server_name_has_a_host(host: str, expected: str) -> None:
    """As Envoy chooses a filter chain."""
    names = ("*", "*.example.com", "www.example.com", "*.api.example.com")

    assert choose_server_name(host, names) == expected


def test_a_host_without_a_server_name_is_nobodys() -> None:
    """Its connections are closed."""
    assert choose_server_name("example.org", ("*.example.com",)) is None
