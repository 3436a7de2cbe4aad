"""MeshIssuer: whoever issues the identities of a mesh in tests.

issuer = MeshIssuer()
async with run_envoy_mesh(CLIENT, GUARDED, issuer=issuer) as mesh:
    issuer.renew()
    await mesh.publish()
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from tests.support.certificates import Authority, Certificate

from meshpass.translate.identity import NO_IDENTITIES, Identities, WorkloadCertificate, spiffe_id

TRUST_DOMAIN = "mesh.example"


def account(name: str, namespace: str = "httpbin") -> str:
    """The SPIFFE ID of a service account."""
    return spiffe_id(TRUST_DOMAIN, namespace, name)


class MeshIssuer:
    """Signs with the last of its authorities; all of them are trusted."""

    def __init__(self) -> None:
        self._authorities = [Authority("root 1")]
        self._issued: dict[str, Certificate] = {}
        self.identities = NO_IDENTITIES
        """What has been issued."""
        self._tell()

    @property
    def authorities(self) -> str:
        """What is trusted, as PEM."""
        return "".join(one.certificate for one in self._authorities)

    def issue(self, wanted: Iterable[str]) -> bool:
        """Issue what is missing; True if there was any."""
        missing = [name for name in sorted(wanted) if name not in self._issued]
        self._issued |= {name: self.sign(name) for name in missing}
        if missing:
            self._tell()
        return bool(missing)

    def sign(self, name: str) -> Certificate:
        """A certificate for this SPIFFE ID."""
        return self._authorities[-1].sign(name)

    def give(self, name: str, certificate: Certificate | None) -> None:
        """The workloads of this SPIFFE ID have that certificate from now on, whatever it says; None: one of their own."""
        self._issued[name] = certificate or self.sign(name)
        self._tell()

    def renew(self) -> None:
        """New certificates for all."""
        self._issued = {name: self.sign(name) for name in self._issued}
        self._tell()

    def trust_another(self) -> None:
        """Another authority is trusted beside those that are; it signs nothing yet."""
        self._authorities.insert(0, Authority("another root"))
        self._tell()

    def sign_with_newest(self) -> None:
        """New certificates for all, from the authority that came last."""
        self._authorities.append(self._authorities.pop(0))
        self.renew()

    def drop_others(self) -> None:
        """Only the authority that signs is trusted."""
        del self._authorities[:-1]
        self._tell()

    def _tell(self) -> None:
        certificates = {name: WorkloadCertificate(one.chain, one.private_key) for name, one in self._issued.items()}
        self.identities = Identities(
            trust_domain=TRUST_DOMAIN, authorities=self.authorities, certificates=MappingProxyType(certificates)
        )
