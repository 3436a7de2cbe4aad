"""Requests for certificates, as they go over the relay."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from meshpass.errors import XdsProtocolError


class SignPurpose(StrEnum):
    """What a certificate is for."""

    INTERMEDIATE = "intermediate"
    """To sign those of the cluster's workloads."""
    CREDENTIALS = "credentials"
    """To connect to the management server."""


class SignRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent asks for."""

    purpose: SignPurpose
    csr: str
    """PKCS #10 as PEM."""


def encode_sign_request(request: SignRequest) -> bytes:
    """The request as JSON."""
    return msgspec.json.encode(request)


def decode_sign_request(body: bytes) -> SignRequest:
    """What the bytes say. Raises XdsProtocolError."""
    try:
        return msgspec.json.decode(body, type=SignRequest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise XdsProtocolError(f"no request for a certificate: {error}") from error
