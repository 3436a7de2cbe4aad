"""HeaderManipulationPolicy: what it comes to, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from meshpass.api.common import RouteDestinationSelector
from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.api.trafficcontrol import (
    HeaderManipulationPolicy,
    HeaderManipulationPolicyConfig,
    HeaderManipulationPolicySpec,
)
from meshpass.ir import HeaderChanges, HeaderValue, RouteOptions
from meshpass.translate.finding import Severity
from meshpass.translate.headermanipulation import translate_header_manipulation
from meshpass.translate.trafficpolicyoptions import PolicyOptions

KEY = ObjectKey("HeaderManipulationPolicy", "cluster1", "httpbin", "policy")
ADD = ["append_request_headers", "append_response_headers"]
REMOVE = ["remove_request_headers", "remove_response_headers"]


def translate(*problems: str, **config: Any) -> PolicyOptions:
    return of_spec(HeaderManipulationPolicySpec(config=HeaderManipulationPolicyConfig(**config)), *problems)


def of_spec(spec: HeaderManipulationPolicySpec, *problems: str) -> PolicyOptions:
    policy = HeaderManipulationPolicy(metadata=ObjectMeta(name="policy"), spec=spec)
    return translate_header_manipulation(KEY, policy, problems)


def said(found: PolicyOptions) -> list[Severity]:
    return [finding.severity for finding in found.findings]


def test_every_field_has_its_place() -> None:
    """Names in small letters, which is their form in HTTP/2, and in one order whatever the manifest's."""
    found = translate(
        append_request_headers={"X-B": "2", "X-A": "1"},
        remove_request_headers=("User-Agent", "user-agent"),
        append_response_headers={"x-c": ""},
        remove_response_headers=("Content-Length", "server"),
    )

    assert found.findings == ()
    assert found.options == RouteOptions(
        headers=HeaderChanges(
            add_to_request=(HeaderValue(name="x-a", value="1"), HeaderValue(name="x-b", value="2")),
            remove_from_request=("user-agent",),
            add_to_response=(HeaderValue(name="x-c", value=""),),
            remove_from_response=("content-length", "server"),
        )
    )


@pytest.mark.parametrize("field", ADD)
@pytest.mark.parametrize(
    "name", ["", "a b", ":path", "Host", "x-meshpass-x", "Content-Length", "transfer-encoding", "connection", "upgrade"]
)
def test_headers_that_may_not_be_added_deny(field: str, name: str) -> None:
    """What they say decides where a message goes or ends."""
    found = translate(**{field: {"ok": "1", name: "1"}})

    assert said(found) == [Severity.INVALID]
    assert found.findings[0].path.endswith(f"Headers[{name}]")
    assert found.options is None


@pytest.mark.parametrize("field", ADD)
@pytest.mark.parametrize("value", ["a\r\nx: y", "\0", " a", "x" * 5000])
def test_values_that_are_none_deny(field: str, value: str) -> None:
    """No header is smuggled in."""
    assert said(translate(**{field: {"x": value}})) == [Severity.INVALID]


@pytest.mark.parametrize("field", REMOVE)
@pytest.mark.parametrize("name", ["", "a b", ":path", "HOST", "x-meshpass-x", "a" * 257])
def test_headers_that_may_not_be_removed_deny(field: str, name: str) -> None:
    """Envoy refuses some of them, and all routes with them."""
    found = translate(**{field: ("ok", name)})

    assert said(found) == [Severity.INVALID]
    assert found.findings[0].path.endswith("Headers[1]")
    assert found.options is None


def test_commands_of_envoy_are_text() -> None:
    """They could tell a token, or the environment of the proxy."""
    found = translate(append_request_headers={"x": "%REQ(authorization)%", "y": "100% sure"})

    assert said(found) == [Severity.WARNING]
    assert found.findings[0].path == "spec.config.appendRequestHeaders[x]"
    assert found.options is not None
    assert found.options.headers is not None
    assert [one.value for one in found.options.headers.add_to_request] == ["%REQ(authorization)%", "100% sure"]


def test_underscores_are_warned_of() -> None:
    """The proxy in front of the application refuses requests that have one in the name of a header."""
    (finding,) = translate(append_request_headers={"x_a": "1"}, append_response_headers={"x_b": "1"}).findings

    assert (finding.severity, finding.path) == (Severity.WARNING, "spec.config.appendRequestHeaders[x_a]")


def test_single_destinations_have_no_effect_yet() -> None:
    """Said once, however many there are."""
    config = HeaderManipulationPolicyConfig(remove_request_headers=("x",))
    one = RouteDestinationSelector()

    found = of_spec(HeaderManipulationPolicySpec(apply_to_route_destinations=(one, one), config=config))

    assert [str(finding) for finding in found.findings] == ["no effect yet: spec.applyToRouteDestinations"]


def test_a_policy_that_changes_nothing_is_told() -> None:
    """It still keeps younger ones from its routes."""
    assert said(translate()) == [Severity.WARNING]
    assert translate().options == RouteOptions(headers=HeaderChanges())
    assert translate("spec.config: expected object, got list").options is None
