"""Root Secret: the authority of the mesh that a user gives. The management server alone reads it."""

from __future__ import annotations

from collections.abc import Mapping

from meshpass.api.core import Secret
from meshpass.api.objectset import ObjectKey

SECRET_NAMESPACE = "gloo-mesh"  # noqa: S105 (the name of a namespace)
SECRET_NAME = "meshpass-root-ca"  # noqa: S105 (the name of an object)
"""Where the Secret is, in the management cluster."""


def root_secret(management_cluster: str) -> ObjectKey:
    """The Secret whose key stands for the whole mesh."""
    return ObjectKey("Secret", management_cluster, SECRET_NAMESPACE, SECRET_NAME)


def without_root(secrets: Mapping[ObjectKey, Secret], management_cluster: str) -> Mapping[ObjectKey, Secret]:
    """The Secrets that objects may name: for them there is no root's, in whatever workspace its namespace is.

    Otherwise whoever writes a policy or a gateway there would have its key brought to agents and proxies. To be called
    through the memo.
    """
    root = root_secret(management_cluster)
    return {key: secret for key, secret in secrets.items() if key != root} if root in secrets else secrets
