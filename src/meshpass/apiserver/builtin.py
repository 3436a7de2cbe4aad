"""The kinds that every Kubernetes cluster has and that this server serves without a CustomResourceDefinition."""

from __future__ import annotations

from typing import Final

from meshpass.apiserver.modelschema import lazy_model_schema
from meshpass.apiserver.resource import Resource

_CORE_EVENT_FIELDS: Final = (
    "involvedObject.apiVersion",
    "involvedObject.fieldPath",
    "involvedObject.kind",
    "involvedObject.name",
    "involvedObject.namespace",
    "involvedObject.resourceVersion",
    "involvedObject.uid",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_POD_FIELDS: Final = (
    "spec.hostNetwork",
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "status.nominatedNodeName",
    "status.phase",
    "status.podIP",
)


def _core(
    kind: str,
    plural: str,
    *,
    short_names: tuple[str, ...] = (),
    categories: tuple[str, ...] = (),
    namespaced: bool = True,
    status: bool = False,
    fields: tuple[str, ...] = (),
) -> Resource:
    return Resource(
        group="",
        version="v1",
        kind=kind,
        plural=plural,
        singular=kind.lower(),
        namespaced=namespaced,
        short_names=short_names,
        categories=categories,
        schema=lazy_model_schema("core_v1", kind),
        status_subresource=status,
        builtin=True,
        selectable_fields=fields,
    )


BUILTIN_RESOURCES: Final[tuple[Resource, ...]] = (
    _core("ConfigMap", "configmaps", short_names=("cm",)),
    _core("Event", "events", short_names=("ev",), fields=_CORE_EVENT_FIELDS),
    _core("Namespace", "namespaces", short_names=("ns",), namespaced=False, status=True, fields=("status.phase",)),
    _core("Pod", "pods", short_names=("po",), categories=("all",), status=True, fields=_POD_FIELDS),
    _core("Secret", "secrets", fields=("type",)),
    _core("ServiceAccount", "serviceaccounts", short_names=("sa",)),
    _core(
        "Service",
        "services",
        short_names=("svc",),
        categories=("all",),
        status=True,
        fields=("spec.clusterIP", "spec.type"),
    ),
    Resource(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural="customresourcedefinitions",
        singular="customresourcedefinition",
        namespaced=False,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        schema=lazy_model_schema("apiextensions_v1", "CustomResourceDefinition"),
        status_subresource=True,
        builtin=True,
    ),
    Resource(
        group="apps",
        version="v1",
        kind="Deployment",
        plural="deployments",
        singular="deployment",
        namespaced=True,
        short_names=("deploy",),
        categories=("all",),
        schema=lazy_model_schema("apps_v1", "Deployment"),
        status_subresource=True,
        builtin=True,
    ),
    Resource(
        group="coordination.k8s.io",
        version="v1",
        kind="Lease",
        plural="leases",
        singular="lease",
        namespaced=True,
        schema=lazy_model_schema("coordination_v1", "Lease"),
        builtin=True,
    ),
    Resource(
        group="discovery.k8s.io",
        version="v1",
        kind="EndpointSlice",
        plural="endpointslices",
        singular="endpointslice",
        namespaced=True,
        schema=lazy_model_schema("discovery_v1", "EndpointSlice"),
        builtin=True,
    ),
)
"""Every built-in kind, the core group first, then by group; the order of kinds within a group is alphabetical."""
