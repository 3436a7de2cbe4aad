"""The Secret of the mesh's root is for no object to name."""

from __future__ import annotations

from meshpass.api.core import Secret
from meshpass.api.metadata import ObjectMeta
from meshpass.api.objectset import ObjectKey
from meshpass.translate.rootsecret import root_secret, without_root


def make(*keys: ObjectKey) -> dict[ObjectKey, Secret]:
    return {key: Secret(metadata=ObjectMeta(name=key.name, namespace=key.namespace)) for key in keys}


def test_it_is_that_of_the_management_cluster_alone() -> None:
    """One of the same name in another cluster is a Secret like others."""
    elsewhere = root_secret("cluster1")
    beside = root_secret("mgmt")._replace(name="other")
    secrets = make(root_secret("mgmt"), elsewhere, beside)

    assert without_root(secrets, "mgmt").keys() == {elsewhere, beside}


def test_nothing_is_copied_where_it_is_not() -> None:
    """The same mapping is the same memo key."""
    secrets = make(root_secret("cluster1"))

    assert without_root(secrets, "mgmt") is secrets
