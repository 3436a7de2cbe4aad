"""MutualTls: how key sets are asked for where a proxy of the mesh ends the connection. Does IO."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from meshpass.jwks.failure import FetchError
from meshpass.secretfile import write_secret_file
from meshpass.translate.identity import NO_IDENTITIES, Identities, control_plane_id
from meshpass.translate.keysource import KeyPeer


class MutualTls:
    """The control plane's own end: it shows who it is, and says whether somebody is whom it asked for."""

    def __init__(self, identities: Callable[[], Identities] = lambda: NO_IDENTITIES) -> None:
        """``identities`` are what has been issued by now."""
        self._identities = identities
        self._made: tuple[Identities, ssl.SSLContext] | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """It verifies that the server's certificate is of the mesh, but not whose it is. Raises FetchError without one."""
        identities = self._identities()
        if self._made is None or self._made[0] is not identities:
            self._made = identities, _make_context(identities)
        return self._made[1]


def check_peer(tls: ssl.SSLObject | None, peer: KeyPeer) -> None:
    """The server is one of those that stand behind the destination; raises FetchError where it is not."""
    certificate: Mapping[str, Any] = (tls.getpeercert() or {}) if tls is not None else {}
    names = [name for kind, name in certificate.get("subjectAltName", ()) if kind == "URI"]
    if len(names) != 1 or names[0] not in peer.identities:
        raise FetchError("who answers is no workload of the destination")


def _make_context(identities: Identities) -> ssl.SSLContext:
    own = identities.certificates.get(control_plane_id(identities.trust_domain))
    if own is None:
        raise FetchError("the control plane has no certificate of the mesh yet", transient=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Names of workloads are URIs, which the library does not compare: `check_peer` does.
    context.check_hostname = False
    context.load_verify_locations(cadata=identities.authorities)
    with tempfile.TemporaryDirectory(prefix="meshpass-") as directory:
        # The library takes certificates from files alone.
        whole = Path(directory) / "tls.pem"
        write_secret_file(whole, (own.private_key + own.chain).encode())
        context.load_cert_chain(whole)
    return context
