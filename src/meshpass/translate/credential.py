"""Credential: the certificates of a Secret that an ExternalService names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshpass.api.core import Secret
from meshpass.api.external import ExternalService
from meshpass.api.objectset import ObjectKey
from meshpass.memo import Memo


class Credential(NamedTuple):
    """What a Secret has to offer, without its contents. A tuple of text: equal ones are the same memo key."""

    certificate: bool = False
    """True: a certificate with its key."""
    authorities: bool = False
    """True: certificates of authorities."""
    problem: str = ""
    """Why it cannot be used; empty if it can."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Credentials:
    """The Secrets that ExternalServices name. The same object as long as they offer the same, whatever the contents."""

    found: Mapping[ObjectKey, Credential]


def index_credentials(
    secrets: Mapping[ObjectKey, Secret], external_services: Mapping[ObjectKey, ExternalService], memo: Memo
) -> Credentials:
    """What each Secret that some ``clientsideTls.credentialName`` names has to offer; to be called through the memo."""
    return memo(_make_credentials, ())


def _make_credentials(found: tuple[tuple[ObjectKey, Credential], ...]) -> Credentials:
    return Credentials(found=dict(found))
