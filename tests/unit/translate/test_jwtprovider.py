"""A provider of a policy: defaults, names, and the mistakes that are found in it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshpass.api.security import ClaimToHeader, JWTProvider, TokenHeader, TokenSource
from meshpass.ir import JwtProvider as IrProvider
from meshpass.ir import PayloadRules, Phase
from meshpass.translate.jwtprovider import (
    DEFAULT_HEADERS,
    DEFAULT_QUERY_PARAMETERS,
    MAX_NAME,
    claim_headers,
    provider_problems,
    translate_provider,
)


def translate(provider: JWTProvider, name: str = "me", phase: Phase = Phase.PRE_AUTHZ) -> IrProvider:
    return translate_provider(name, provider, "keys", PayloadRules(), phase)


def problems(**values: object) -> list[tuple[str, str]]:
    return list(provider_problems(JWTProvider(**values), "p"))  # type: ignore[arg-type]


def copied(**values: object) -> tuple[ClaimToHeader, ...]:
    entry = {"claim": "org", "header": "x-org", **values}
    return (ClaimToHeader(**entry),)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", [None, TokenSource()])
def test_without_a_token_source_the_default_places_hold(source: TokenSource | None) -> None:
    """Both of them."""
    found = translate(JWTProvider(token_source=source))

    assert (found.headers, found.query_parameters) == (DEFAULT_HEADERS, DEFAULT_QUERY_PARAMETERS)


def test_a_token_source_replaces_both_default_places() -> None:
    """A header alone means no query parameter, and the other way round."""
    header = translate(JWTProvider(token_source=TokenSource(headers=(TokenHeader(name="X-Auth", prefix="Bearer "),))))
    query = translate(JWTProvider(token_source=TokenSource(query_params=("t",))))

    assert [(one.name, one.prefix) for one in header.headers] == [("X-Auth", "Bearer ")]
    assert header.query_parameters == ()
    assert (query.headers, query.query_parameters) == ((), ("t",))


@pytest.mark.parametrize(("given", "seconds"), [(None, 60), (0, 1), (1, 1), (90, 90)])
def test_clock_skew(given: int | None, seconds: int) -> None:
    """Unset is a minute; none at all cannot be told to Envoy, so it is the least that can."""
    assert translate(JWTProvider(clock_skew_seconds=given)).clock_skew_seconds == seconds


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        pytest.param("dev-example", "dev-example", id="plain"),
        pytest.param("https://a.example/", "https-a-example", id="url"),
        pytest.param("ä", "provider", id="nothing-readable"),
        pytest.param("n" * 100, "n" * 40, id="long"),
    ],
)
def test_a_name_is_readable_and_ends_in_a_hash(name: str, readable: str) -> None:
    """The hash is always whole."""
    found, _, digits = translate(JWTProvider(), name).name.rpartition("-")

    assert found == readable
    assert len(digits) == 16


def test_equal_providers_have_one_name_and_different_ones_another() -> None:
    """Every field counts, the keys among them."""
    plain = translate(JWTProvider())
    changes: tuple[JWTProvider, ...] = (
        JWTProvider(issuer="me"),
        JWTProvider(audiences=("a",)),
        JWTProvider(keep_token=True),
        JWTProvider(clock_skew_seconds=5),
        JWTProvider(output_payload_to_header="x-p"),
        JWTProvider(token_source=TokenSource(query_params=("t",))),
    )
    other_keys = translate_provider("me", JWTProvider(), "other keys", PayloadRules(), Phase.PRE_AUTHZ)
    names = {plain.name, other_keys.name, *(translate(one).name for one in changes)}

    assert translate(JWTProvider()) == plain
    assert len(names) == 2 + len(changes)


def test_the_payload_key_depends_on_what_is_done_with_the_payload_alone() -> None:
    """A change of keys must not change the filters that read the payload; the other phase must not read it."""
    plain = translate(JWTProvider())

    assert translate(JWTProvider(issuer="me", keep_token=True)).payload_key == plain.payload_key
    assert translate(JWTProvider(), phase=Phase.POST_AUTHZ).payload_key != plain.payload_key
    cleared = translate_provider("me", JWTProvider(), "keys", PayloadRules(clear_route_cache=True), Phase.PRE_AUTHZ)
    assert cleared.payload_key != plain.payload_key


def test_keys_are_not_shown() -> None:
    """They are public, but long, and shared ones are not public."""
    assert "SECRET" not in repr(replace(translate(JWTProvider()), jwks="SECRET"))


def test_headers_of_claims_are_lower_case_and_only_appended_ones_are_joined() -> None:
    """A delimiter on an overwritten header would be another content for the same effect."""
    provider = JWTProvider(
        claims_to_headers=(*copied(header="X-Org"), *copied(header="X-Email", claim="email", append=True)),
        custom_delimiter=";",
    )
    org, email = claim_headers(provider)

    assert (org.header, org.append, org.delimiter) == ("x-org", False, ",")
    assert (email.header, email.append, email.delimiter) == ("x-email", True, ";")


@pytest.mark.parametrize(
    ("values", "path"),
    [
        pytest.param({"audiences": ("a", "")}, "p.audiences[1]", id="empty-audience"),
        pytest.param({"custom_delimiter": "\n"}, "p.customDelimiter", id="delimiter-control"),
        pytest.param({"custom_delimiter": ";" * 257}, "p.customDelimiter", id="delimiter-long"),
        pytest.param(
            {"token_source": TokenSource(headers=(TokenHeader(name="x y"),))},
            "p.tokenSource.headers[0].name",
            id="name",
        ),
        pytest.param(
            {"token_source": TokenSource(headers=(TokenHeader(name=""),))},
            "p.tokenSource.headers[0].name",
            id="no-name",
        ),
        pytest.param(
            {"token_source": TokenSource(headers=(TokenHeader(name="x", prefix="a\r\n"),))},
            "p.tokenSource.headers[0].prefix",
            id="prefix",
        ),
        pytest.param(
            {"token_source": TokenSource(headers=(TokenHeader(name="x", prefix="p" * 257),))},
            "p.tokenSource.headers[0].prefix",
            id="long-prefix",
        ),
        pytest.param(
            {"token_source": TokenSource(query_params=("a", ""))}, "p.tokenSource.queryParams[1]", id="parameter"
        ),
        pytest.param(
            {"token_source": TokenSource(query_params=("q" * 257,))},
            "p.tokenSource.queryParams[0]",
            id="long-parameter",
        ),
        pytest.param({"claims_to_headers": copied(claim="")}, "p.claimsToHeaders[0].claim", id="no-claim"),
        pytest.param({"claims_to_headers": copied(claim="c" * 257)}, "p.claimsToHeaders[0].claim", id="long-claim"),
        pytest.param({"claims_to_headers": copied(header=":path")}, "p.claimsToHeaders[0].header", id="pseudo"),
        pytest.param({"claims_to_headers": copied(header="Host")}, "p.claimsToHeaders[0].header", id="host"),
        pytest.param(
            {"claims_to_headers": copied(header="Transfer-Encoding")}, "p.claimsToHeaders[0].header", id="framing"
        ),
        pytest.param(
            {"claims_to_headers": copied(header="X-Meshpass-Claim")}, "p.claimsToHeaders[0].header", id="ours"
        ),
        pytest.param({"claims_to_headers": copied(header="x" * 257)}, "p.claimsToHeaders[0].header", id="long-header"),
        pytest.param(
            {"claims_to_headers": (*copied(), *copied(header="X-Org", append=True))},
            "p.claimsToHeaders[1].append",
            id="both-appended-and-overwritten",
        ),
        pytest.param({"output_payload_to_header": "Host"}, "p.outputPayloadToHeader", id="payload-host"),
        pytest.param(
            {"output_payload_to_header": "X-Org", "claims_to_headers": copied()},
            "p.outputPayloadToHeader",
            id="payload-and-claim",
        ),
    ],
)
def test_a_mistake_is_found_at_its_field(values: dict[str, object], path: str) -> None:
    """One problem each."""
    assert [where for where, _ in problems(**values)] == [path]


def test_the_limits_themselves_are_fine() -> None:
    """And so is a header that two claims append to."""
    name = "x" * MAX_NAME
    assert not problems(
        audiences=("a",),
        custom_delimiter=";" * MAX_NAME,
        token_source=TokenSource(headers=(TokenHeader(name=name, prefix=name),), query_params=(name,)),
        claims_to_headers=(*copied(append=True), *copied(claim="c" * MAX_NAME, append=True)),
        output_payload_to_header="x-payload",
    )
