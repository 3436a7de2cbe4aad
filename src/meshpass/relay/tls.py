"""Mutual TLS of the relay, with credentials that are read anew for every handshake."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from meshpass.identity.relay import RelayCredentials

logger = logging.getLogger(__name__)


def make_server_credentials(credentials: RelayCredentials) -> Any:
    """Of a server that lets nobody in without a certificate that its authority signed. Raises OSError."""
    return grpc.dynamic_ssl_server_credentials(
        _read_configuration(credentials), lambda: _try_read(credentials), require_client_authentication=True
    )


def make_channel_credentials(credentials: RelayCredentials) -> Any:
    """Of a client that shows what is in the files now. Raises OSError."""
    return grpc.ssl_channel_credentials(
        credentials.ca.read_bytes(), credentials.private_key.read_bytes(), credentials.certificate.read_bytes()
    )


def _try_read(credentials: RelayCredentials) -> Any:
    """None, for as before, where the files cannot be read; called by a thread of gRPC."""
    try:
        return _read_configuration(credentials)
    except OSError as error:
        logger.warning("credentials of the relay cannot be read", extra={"error": str(error)})
        return None


def _read_configuration(credentials: RelayCredentials) -> Any:
    pair = (credentials.private_key.read_bytes(), credentials.certificate.read_bytes())
    return grpc.ssl_server_certificate_configuration([pair], credentials.ca.read_bytes())
