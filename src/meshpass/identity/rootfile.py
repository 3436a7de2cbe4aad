"""Root file: the authorities of a mesh with their keys, and where the rotation is, as one file that is written whole."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshpass.errors import MeshpassError
from meshpass.identity.authority import Authority
from meshpass.identity.pem import (
    encode_certificates,
    encode_private_key,
    fingerprint,
    parse_certificates,
    parse_private_key,
)
from meshpass.identity.rotation import RootSet, Rotation
from meshpass.secretfile import write_secret_file


class StoredAuthority(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An authority as text."""

    certificates: str
    """PEM: its own first; the root is the last one."""
    private_key: str
    own: bool
    """True: made here. False: the user's."""

    def __repr__(self) -> str:
        return f"StoredAuthority(own={self.own})"


class RootFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All that has to outlive the management server. Never changed in place."""

    rotation: Rotation
    queued: RootSet | None = None
    """What comes after the rotation that is under way."""
    authorities: dict[str, StoredAuthority] = {}
    """By fingerprint: those that sign, or may yet sign. The key of one that never signs again is not kept."""
    roots: dict[str, str] = {}
    """By fingerprint: what is believed, or may yet be, as PEM."""
    clusters: tuple[str, ...] = ()
    """Those for which an intermediate was ever signed, sorted."""

    @property
    def latest(self) -> RootSet:
        """Where all of it leads in the end."""
        return self.queued or self.rotation.target or self.rotation.current

    def with_authority(self, authority: Authority, believed: Iterable[x509.Certificate], *, own: bool) -> RootFile:
        """It can sign, and its roots can be believed."""
        certificates = dict.fromkeys((*authority.certificates, authority.root))
        stored = StoredAuthority(
            certificates=encode_certificates(certificates),
            private_key=encode_private_key(authority.private_key),
            own=own,
        )
        return msgspec.structs.replace(
            self,
            authorities=self.authorities | {authority.fingerprint: stored},
            roots=self.roots | {fingerprint(root): encode_certificates([root]) for root in believed},
        )

    def with_cluster(self, cluster: str) -> RootFile:
        """Something was signed for the cluster."""
        return msgspec.structs.replace(self, clusters=tuple(sorted({*self.clusters, cluster})))

    def with_rotation(self, rotation: Rotation, queued: RootSet | None) -> RootFile:
        """That is where it is, and nothing is kept that is not needed any more, old keys first of all."""
        ahead = [one for one in (rotation.target, queued) if one is not None]
        signing = {rotation.wanted.issuer, *(one.signing for one in ahead)}
        believed = {*rotation.wanted.trusts, *(root for one in ahead for root in one.trusts)}
        return msgspec.structs.replace(
            self,
            rotation=rotation,
            queued=queued,
            authorities={name: one for name, one in self.authorities.items() if name in signing},
            roots={name: one for name, one in self.roots.items() if name in believed},
        )

    def load_authority(self, name: str) -> Authority:
        """The authority of this fingerprint, which is one that signs or may yet sign."""
        stored = self.authorities[name]
        certificates = parse_certificates(stored.certificates, "the file of roots")
        key = parse_private_key(stored.private_key, "the file of roots")
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise MeshpassError("the file of roots holds a key that cannot sign")
        return Authority(certificates=certificates[:-1] or certificates, root=certificates[-1], private_key=key)


def load_roots(path: Path) -> RootFile | None:
    """None where there is no file. Raises MeshpassError where it can be read by others, or is damaged."""
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MeshpassError(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise MeshpassError(
            f"the roots of the mesh in {path} can be read by others (mode {mode & 0o777:04o})",
            hint=f"`chmod 600 {path}`, and rotate the root if others may have read it",
        )
    try:
        found = msgspec.json.decode(data, type=RootFile)
        found.load_authority(found.rotation.wanted.issuer)
        found.load_authority(found.latest.signing)
    except (msgspec.MsgspecError, KeyError, MeshpassError) as error:
        raise MeshpassError(
            f"{path} is damaged, and nothing else has the roots of the mesh",
            hint="take it from a backup; without it, delete it, and every certificate is of another root at once",
        ) from error
    return found


def save_roots(path: Path, roots: RootFile) -> None:
    """They are on disk, whole, for their owner alone. Raises MeshpassError; what was there before is there still."""
    try:
        write_secret_file(path, msgspec.json.encode(roots))
    except OSError as error:
        raise MeshpassError(f"the roots of the mesh cannot be written to {path}: {error.strerror}") from error
