"""Trust: what management server and agents tell each other of roots, intermediates and who uses which. No key is in it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import TypeVar

import msgspec

from meshpass.errors import MeshpassError

Value = TypeVar("Value")


class Phase(Enum):
    """Where the rotation of the root is. In each phase everyone is waited for before the next one begins."""

    STEADY = "steady"
    """One root signs, and nothing changes."""
    TRUST_BOTH = "trust-both"
    """The old root signs; everyone is to believe the new one as well."""
    SIGN_NEW = "sign-new"
    """The new root signs; everyone is to show a certificate of it, and still believes both."""
    DROP_OLD = "drop-old"
    """Everyone is to forget the old root, which nobody shows any more."""


class TrustBundle(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the management server wants everyone to believe, and who signs."""

    trust_domain: str
    roots: str
    """PEM, in the order of their fingerprints."""
    trusts: tuple[str, ...]
    """Their fingerprints, sorted."""
    signing: str
    """Fingerprint of the authority that signs intermediates: a root, or a user's authority below one."""
    signing_root: str
    """Fingerprint of the root above it, or of itself."""
    phase: Phase = Phase.STEADY


class NodeTrust(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whom one proxy believes, and who stands for it. Fingerprints; empty where it believes nobody, or shows nothing."""

    trusts: tuple[str, ...] = ()
    """Of the roots, sorted."""
    issuer: str = ""
    """Of the authority that signed the intermediate that signed the proxy's certificate: `TrustBundle.signing`, then."""


class IntermediateState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far one process that issues workload certificates is, and the proxies that it serves."""

    cluster: str
    trusts: tuple[str, ...] = ()
    """Of the roots that its identities believe now, sorted; it believes them after a restart too."""
    issuer: str = ""
    """Of the authority that stands for every certificate that it issues and has issued; empty while it has none."""
    late: tuple[str, ...] = ()
    """The nodes that have not acknowledged exactly these roots and this issuer."""
    fingerprint: str = ""
    """Of its intermediate certificate."""
    not_after: datetime | None = None
    """Until when that is valid."""
    workloads: int = 0
    """Certificates of workloads that are in use."""
    soonest_not_after: datetime | None = None
    """Until when the first of them is valid."""
    problem: str = ""
    """Why the intermediate could not be renewed when that was tried last."""


def encode_trust(value: TrustBundle | NodeTrust | IntermediateState) -> bytes:
    """JSON; equal values have equal bytes."""
    return msgspec.json.encode(value)


def decode_bundle(data: bytes) -> TrustBundle:
    """Raises MeshpassError for what is no bundle."""
    return _decode(data, TrustBundle)


def decode_node_trust(data: bytes) -> NodeTrust:
    """Raises MeshpassError for what is none."""
    return _decode(data, NodeTrust)


def decode_intermediate_state(data: bytes) -> IntermediateState:
    """Raises MeshpassError for what is none."""
    return _decode(data, IntermediateState)


def _decode(data: bytes, kind: type[Value]) -> Value:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        # Whoever tells may tell anything: text that is no UTF-8, and lists without end in fields that nobody knows.
        raise MeshpassError(f"no {kind.__name__}: {error}") from error
