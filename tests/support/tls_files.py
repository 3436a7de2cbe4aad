"""TlsFiles: certificates in files, for Envoys that are told of files which are not on this machine.

proxy = TlsFiles.write(directory).put_into(proxy)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from tests.support.gateway_objects import make_pair

from meshpass.ir import Backend, DownstreamTls, GatewayListener, Listener, Proxy, UpstreamTls

Tls = TypeVar("Tls", DownstreamTls, UpstreamTls)


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """A certificate, which is its own authority, and its key."""

    certificate: Path
    private_key: Path

    @staticmethod
    def write(directory: Path) -> TlsFiles:
        """New ones, in files of this directory."""
        files = TlsFiles(certificate=directory / "certificate.pem", private_key=directory / "key.pem")
        certificate, private_key = make_pair()
        files.certificate.write_text(certificate)
        files.private_key.write_text(private_key)
        return files

    def put_into(self, proxy: Proxy) -> Proxy:
        """The proxy, with these files wherever it names others."""
        return replace(
            proxy,
            listeners=tuple(map(self._listener, proxy.listeners)),
            backends=tuple(map(self._backend, proxy.backends)),
        )

    def _listener(self, listener: Listener) -> Listener:
        if not isinstance(listener, GatewayListener):
            return listener
        chains = (
            replace(chain, tls=self._replace(chain.tls)) if chain.tls is not None else chain
            for chain in listener.chains
        )
        return replace(listener, chains=tuple(chains))

    def _backend(self, backend: Backend) -> Backend:
        return replace(backend, tls=self._replace(backend.tls)) if backend.tls is not None else backend

    def _replace(self, tls: Tls) -> Tls:
        return replace(
            tls,
            certificate_file=tls.certificate_file and str(self.certificate),
            private_key_file=tls.private_key_file and str(self.private_key),
            authorities_file=tls.authorities_file and str(self.certificate),
        )
