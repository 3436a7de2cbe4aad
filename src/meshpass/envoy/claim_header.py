"""PolicySet → the configuration of the filter that writes claims to request headers."""

from __future__ import annotations

import re

from envoy.config.common.mutation_rules.v3.mutation_rules_pb2 import HeaderMutation as Mutation
from envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from envoy.extensions.filters.http.header_mutation.v3.header_mutation_pb2 import HeaderMutation, Mutations

from meshpass.envoy.filters import CLAIM_HEADER_FILTER, JWT_METADATA, build_extension_config
from meshpass.envoy.snapshot import Resource
from meshpass.ir import ClaimHeader, PolicySet

_PLAIN_CLAIM = re.compile(r"[A-Za-z0-9_./-]+")


def build_claim_header_filter(policies: PolicySet) -> Resource:
    """The claim-header filter: for each payload key, its claims to their headers.

    A mutation reads the payload under its own key, which only a provider with just these claim headers writes, so it
    does nothing on the requests of others. An absent claim formats to nothing, and nothing is not written.
    """
    by_key = policies.claim_headers
    mutations = [_build_mutation(key, entry) for key in sorted(by_key) for entry in by_key[key]]
    message = HeaderMutation(mutations=Mutations(request_mutations=mutations))
    return build_extension_config(CLAIM_HEADER_FILTER, message, policies.sources)


def _build_mutation(payload_key: str, entry: ClaimHeader) -> Mutation:
    # The JWT filter has already removed the client's copy of a header that is not appended to.
    return Mutation(
        append=HeaderValueOption(
            header=HeaderValue(key=entry.header, value=_claim_format(payload_key, entry.claim)),
            append_action=HeaderValueOption.APPEND_IF_EXISTS_OR_ADD,
        )
    )


def _claim_format(payload_key: str, claim: str) -> str:
    if _PLAIN_CLAIM.fullmatch(claim):
        return f"%DYNAMIC_METADATA({JWT_METADATA}:{payload_key}:{claim})%"
    # The command above splits at colons and ends at a parenthesis; a claim named by a URL needs an expression.
    literal = "".join(f"\\U{ord(character):08x}" for character in claim)
    return f"%CEL(metadata.filter_metadata['{JWT_METADATA}']['{payload_key}']['{literal}'])%"
