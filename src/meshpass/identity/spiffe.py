"""SPIFFE IDs: which names are well formed, and which authority may stand for which of them."""

from __future__ import annotations

import re

from cryptography import x509

from meshpass.errors import MeshpassError

MAX_BYTES = 2048
"""SPIFFE-ID §2.3."""

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}", re.ASCII)
_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+", re.ASCII)


def check_trust_domain(text: str) -> str:
    """The text, if it is the name of a trust domain (SPIFFE-ID §2.1). Raises MeshpassError where it is not."""
    if not _TRUST_DOMAIN.fullmatch(text):
        raise MeshpassError(
            f"{text!r} is no trust domain: one has at most 255 lower-case letters, digits, dots, dashes and underscores",
            hint="take the name of a domain, such as `cluster.local`",
        )
    return text


def is_spiffe_id(text: str) -> bool:
    """True for what may be the SPIFFE ID of a workload: a path of whole segments (SPIFFE-ID §2.2)."""
    return (
        len(text) <= MAX_BYTES
        and _ID.fullmatch(text) is not None
        and not any(segment in {".", ".."} for segment in text.split("/"))
    )


def agent_id(trust_domain: str, cluster: str) -> str:
    """The SPIFFE ID by which the management server knows the agent of a cluster."""
    return f"spiffe://{trust_domain}/meshpass/agent/{cluster}"


def uri_names(certificate: x509.Certificate) -> tuple[str, ...]:
    """The URIs among the certificate's names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
