"""Bootstrap: what a fresh API server holds before the first client comes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from meshpass.apiserver.options import FieldValidation, WriteOptions
from meshpass.apiserver.registry import Registry
from meshpass.apiserver.storage import Storage
from meshpass.apiserver.target import Target
from meshpass.apiserver.writer import Writer

_NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_OPTIONS = WriteOptions(field_validation=FieldValidation.STRICT, manager="kube-apiserver")


def bootstrap(storage: Storage, registry: Registry, writer: Writer, definitions: Iterable[Mapping[str, Any]]) -> None:
    """The namespaces that every cluster has exist, and each definition is stored as given.

    Raises StatusError for a definition that the server would refuse from a client too.
    """
    namespaces = registry.find("", "v1", "namespaces")
    crds = registry.find("apiextensions.k8s.io", "v1", "customresourcedefinitions")
    if namespaces is None or crds is None:  # pragma: no cover - both are built in
        raise LookupError("namespaces and customresourcedefinitions are not served")
    for name in _NAMESPACES:
        target = Target(resource=namespaces, namespace=None, name=name)
        if storage.get(target.key) is None:
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            writer.create(Target(resource=namespaces, namespace=None), namespace, _OPTIONS)
    for definition in definitions:
        manifest = copy.deepcopy(dict(definition))
        target = Target(resource=crds, namespace=None, name=manifest["metadata"]["name"])
        if storage.get(target.key) is None:
            writer.create(Target(resource=crds, namespace=None), manifest, _OPTIONS)
        else:
            manifest["metadata"].pop("resourceVersion", None)
            writer.update(target, manifest, _OPTIONS)
