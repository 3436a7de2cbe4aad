"""IntermediateStore: the authority by which one process issues certificates of workloads. Its key never leaves it."""

from __future__ import annotations

import asyncio
import logging
import random as randomness
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from meshpass.errors import MeshpassError
from meshpass.identity.authority import Authority, is_signed_by, make_request
from meshpass.identity.pem import encode_certificates, encode_private_key, parse_certificates, parse_private_key
from meshpass.identity.profile import generate_key
from meshpass.identity.trust import TrustBundle, decode_bundle, encode_trust
from meshpass.observable import Observable
from meshpass.secretfile import make_private_directory, write_secret_file

logger = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""The longest sleep: a machine may have slept too, and its clock gone on."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0

Sign = Callable[[str], Awaitable[str]]
"""Certificate signing request → chain without the root, both PEM. Raises whatever it likes when it cannot."""


class IntermediateStore(Observable):
    """The intermediate and the trust bundle of a process, on disk (mode 0600), so that it goes on without who signs.

    - ``revision`` grows whenever ``bundle``, ``authority`` or ``problem`` is another one.
    - What is in ``bundle`` and ``authority`` is on disk: a restart begins with it.
    - The intermediate is renewed at half its life, and whenever another authority signs than the one that signed it.
    - Not thread-safe: it lives in one event loop.
    """

    def __init__(
        self,
        directory: Path,
        cluster: str,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        """``directory`` is made with mode 0700. What is in it and cannot be used is told, and as if it were not there."""
        super().__init__()
        self.cluster = cluster
        self._bundle_path = directory / "trust-bundle.json"
        self._path = directory / "intermediate.pem"
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._bundle: TrustBundle | None = None
        self._authority: Authority | None = None
        self._renew_at: datetime | None = None
        self._asked = False
        self._problem = ""
        self._woken = asyncio.Event()
        make_private_directory(directory)
        self._load()

    @property
    def bundle(self) -> TrustBundle | None:
        """Whom to believe. None before the first `trust`."""
        return self._bundle

    @property
    def authority(self) -> Authority | None:
        """What signs certificates of workloads. None as long as nobody has signed it. The same object until renewed."""
        return self._authority

    @property
    def problem(self) -> str:
        """Why it could not be renewed when that was tried last; empty if it could."""
        return self._problem

    def trust(self, bundle: TrustBundle) -> None:
        """The bundle is on disk, and is ``bundle``. Raises OSError where it cannot be written: the one before stays."""
        if bundle == self._bundle:
            return
        write_secret_file(self._bundle_path, encode_trust(bundle))
        self._bundle = bundle
        self._note_change()

    def rotate(self) -> None:
        """A new intermediate, with a new key, is asked for now."""
        self._asked = True
        self._woken.set()

    async def run(self, sign: Sign) -> NoReturn:
        """Has the intermediate signed, and renewed, until cancelled. A failure is told and tried again."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            self._woken.clear()
            bundle = self._bundle
            if bundle is None or not self._is_due(bundle):
                await self._wait(LOOK_SECONDS)
                continue
            try:
                await self._renew(sign, bundle)
            except Exception as error:  # noqa: BLE001 (the connection and the disk have errors of all kinds; all can pass)
                self._note_problem(str(error) or type(error).__name__)
                await self._wait(pause * (0.5 + self._random()))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                pause = FIRST_PAUSE_SECONDS

    def _is_due(self, bundle: TrustBundle) -> bool:
        authority = self._authority
        return (
            authority is None
            or self._asked
            or authority.issuer != bundle.signing
            or self._renew_at is None
            or self._clock() >= self._renew_at
        )

    async def _renew(self, sign: Sign, bundle: TrustBundle) -> None:
        key = generate_key()
        self._asked, asked = False, self._asked
        try:
            chain = await sign(make_request(key))
            authority = build_authority(chain, key, self._bundle or bundle, self._clock())
            write_secret_file(
                self._path, (encode_private_key(key) + encode_certificates(authority.certificates)).encode()
            )
        except BaseException:
            self._asked = self._asked or asked
            raise
        self._adopt(authority)
        self._problem = ""
        logger.info(
            "intermediate renewed",
            extra={"cluster": self.cluster, "fingerprint": authority.fingerprint, "signedBy": authority.issuer},
        )
        self._note_change()

    def _adopt(self, authority: Authority) -> None:
        self._authority = authority
        begun = authority.certificate.not_valid_before_utc
        self._renew_at = begun + (authority.not_after - begun) / 2

    async def _wait(self, seconds: float) -> None:
        """For so long, or until something else is to be done."""
        async with asyncio.TaskGroup() as tasks:
            woken = tasks.create_task(self._woken.wait())
            slept = tasks.create_task(_await(self._sleep(seconds)))
            woken.add_done_callback(lambda _: slept.cancel())
            slept.add_done_callback(lambda _: woken.cancel())

    def _note_problem(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("intermediate not renewed", extra={"cluster": self.cluster, "error": problem})
            self._problem = problem
            self._count_change()

    def _note_change(self) -> None:
        self._woken.set()
        self._count_change()

    def _load(self) -> None:
        try:
            self._bundle = decode_bundle(self._bundle_path.read_bytes())
            text = self._path.read_text(encoding="ascii")
            _check_private(self._path)
            self._adopt(build_authority(text, _read_key(text), self._bundle, self._clock(), fresh=False))
        except FileNotFoundError:
            return
        except (OSError, ValueError, MeshpassError) as error:
            logger.warning(
                "the intermediate on disk is of no use", extra={"cluster": self.cluster, "error": str(error)}
            )


def build_authority(
    chain_pem: str, key: ec.EllipticCurvePrivateKey, bundle: TrustBundle, now: datetime, *, fresh: bool = True
) -> Authority:
    """The authority of a chain that somebody signed for this key.

    Raises MeshpassError unless every certificate is signed by the next one, and the last by a root of the bundle; for a
    ``fresh`` one, also unless it is valid, and signed by who signs now. What was signed before that changed, and comes
    late, is of no use: it could be the one that everyone is about to stop believing.
    """
    certificates = parse_certificates(chain_pem, "the answer")
    if certificates[0].public_key() != key.public_key():
        raise MeshpassError("the signed certificate has another key")
    if not all(map(is_signed_by, certificates, certificates[1:])):
        raise MeshpassError("the signed certificates are no chain")
    roots = parse_certificates(bundle.roots, "the trust bundle")
    root = next((one for one in roots if is_signed_by(certificates[-1], one)), None)
    if root is None:
        raise MeshpassError("the signed certificate is of no root that is believed")
    authority = Authority(certificates=certificates, root=root, private_key=key)
    if fresh:
        _check_fresh(authority, bundle, now)
    return authority


def _check_private(path: Path) -> None:
    if path.stat().st_mode & 0o077:
        raise MeshpassError(f"{path} can be read by others")


def _read_key(pem: str) -> ec.EllipticCurvePrivateKey:
    key = parse_private_key(pem, "the file")
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise MeshpassError("the file holds no ECDSA key")
    return key


def _check_fresh(authority: Authority, bundle: TrustBundle, now: datetime) -> None:
    try:
        constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    if constraints is None or not constraints.ca:
        raise MeshpassError("the signed certificate is not one of a CA")
    if authority.not_after <= now:
        raise MeshpassError("the signed certificate, or who signed it, has expired")
    if authority.issuer != bundle.signing:
        raise MeshpassError("the certificate is not signed by the authority that signs now")


async def _await(awaitable: Awaitable[object]) -> None:
    await awaitable
