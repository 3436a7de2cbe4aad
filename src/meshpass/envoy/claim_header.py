"""PolicySet → the configuration of the filter that writes claims to request headers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation, Mutations

from meshpass.envoy.filters import JWT_METADATA, PAYLOAD_HEADER, Side, Stage, build_extension_config, filter_name
from meshpass.envoy.snapshot import Resource
from meshpass.ir import ClaimHeader, PayloadRules, Phase, PolicySet

_APPEND = HeaderValueOption.APPEND_IF_EXISTS_OR_ADD
_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
_OVERWRITE_EXISTING = HeaderValueOption.OVERWRITE_IF_EXISTS
_ADD_ABSENT = HeaderValueOption.ADD_IF_ABSENT

SAVED = "x-meshpass-saved-"
"""Before the name of a header: the client's value of it, until a policy that appends to it has been found to hold."""
CLAIM = "x-meshpass-claim"
JOINED = "x-meshpass-joined"

_PLAIN_CLAIM = re.compile(r"[A-Za-z0-9_./-]+")


def build_claim_header_filter(side: Side, phase: Phase, policies: PolicySet) -> Resource:
    """The claim-header filter of a phase.

    The first phase removes the client's copy of every header that some policy overwrites, on all routes: such a header
    reaches the application from a verified token or not at all. Where another policy appends to the same header, the
    client's copy is kept aside until a payload of that policy is there. A mutation reads the payload under its own key,
    so it does nothing on the requests of others. What formats to nothing, such as an absent claim, is not written.
    """
    payloads = policies.of(phase).payloads
    mutations = _strip(policies) if phase is Phase.PRE_AUTHZ else []
    mixed = _mixed(policies)
    for key in sorted(payloads):
        for entry in payloads[key].claim_headers:
            if entry.append and entry.header in mixed:
                kept = _when(key, _request_header(SAVED + entry.header))
                mutations.append(_write(entry.header, kept, _OVERWRITE))
            mutations.extend(_write_claim(key, entry))
    for header in sorted({payload.payload_header for payload in payloads.values()} - {""}):
        mutations.append(_write(header, f"%REQ({PAYLOAD_HEADER}{header})%", _OVERWRITE))
        mutations.append(Mutation(remove=PAYLOAD_HEADER + header))
    if phase is Phase.POST_AUTHZ:
        mutations.extend(Mutation(remove=SAVED + header) for header in mixed)
    message = HeaderMutation(mutations=Mutations(request_mutations=mutations))
    return build_extension_config(filter_name(side, phase, Stage.CLAIM_HEADERS), message, policies.sources)


def _all_payloads(policies: PolicySet) -> Iterable[PayloadRules]:
    return (*policies.pre.payloads.values(), *policies.post.payloads.values())


def _headers(policies: PolicySet, *, append: bool) -> set[str]:
    entries = (entry for payload in _all_payloads(policies) for entry in payload.claim_headers)
    headers = {entry.header for entry in entries if entry.append is append}
    return headers if append else headers | ({payload.payload_header for payload in _all_payloads(policies)} - {""})


def _mixed(policies: PolicySet) -> list[str]:
    """Headers that one policy overwrites and another appends to."""
    return sorted(_headers(policies, append=False) & _headers(policies, append=True))


def _strip(policies: PolicySet) -> list[Mutation]:
    mutations = []
    mixed = _mixed(policies)
    for header in sorted(_headers(policies, append=False)):
        if header in mixed:
            mutations.append(Mutation(remove=SAVED + header))
            mutations.append(_write(SAVED + header, f"%CEL({_request_header(header)})%", _OVERWRITE))
        mutations.append(Mutation(remove=header))
    return mutations


def _write_claim(payload_key: str, entry: ClaimHeader) -> Iterator[Mutation]:
    if not entry.append:
        yield from _write_value(entry.header, payload_key, entry.claim)
        return
    # Headers that live within this filter: the claim; the client's value, if both are there; both joined.
    yield Mutation(remove=CLAIM)
    yield from _write_value(CLAIM, payload_key, entry.claim)
    if entry.delimiter == ",":
        yield _write(entry.header, f"%REQ({CLAIM})%", _APPEND)
    else:
        yield Mutation(remove=JOINED)
        both = f"%CEL([{_request_header(CLAIM)}, {_request_header(entry.header)}][1])%"
        yield _write(JOINED, both, _OVERWRITE)
        delimiter = entry.delimiter.replace("%", "%%")
        yield _write(JOINED, f"%REQ({JOINED})%{delimiter}%REQ({CLAIM})%", _OVERWRITE_EXISTING)
        # A client's empty value is nothing to join, and must not keep the claim out.
        yield _write(JOINED, f"%REQ({CLAIM})%", _ADD_ABSENT)
        yield _write(entry.header, f"%REQ({JOINED})%", _OVERWRITE)
        yield Mutation(remove=JOINED)
    yield Mutation(remove=CLAIM)


def _write_value(header: str, payload_key: str, claim: str) -> Iterator[Mutation]:
    """The claim as text. A whole number is written once more in digits: the first time, a large one is 1.7e+09."""
    value = f"{_payload(payload_key)}['{_quote(claim)}']"
    plain = _PLAIN_CLAIM.fullmatch(claim)
    # The command for metadata renders lists and objects as JSON, but splits at colons and ends at a parenthesis; a claim
    # named by a URL needs an expression.
    text = f"%DYNAMIC_METADATA({JWT_METADATA}:{payload_key}:{claim})%" if plain else f"%CEL({value})%"
    yield _write(header, text, _OVERWRITE)
    # An expression with a part that is not there, here the entry for False, formats to nothing.
    yield _write(header, f"%CEL({{true: int({value})}}[double(int({value})) == {value}])%", _OVERWRITE)


def _write(header: str, value: str, action: HeaderValueOption.HeaderAppendAction) -> Mutation:
    return Mutation(append=HeaderValueOption(header=HeaderValue(key=header, value=value), append_action=action))


def _payload(payload_key: str) -> str:
    return f"metadata.filter_metadata['{JWT_METADATA}']['{payload_key}']"


def _request_header(name: str) -> str:
    return f"request.headers['{_quote(name)}']"


def _when(payload_key: str, value: str) -> str:
    """The value if there is a payload under the key: an expression with a part that is not there formats to nothing."""
    return f"%CEL([{_payload(payload_key)}, {value}][1])%"


def _quote(text: str) -> str:
    """Text inside a CEL literal, with nothing in it that the formatter or CEL could read as its own."""
    plain = re.compile(r"[A-Za-z0-9_-]")
    return "".join(c if plain.match(c) else f"\\U{ord(c):08x}" for c in text)
