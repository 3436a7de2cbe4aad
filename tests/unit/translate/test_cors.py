"""CORSPolicy: what it comes to, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest

from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.api.security import AllowedOrigin, CORSPolicy, CORSPolicyConfig, CORSPolicySpec
from meshpass.ir import Cors, OriginKind, OriginMatch, RouteOptions
from meshpass.translate.cors import translate_cors
from meshpass.translate.finding import Severity
from meshpass.translate.trafficpolicyoptions import PolicyOptions

KEY = ObjectKey("CORSPolicy", "cluster1", "httpbin", "policy")
SHOP = AllowedOrigin(exact="https://shop.example")


def translate(*problems: str, **config: Any) -> PolicyOptions:
    spec = CORSPolicySpec(config=CORSPolicyConfig(**config))
    return translate_cors(KEY, CORSPolicy(metadata=ObjectMeta(name="policy"), spec=spec), problems)


def said(found: PolicyOptions) -> list[tuple[Severity, str]]:
    return [(finding.severity, finding.path) for finding in found.findings]


def test_every_field_has_its_place() -> None:
    """Times in whole seconds; an unset limit stays unset."""
    found = translate(
        allow_origins=(
            SHOP,
            AllowedOrigin(prefix="https://A.", ignore_case=True),
            AllowedOrigin(regex=r"https://.*\.example", ignore_case=True),
        ),
        allow_methods=("GET", "PUT"),
        allow_headers=("x-auth",),
        expose_headers=("x-count",),
        max_age="1m1.5s",
        allow_credentials=True,
    )

    assert found.findings == ()
    assert found.options == RouteOptions(
        cors=Cors(
            allow_origins=(
                OriginMatch(OriginKind.EXACT, "https://shop.example"),
                OriginMatch(OriginKind.PREFIX, "https://A.", ignore_case=True),
                OriginMatch(OriginKind.REGEX, r"https://.*\.example"),
            ),
            allow_methods=("GET", "PUT"),
            allow_headers=("x-auth",),
            expose_headers=("x-count",),
            max_age_seconds=61,
            allow_credentials=True,
        )
    )
    assert translate(allow_origins=(SHOP,)).options == RouteOptions(
        cors=Cors(allow_origins=(OriginMatch(OriginKind.EXACT, "https://shop.example"),))
    )


@pytest.mark.parametrize(
    ("origin", "field"),
    [
        (AllowedOrigin(), ""),
        (AllowedOrigin(exact=""), ".exact"),
        (AllowedOrigin(prefix=""), ".prefix"),
        (AllowedOrigin(exact="a" * 257), ".exact"),
        (AllowedOrigin(exact="https://a b"), ".exact"),
        (AllowedOrigin(prefix="https://ä"), ".prefix"),
        (AllowedOrigin(exact="https://a\n"), ".exact"),
        (AllowedOrigin(suffix=".example"), ".suffix"),
        (AllowedOrigin(regex=""), ".regex"),
        (AllowedOrigin(regex="("), ".regex"),
        (AllowedOrigin(regex="a{1000}b{1000}"), ".regex"),
    ],
)
def test_an_origin_that_says_nothing_denies(origin: AllowedOrigin, field: str) -> None:
    """By its path."""
    found = translate(allow_origins=(SHOP, origin))

    assert said(found) == [(Severity.INVALID, f"spec.config.allowOrigins[1]{field}")]
    assert found.options is None


@pytest.mark.parametrize("field", ["allow_methods", "allow_headers", "expose_headers"])
def test_a_name_that_is_none_denies(field: str) -> None:
    """It would stand in a header of the answer."""
    found = translate(allow_origins=(SHOP,), **{field: ("ok", "a\r\nb")})

    assert [severity for severity, _ in said(found)] == [Severity.INVALID]
    assert found.findings[0].path.endswith("s[1]")
    assert found.options is None


def test_an_age_that_nobody_remembers_denies() -> None:
    """Zero is an age: nothing is remembered."""
    zero = translate(allow_origins=(SHOP,), max_age="0s").options

    assert zero is not None
    assert zero.cors is not None
    assert zero.cors.max_age_seconds == 0
    assert said(translate(allow_origins=(SHOP,), max_age="8761h")) == [(Severity.INVALID, "spec.config.maxAge")]
    assert said(translate(allow_origins=(SHOP,), max_age="9" * 30 + "h")) == [(Severity.INVALID, "spec.config.maxAge")]


def test_a_star_with_credentials_denies() -> None:
    """Browsers would take it for nobody, Envoy for everybody. Without credentials it is everybody to both."""
    star = AllowedOrigin(exact="*")

    denied = translate(allow_origins=(star,), allow_credentials=True)

    assert said(denied) == [(Severity.INVALID, "spec.config.allowOrigins[0].exact")]
    assert denied.options is None
    assert translate(allow_origins=(star,)).findings == ()
    assert translate(allow_origins=(star,), allow_credentials=False).options is not None


@pytest.mark.parametrize(
    "origin",
    [
        AllowedOrigin(regex=".*"),
        AllowedOrigin(regex=r"https://a|\*"),
        AllowedOrigin(regex=r"\Q*"),
        AllowedOrigin(prefix="*"),
    ],
)
def test_any_origin_with_credentials_is_warned_of(origin: AllowedOrigin) -> None:
    """Whatever matches the text * is any origin to Envoy; published samples do it, so it holds."""
    found = translate(allow_origins=(origin,), allow_credentials=True)

    assert [severity for severity, _ in said(found)] == [Severity.WARNING]
    assert "any page" in found.findings[0].message
    assert found.options is not None
    assert translate(allow_origins=(origin,)).findings == ()


@pytest.mark.parametrize("origin", [AllowedOrigin(regex="https://.*"), AllowedOrigin(regex="x.*"), SHOP])
def test_some_origins_with_credentials_are_nothing_special(origin: AllowedOrigin) -> None:
    """The expression is for the whole text."""
    assert translate(allow_origins=(origin,), allow_credentials=True).findings == ()


@pytest.mark.parametrize("text", ["shop.example", "https://shop.example/", "https://shop.example/a", "*.example"])
def test_text_that_no_browser_sends_is_told(text: str) -> None:
    """It lets nobody in and harms nobody."""
    found = translate(allow_origins=(AllowedOrigin(exact=text),))

    assert said(found) == [(Severity.WARNING, "spec.config.allowOrigins[0].exact")]
    assert found.options is not None


@pytest.mark.parametrize("text", ["null", "http://localhost:3000", "app://x", "https://[::1]:8"])
def test_text_that_browsers_send(text: str) -> None:
    """RFC 6454 §6.2."""
    assert translate(allow_origins=(AllowedOrigin(exact=text),)).findings == ()


def test_a_star_for_names_with_credentials_is_explained() -> None:
    """It holds, and means less than it seems to."""
    found = translate(allow_origins=(SHOP,), allow_headers=("*",), allow_credentials=True)

    assert said(found) == [(Severity.NOTE, "spec.config.allowHeaders[0]")]
    assert found.options is not None
    assert translate(allow_origins=(SHOP,), allow_headers=("*",)).findings == ()


def test_no_origin_lets_nobody_in() -> None:
    """Said once, and not where part of the manifest could not be read."""
    assert said(translate()) == [(Severity.WARNING, "spec.config.allowOrigins")]
    found = translate("spec.config.allowOrigins: expected list, got string")
    assert [str(finding) for finding in found.findings] == ["spec.config.allowOrigins: expected list, got string"]
    assert found.options is None
