"""RootTrustPolicy → what there is to say of it: the mesh has the root that it asks for, or another."""

from __future__ import annotations

from collections.abc import Iterator

from meshpass.api.fieldpath import set_paths
from meshpass.api.objectset import ObjectKey
from meshpass.api.roottrust import RootTrustPolicy
from meshpass.translate.finding import Finding, Reason, Severity, no_effect
from meshpass.translate.rootsecret import SECRET_NAME, SECRET_NAMESPACE

_HOLDS = frozenset({"spec.config.autoRestartPods"})
"""Pods need no restart: proxies take new certificates while they run."""
_AS_IT_IS = frozenset(
    {
        "spec.config",
        "spec.config.mgmtServerCa",
        "spec.config.mgmtServerCa.generated",
        "spec.config.intermediateCertOptions",
    }
)
"""Objects that ask for nothing else than what holds, as long as nothing is in them."""
_GIVEN = "spec.config.mgmtServerCa.secretRef"


def judge_root_trust(key: ObjectKey, policy: RootTrustPolicy, management_cluster: str) -> tuple[Finding, ...]:
    """A finding for each wish that is not fulfilled; to be called through the memo."""
    if key.cluster != management_cluster:
        message = f"the root of the mesh is that of the management cluster {management_cluster}: nothing here counts"
        return (Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_EFFECT, message=message),)
    return tuple(_findings(key, policy))


def _findings(key: ObjectKey, policy: RootTrustPolicy) -> Iterator[Finding]:
    config = policy.spec.config
    authority = config.mgmt_server_ca if config is not None else None
    if authority is not None and authority.secret_ref is not None:
        message = (
            f"no effect yet: {_GIVEN}; a root of your own is read from the Secret {SECRET_NAMESPACE}/{SECRET_NAME}"
        )
        yield Finding(key=key, severity=Severity.WARNING, reason=Reason.NO_EFFECT, message=message)
    for _, path in set_paths(policy.spec, _HOLDS | {_GIVEN}):
        if path not in _AS_IT_IS:
            yield no_effect(key, path)
