"""Acknowledged trust: which proxies believe, and show, what this process wants them to."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshpass.identity.intermediate import IntermediateStore
from meshpass.identity.pem import fingerprint, parse_certificates
from meshpass.identity.trust import IntermediateState, NodeTrust
from meshpass.identity.workload import WorkloadIssuer
from meshpass.ir import WORKLOAD_IDENTITY, Proxy, TlsCertificate, TrustedAuthorities


class AcknowledgedTrust:
    """Follows the proxies of one process from one target to the next. Not thread-safe."""

    def __init__(self, intermediate: IntermediateStore, issuer: WorkloadIssuer) -> None:
        self._intermediate = intermediate
        self._issuer = issuer
        self._targets: dict[str, tuple[Proxy, NodeTrust]] = {}
        self._acknowledged: dict[str, NodeTrust] = {}
        self._last: tuple[str, tuple[str, ...]] = ("", ())

    def observe(self, proxies: Iterable[Proxy], is_in_sync: Callable[[str], bool]) -> None:
        """These are the targets of all proxies, and of which it is known that they have acknowledged them.

        To be called whenever either changed, before anything waits in between.
        """
        self._targets = {proxy.node: self._target(proxy) for proxy in proxies}
        self._acknowledged = {node: one for node, one in self._acknowledged.items() if node in self._targets}
        for node, (_, trust) in self._targets.items():
            if is_in_sync(node):
                self._acknowledged[node] = trust

    def trust(self, node: str) -> NodeTrust | None:
        """What the proxy believes and shows; None while that is not known, or on its way to something else."""
        target = self._targets.get(node)
        acknowledged = self._acknowledged.get(node)
        return acknowledged if target is not None and acknowledged == target[1] else None

    def state(self) -> IntermediateState:
        """How far the process and its proxies are: what `RootStore.observe` asks of every process."""
        wanted = self._issuer.trust
        authority = self._intermediate.authority
        return IntermediateState(
            cluster=self._intermediate.cluster,
            trusts=wanted.trusts,
            issuer=wanted.issuer,
            late=tuple(sorted(node for node in self._targets if not _fits(self.trust(node), wanted))),
            fingerprint="" if authority is None else authority.fingerprint,
            not_after=None if authority is None else authority.not_after,
            workloads=self._issuer.count,
            soonest_not_after=self._issuer.soonest_not_after,
            problem=self._intermediate.problem,
        )

    def _target(self, proxy: Proxy) -> tuple[Proxy, NodeTrust]:
        known = self._targets.get(proxy.node)
        return known if known is not None and known[0] is proxy else (proxy, self._read_trust(proxy))

    def _read_trust(self, proxy: Proxy) -> NodeTrust:
        authorities = issuer = ""
        for secret in proxy.secrets:
            match secret:
                case TrustedAuthorities(identities=tuple()):
                    # Those that name identities have the roots of the mesh; others are of servers outside it.
                    authorities = secret.certificates or authorities
                case TlsCertificate(name=name) if name == WORKLOAD_IDENTITY:
                    issuer = self._issuer.issuer_of(secret.chain)
                case _:
                    pass
        return NodeTrust(trusts=self._fingerprints(authorities), issuer=issuer)

    def _fingerprints(self, pem: str) -> tuple[str, ...]:
        if pem != self._last[0]:
            certificates = parse_certificates(pem, "the roots") if pem else ()
            self._last = (pem, tuple(sorted(map(fingerprint, certificates))))
        return self._last[1]


def _fits(trust: NodeTrust | None, wanted: NodeTrust) -> bool:
    """Who believes nobody refuses nobody's certificate more than before, and who shows none is refused by nobody."""
    return trust is not None and trust.trusts in {(), wanted.trusts} and trust.issuer in {"", wanted.issuer}
