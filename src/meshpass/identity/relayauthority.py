"""RelayAuthority: who signs the credentials of the relay. It is nobody's root: no workload is known by it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meshpass.errors import MeshpassError
from meshpass.identity.pem import encode_certificates, encode_private_key, parse_certificates, parse_private_key
from meshpass.identity.profile import build_agent, build_root, build_server, generate_key
from meshpass.secretfile import make_private_directory, write_secret_file

_FILE = "relay-ca.pem"
_HINT = "delete it, and start the mesh again: everyone gets credentials of a new one"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RelayAuthority:
    """The certificate, and the key that never leaves the management server."""

    certificate: x509.Certificate
    private_key: ec.EllipticCurvePrivateKey

    def __repr__(self) -> str:
        return "RelayAuthority(***)"

    def sign_server(
        self, key: ec.EllipticCurvePublicKey, names: list[x509.GeneralName], now: datetime
    ) -> x509.Certificate:
        """The certificate of the management server, which is known by these names."""
        return build_server(
            key,
            name="meshpass management server",
            names=names,
            issuer=self.certificate,
            issuer_key=self.private_key,
            now=now,
        )

    def sign_agent(self, key: ec.EllipticCurvePublicKey, spiffe_id: str, now: datetime) -> x509.Certificate:
        """The certificate of an agent, which is known by its SPIFFE ID."""
        return build_agent(key, spiffe_id=spiffe_id, issuer=self.certificate, issuer_key=self.private_key, now=now)


def ensure_relay_authority(directory: Path, now: datetime) -> RelayAuthority:
    """The authority in the management server's directory; it is made where there is none, also by several at once.

    Raises MeshpassError where it is damaged or others can read it.
    """
    path = make_private_directory(directory) / _FILE
    if not path.exists():
        key = generate_key()
        certificate = build_root(key, name="Meshpass relay", organization="", path_length=0, now=now)
        _write_first(path, encode_private_key(key) + encode_certificates([certificate]))
    if path.stat().st_mode & 0o077:
        raise MeshpassError(f"the authority of the relay in {path} can be read by others", hint=_HINT)
    try:
        text = path.read_text(encoding="ascii")
        return RelayAuthority(certificate=parse_certificates(text, str(path))[0], private_key=read_relay_key(path))
    except (ValueError, MeshpassError) as error:
        raise MeshpassError(f"the authority of the relay in {path} is damaged", hint=_HINT) from error


def read_relay_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The private key in a PEM file. Raises MeshpassError where it is no ECDSA key, OSError, ValueError."""
    key = parse_private_key(path.read_text(encoding="ascii"), str(path))
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MeshpassError(f"{path} holds no ECDSA key")
    return key


def _write_first(path: Path, text: str) -> None:
    """The file holds the text, or what another process has written at the same moment."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as directory:
        whole = Path(directory) / path.name
        write_secret_file(whole, text.encode())
        try:
            os.link(whole, path)
        except FileExistsError:
            return
