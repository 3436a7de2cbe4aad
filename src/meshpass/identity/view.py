"""View: what ``/v1/identity`` and ``/v1/check`` of the control socket say of identities. No key is in it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from meshpass.identity.pem import fingerprint, parse_certificates
from meshpass.identity.rotation import Late
from meshpass.identity.trust import IntermediateState, TrustBundle


def view_identity(
    bundle: TrustBundle | None, states: Iterable[IntermediateState], late: Iterable[Late] = ()
) -> dict[str, object]:
    """Roots, who signs, where the rotation is and whom it waits for; and what each process has issued.

    Without a bundle there is no trust domain, no root and no phase.
    """
    return {
        "trustDomain": "" if bundle is None else bundle.trust_domain,
        "signing": "" if bundle is None else bundle.signing,
        "roots": [] if bundle is None else _view_roots(bundle),
        "rotation": {
            "phase": "" if bundle is None else bundle.phase.value,
            "waitingFor": [{"cluster": one.cluster, "proxies": list(one.nodes)} for one in late],
        },
        "intermediates": [_view_state(state) for state in sorted(states, key=lambda state: state.cluster)],
    }


def _view_roots(bundle: TrustBundle) -> list[dict[str, object]]:
    return [
        {
            "fingerprint": fingerprint(root),
            "subject": root.subject.rfc4514_string(),
            "notAfter": _time(root.not_valid_after_utc),
            "signing": fingerprint(root) == bundle.signing_root,
        }
        for root in parse_certificates(bundle.roots, "the trust bundle")
    ]


def _view_state(state: IntermediateState) -> dict[str, object]:
    return {
        "cluster": state.cluster,
        "fingerprint": state.fingerprint,
        "issuer": state.issuer,
        "notAfter": _time(state.not_after),
        "problem": state.problem,
        "workloads": {"count": state.workloads, "soonestNotAfter": _time(state.soonest_not_after)},
    }


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
