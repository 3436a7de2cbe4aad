"""WorkloadIssuer: the certificates by which workloads know each other. They live in memory alone."""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NoReturn

from meshpass.identity.authority import Authority
from meshpass.identity.intermediate import IntermediateStore
from meshpass.identity.pem import encode_certificates, encode_private_key
from meshpass.identity.profile import build_workload, generate_key
from meshpass.identity.spiffe import is_spiffe_id
from meshpass.identity.trust import NodeTrust
from meshpass.observable import Observable
from meshpass.translate.identity import NO_IDENTITIES, Identities, WorkloadCertificate

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""Between two looks for what is to be renewed: what is due in one minute is renewed and sent at once."""
JITTER = 0.1
"""A certificate is renewed at half its life, give or take this share of the half."""
_END = "-----END CERTIFICATE-----\n"
_UNKNOWN = "unknown"
BATCH = 50
"""Certificates that are issued before others may have the event loop: about 10 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Issued:
    certificate: WorkloadCertificate
    authority: Authority
    not_after: datetime
    renew_at: datetime


class WorkloadIssuer(Observable):
    """Issues what `follow` names, by the intermediate of the store, and renews it as long as `run` runs.

    - ``revision`` grows whenever ``identities`` or ``trust`` is another one.
    - ``identities`` are NO_IDENTITIES until there are a bundle and an intermediate; `wait_ready` waits for that.
    - When the intermediate is another one, all certificates are issued anew; those before it stay valid.
    - Not thread-safe: it lives in one event loop.
    """

    def __init__(
        self,
        intermediate: IntermediateStore,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        super().__init__()
        self._intermediate = intermediate
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._wanted: frozenset[str] = frozenset()
        self._issued: dict[str, _Issued] = {}
        self._refused: frozenset[str] = frozenset()
        self._issuers: dict[str, str] = {}
        self._identities = NO_IDENTITIES
        self._trust = NodeTrust()
        self._publish()

    @property
    def identities(self) -> Identities:
        """What has been issued. The same object as long as nothing of it changed."""
        return self._identities

    @property
    def trust(self) -> NodeTrust:
        """Whom ``identities`` believe, and who stands for all of them; no issuer while they have several."""
        return self._trust

    @property
    def count(self) -> int:
        """Certificates that are in use."""
        return len(self._issued)

    @property
    def soonest_not_after(self) -> datetime | None:
        """Until when the first of them is valid."""
        return min((one.not_after for one in self._issued.values()), default=None)

    async def wait_ready(self) -> None:
        """Returns once there are identities: once somebody has signed the intermediate, now or before the start."""
        while self._identities is NO_IDENTITIES:
            await self.wait_changed(self.revision)

    def issuer_of(self, chain: str) -> str:
        """Who stands for a chain of ``identities``, now or at any time before; ``unknown`` for another one."""
        _leaf, end, tail = chain.partition(_END)
        return self._issuers.get(tail, _UNKNOWN) if end else ""

    def follow(self, spiffe_ids: frozenset[str]) -> bool:
        """Exactly these have certificates from now on, and keep having valid ones.

        True if some had to be issued: they are in ``identities`` already, which is another one. What is no SPIFFE ID
        gets none, and is told once.
        """
        refused = frozenset(one for one in spiffe_ids if not is_spiffe_id(one))
        if not refused <= self._refused:
            logger.warning("no SPIFFE IDs, so they get no certificates", extra={"ids": sorted(refused)})
        self._refused = refused
        self._wanted = spiffe_ids - refused
        authority = self._usable_authority()
        missing = sorted(self._wanted - self._issued.keys())
        if authority is None or not missing:
            return False
        self._issue(missing, authority)
        self._publish()
        return True

    async def run(self) -> NoReturn:
        """Renews until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_intermediate())
            tasks.create_task(self._renew_in_time())
        raise AssertionError("the loops never return")

    async def _follow_intermediate(self) -> NoReturn:
        seen = -1
        while True:
            seen = await self._intermediate.wait_changed(seen)
            authority = self._intermediate.authority
            await self._reissue([name for name in self._wanted if not self._is_of(name, authority)])

    async def _renew_in_time(self) -> NoReturn:
        while True:
            await self._sleep(LOOK_SECONDS)
            now = self._clock()
            due = [name for name, one in self._issued.items() if one.renew_at <= now]
            if due:
                await self._reissue(due)

    def _is_of(self, name: str, authority: Authority | None) -> bool:
        return name in self._issued and self._issued[name].authority is authority

    async def _reissue(self, names: Iterable[str]) -> None:
        due = sorted(names)
        for start in range(0, len(due), BATCH):
            authority = self._usable_authority()
            if authority is None:
                break
            self._issue(due[start : start + BATCH], authority)
            await asyncio.sleep(0)
        self._publish()

    def _usable_authority(self) -> Authority | None:
        authority = self._intermediate.authority
        return None if authority is None or authority.not_after <= self._clock() else authority

    def _issue(self, names: Iterable[str], authority: Authority) -> None:
        now = self._clock()
        tail = encode_certificates(authority.certificates)
        self._issuers[tail] = authority.issuer
        for name in names:
            key = generate_key()
            leaf = build_workload(
                key.public_key(),
                spiffe_id=name,
                issuer=authority.certificate,
                issuer_key=authority.private_key,
                now=now,
            )
            not_after = leaf.not_valid_after_utc
            jitter = 1 + JITTER * (2 * self._random() - 1)
            self._issued[name] = _Issued(
                certificate=WorkloadCertificate(encode_certificates([leaf]) + tail, encode_private_key(key)),
                authority=authority,
                not_after=not_after,
                renew_at=now + (not_after - now) / 2 * jitter,
            )

    def _publish(self) -> None:
        """What is issued and wanted is in ``identities``; nothing happens where that is so already."""
        bundle, authority = self._intermediate.bundle, self._intermediate.authority
        if bundle is None or authority is None:
            return
        self._issued = {name: one for name, one in sorted(self._issued.items()) if name in self._wanted}
        certificates = {name: one.certificate for name, one in self._issued.items()}
        issuers = {one.authority.issuer for one in self._issued.values()} or {authority.issuer}
        trust = NodeTrust(trusts=bundle.trusts, issuer=issuers.pop() if len(issuers) == 1 else "")
        same_trust, self._trust = trust == self._trust, trust
        before = self._identities
        if (
            before is not NO_IDENTITIES
            and (before.trust_domain, before.authorities) == (bundle.trust_domain, bundle.roots)
            and _equal(before.certificates, certificates)
        ):
            if same_trust:
                return
        else:
            self._identities = Identities(
                trust_domain=bundle.trust_domain, authorities=bundle.roots, certificates=MappingProxyType(certificates)
            )
        self._count_change()


def _equal(one: Mapping[str, WorkloadCertificate], other: Mapping[str, WorkloadCertificate]) -> bool:
    return one.keys() == other.keys() and all(one[name] is other[name] for name in one)
