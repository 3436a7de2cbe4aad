"""RootStore: who stands for the mesh, now and while that changes. It lives in the management server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

from meshpass.errors import MeshpassError
from meshpass.identity.authority import Authority, make_root, sign_intermediate
from meshpass.identity.givenroot import parse_given_root
from meshpass.identity.intermediate import Sign
from meshpass.identity.pem import fingerprint
from meshpass.identity.rootfile import RootFile, load_roots, save_roots
from meshpass.identity.rotation import Late, RootSet, Rotation, advance, begin, find_late
from meshpass.identity.spiffe import check_trust_domain
from meshpass.identity.trust import IntermediateState, Phase, TrustBundle
from meshpass.observable import Observable
from meshpass.secretfile import make_private_directory
from meshpass.translate.rootsecret import SECRET_NAME, SECRET_NAMESPACE

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 2.0
"""After the last one has acknowledged a phase: an Envoy acknowledges before all of its threads have followed."""

RENEW_BEFORE = timedelta(days=365)
"""A root of our own that expires so soon is rotated: no intermediate outlives the root."""

LOOK_SECONDS = 3600.0


class RootStore(Observable):
    """The authorities of a mesh, on disk (mode 0600), and the rotation from one to the next.

    - ``revision`` grows whenever ``bundle`` is another one.
    - ``bundle`` is on disk before anybody can see it: a restart goes on where it was.
    - Not thread-safe: it lives in one event loop.
    """

    def __init__(
        self,
        directory: Path,
        trust_domain: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        """``directory`` is made with mode 0700, and a root in it, unless they are there.

        Raises MeshpassError where what is there cannot be read or can be read by others: with another root in its place,
        nobody would believe anybody.
        """
        super().__init__()
        self._path = directory / "roots.json"
        self._trust_domain = check_trust_domain(trust_domain)
        self._clock = clock
        self._sleep = sleep
        self._settle_seconds = settle_seconds
        self._states: Mapping[str, IntermediateState | None] | None = None
        self._woken = asyncio.Event()
        make_private_directory(directory)
        found = load_roots(self._path)
        if found is None:
            root = make_root(self._trust_domain, clock())
            found = RootFile(rotation=Rotation(current=_alone(root))).with_authority(root, (root.root,), own=True)
            save_roots(self._path, found)
            logger.info("root made", extra={"fingerprint": root.fingerprint, "trustDomain": trust_domain})
        self._file = found
        self._bundle = self._make_bundle()

    @property
    def bundle(self) -> TrustBundle:
        """What everyone is to believe. The same object as long as nothing of it changed."""
        return self._bundle

    @property
    def late(self) -> tuple[Late, ...]:
        """Whom the rotation waits for; nobody in STEADY."""
        return find_late(self._file.rotation, self._states or {})

    @property
    def given(self) -> bool:
        """True where the latest authority is a user's."""
        return not self._file.authorities[self._file.latest.signing].own

    def sign(self, csr_pem: str, cluster: str) -> str:
        """The chain of a new intermediate for the cluster, as PEM, without the root.

        The cluster is waited for in every rotation from now on. Raises MeshpassError where the request is none.
        """
        authority = self._file.load_authority(self._file.rotation.wanted.issuer)
        chain = sign_intermediate(
            authority, csr_pem, trust_domain=self._trust_domain, cluster=cluster, now=self._clock()
        )
        if cluster not in self._file.clusters:
            self._save(self._file.with_cluster(cluster))
        logger.info("intermediate signed", extra={"cluster": cluster, "authority": authority.fingerprint})
        return chain

    def signer(self, cluster: str) -> Sign:
        """`sign` for one cluster, as an `IntermediateStore` of the same process takes it."""

        async def sign(csr_pem: str) -> str:
            return self.sign(csr_pem, cluster)

        return sign

    def use(self, tls_crt: str, tls_key: str, ca_crt: str = "") -> bool:
        """The user's authority is the one that signs, as soon as everyone believes it.

        False if it is already, or on the way. Raises MeshpassError where it cannot be one: what there is stays.
        """
        authority, believed = parse_given_root(
            tls_crt, tls_key, ca_crt, trust_domain=self._trust_domain, now=self._clock()
        )
        target = RootSet(signing=authority.fingerprint, trusts=tuple(sorted(map(fingerprint, believed))))
        if target == self._file.latest:
            return False
        self._aim(self._file.with_authority(authority, believed, own=False), target)
        return True

    def rotate(self) -> None:
        """A new root of our own is on its way. Raises MeshpassError where it is the user's, and during a rotation."""
        if self.given:
            raise MeshpassError(
                "the root is not made here: it is the user's own",
                hint=f"put another one into the Secret {SECRET_NAMESPACE}/{SECRET_NAME} of the management cluster",
            )
        if self._file.rotation.phase is not Phase.STEADY:
            raise MeshpassError(
                f"the root is being rotated (phase {self._file.rotation.phase.value})",
                hint="`meshpass identity show` says who is waited for",
            )
        self._rotate_own()

    def observe(self, states: Mapping[str, IntermediateState], registered: frozenset[str]) -> None:
        """These are the processes that issue certificates, by cluster, and these the clusters that belong to the mesh.

        One that belongs to it and has an intermediate, or was ever given one, is waited for, whether or not anything is
        heard of it. Before the first call no rotation goes on.
        """
        known = {
            cluster: states.get(cluster)
            for cluster in registered
            if cluster in self._file.clusters or (cluster in states and states[cluster].issuer)
        }
        if known != self._states:
            self._states = known
            self._woken.set()

    async def run(self) -> NoReturn:
        """Rotates until cancelled."""
        while True:
            self._woken.clear()
            try:
                moved = await self._step()
            except MeshpassError as error:
                logger.error("the rotation of the root does not go on", extra={"error": str(error)})  # noqa: TRY400
                moved = False
            if not moved:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_SECONDS):
                        await self._woken.wait()

    async def _step(self) -> bool:
        """True if something became of it, so that the next step may be due."""
        file = self._file
        if file.rotation.phase is Phase.STEADY:
            if file.queued is not None:
                self._save(file.with_rotation(begin(file.rotation, file.queued), None))
                return True
            root = file.load_authority(file.rotation.wanted.issuer)
            if not self.given and root.not_after - self._clock() < RENEW_BEFORE:
                self._rotate_own()
                return True
            return False
        if self._states is None or self.late:
            return False
        await self._sleep(self._settle_seconds)
        # Others may have been heard of meanwhile, and a file may have come after this one.
        after = advance(self._file.rotation, self._states)
        if after is self._file.rotation:
            return False
        self._save(self._file.with_rotation(after, self._file.queued))
        return True

    def _rotate_own(self) -> None:
        root = make_root(self._trust_domain, self._clock())
        self._aim(self._file.with_authority(root, (root.root,), own=True), _alone(root))

    def _aim(self, file: RootFile, target: RootSet) -> None:
        rotation = file.rotation
        if not file.clusters:
            # Nobody has a certificate yet, so nobody has to be waited for.
            file = file.with_rotation(Rotation(current=target), None)
        elif rotation.phase is Phase.STEADY:
            file = file.with_rotation(begin(rotation, target), None)
        else:
            file = file.with_rotation(rotation, None if target == rotation.target else target)
        self._save(file)

    def _save(self, file: RootFile) -> None:
        save_roots(self._path, file)
        before, self._file = self._file.rotation, file
        self._woken.set()
        bundle = self._make_bundle()
        if file.rotation != before:
            logger.info("roots of the mesh", extra={"phase": file.rotation.phase.value, "signing": bundle.signing})
        if bundle != self._bundle:
            self._bundle = bundle
            self._count_change()

    def _make_bundle(self) -> TrustBundle:
        wanted = self._file.rotation.wanted
        return TrustBundle(
            trust_domain=self._trust_domain,
            roots="".join(self._file.roots[root] for root in wanted.trusts),
            trusts=wanted.trusts,
            signing=wanted.issuer,
            signing_root=fingerprint(self._file.load_authority(wanted.issuer).root),
            phase=self._file.rotation.phase,
        )


def _alone(root: Authority) -> RootSet:
    return RootSet(signing=root.fingerprint, trusts=(root.fingerprint,))
