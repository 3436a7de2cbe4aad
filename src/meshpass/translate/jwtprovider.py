"""A provider of a JWTPolicy → the IR's provider."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from meshpass.api.security import JWTProvider, TokenSource
from meshpass.ir import ClaimHeader, PayloadRules, Phase, TokenHeader
from meshpass.ir import JwtProvider as IrProvider
from meshpass.translate.claims import Problem
from meshpass.translate.selection_class import content_hash

DEFAULT_HEADERS = (TokenHeader("Authorization", "Bearer "),)
DEFAULT_QUERY_PARAMETERS = ("access_token",)
DEFAULT_CLOCK_SKEW_SECONDS = 60
MAX_READABLE = 40
MAX_NAME = 256
"""Characters of a claim, header, parameter or delimiter; more would not fit into Envoy's configuration of a header."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.1
_HEADER_VALUE = re.compile(r"[^\x00-\x1f\x7f]*")
_FRAMING_HEADERS = frozenset({"host", "connection", "content-length", "transfer-encoding", "te", "upgrade", "trailer"})
"""A claim in one of these would change where or how the request is read, not what it says."""
_OWN_PREFIX = "x-meshpass-"


def claim_headers(provider: JWTProvider) -> tuple[ClaimHeader, ...]:
    """The claims that are written to headers."""
    delimiter = provider.custom_delimiter or ","
    return tuple(
        ClaimHeader(
            claim=entry.claim,
            header=entry.header.lower(),
            append=entry.append,
            delimiter=delimiter if entry.append else ",",
        )
        for entry in provider.claims_to_headers
    )


def translate_provider(name: str, provider: JWTProvider, jwks: str, payload: PayloadRules, phase: Phase) -> IrProvider:
    """The provider; meant for one without ``provider_problems``."""
    source = provider.token_source or TokenSource()
    headers = tuple(TokenHeader(header.name, header.prefix) for header in source.headers)
    default_place = not headers and not source.query_params
    skew = DEFAULT_CLOCK_SKEW_SECONDS if provider.clock_skew_seconds is None else provider.clock_skew_seconds
    translated = IrProvider(
        name="",
        issuer=provider.issuer,
        audiences=provider.audiences,
        jwks=jwks,
        headers=DEFAULT_HEADERS if default_place else headers,
        query_parameters=DEFAULT_QUERY_PARAMETERS if default_place else source.query_params,
        keep_token=provider.keep_token,
        clock_skew_seconds=max(skew, 1),  # Envoy takes 0 for "unset", which would mean 60 seconds
        payload_header=provider.output_payload_to_header.lower(),
        # With the phase: what one phase verified is there in the other, which must not act on it once more.
        payload_key=f"payload-{content_hash((phase, payload))}",
    )
    readable = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:MAX_READABLE] or "provider"
    return replace(translated, name=f"{readable}-{content_hash(translated)}")


def provider_problems(provider: JWTProvider, path: str) -> Iterator[Problem]:
    """What is wrong with a provider, keys aside."""
    yield from _token_source_problems(provider, path)
    yield from _header_problems(provider, path)
    for index, audience in enumerate(provider.audiences):
        if not audience:
            yield f"{path}.audiences[{index}]", "is empty"
    if not _HEADER_VALUE.fullmatch(provider.custom_delimiter) or len(provider.custom_delimiter) > MAX_NAME:
        yield f"{path}.customDelimiter", f"has a control character, or over {MAX_NAME} characters"


def _token_source_problems(provider: JWTProvider, path: str) -> Iterator[Problem]:
    source = provider.token_source or TokenSource()
    for index, header in enumerate(source.headers):
        place = f"{path}.tokenSource.headers[{index}]"
        if not _is_header_name(header.name):
            yield f"{place}.name", "is no name of a header"
        if not _HEADER_VALUE.fullmatch(header.prefix) or len(header.prefix) > MAX_NAME:
            yield f"{place}.prefix", f"has a control character, or over {MAX_NAME} characters"
    for index, parameter in enumerate(source.query_params):
        if not 1 <= len(parameter) <= MAX_NAME:
            yield f"{path}.tokenSource.queryParams[{index}]", f"has not 1 to {MAX_NAME} characters"


def _header_problems(provider: JWTProvider, path: str) -> Iterator[Problem]:
    seen: dict[str, bool] = {}
    for index, entry in enumerate(provider.claims_to_headers):
        place = f"{path}.claimsToHeaders[{index}]"
        name = entry.header.lower()
        if not 1 <= len(entry.claim) <= MAX_NAME:
            yield f"{place}.claim", f"has not 1 to {MAX_NAME} characters"
        if not _is_writable(name):
            yield f"{place}.header", "is no name of a header that a claim may be in"
        elif seen.setdefault(name, entry.append) is not entry.append:
            yield f"{place}.append", f"{entry.header} is both appended to and overwritten"
    name = provider.output_payload_to_header.lower()
    if name and (not _is_writable(name) or name in seen):
        yield f"{path}.outputPayloadToHeader", "is no name of a header that the payload may be in"


def _is_header_name(name: str) -> bool:
    return len(name) <= MAX_NAME and bool(_HEADER_NAME.fullmatch(name))


def _is_writable(name: str) -> bool:
    return _is_header_name(name) and name not in _FRAMING_HEADERS and not name.startswith(_OWN_PREFIX)
