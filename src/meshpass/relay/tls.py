"""Mutual TLS of the relay: credentials as they were at one moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from meshpass.identity.relay import RelayCredentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Pem:
    """What was in the files of the credentials."""

    ca: bytes
    certificate: bytes
    private_key: bytes = field(repr=False)

    @classmethod
    def read(cls, credentials: RelayCredentials) -> Self:
        """What is in them now. Raises OSError."""
        return cls(
            ca=credentials.ca.read_bytes(),
            certificate=credentials.certificate.read_bytes(),
            private_key=credentials.private_key.read_bytes(),
        )

    def for_server(self) -> Any:
        """Of a server that lets nobody in without a certificate that its authority signed."""
        # Not gRPC's dynamic ones, which ask for the files at every handshake: clients that go in the middle of one
        # were seen to bring the process down (grpcio 1.85.1).
        return grpc.ssl_server_credentials([(self.private_key, self.certificate)], self.ca, require_client_auth=True)

    def for_client(self) -> Any:
        """Of a client that shows its certificate."""
        return grpc.ssl_channel_credentials(self.ca, self.private_key, self.certificate)
