"""Protobuf fields: the numbers that Kubernetes gives to the fields of the kinds that clients send as protobuf.

They follow the ``generated.proto`` files of Kubernetes' API packages, which promise never to change a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldType:
    """``name``: a scalar (string, bytes, int, bool, time, microtime, intorstring, quantity, json) or a message."""

    name: str
    repeated: bool = False
    map: bool = False
    keep_zero: bool = False
    """True for optional scalars: they are on the wire only when the client set them."""


def _table(fields: str) -> Mapping[int, tuple[str, FieldType]]:
    """``1 name string, 2 items *Item, 3 labels %string, 4 replicas ?int``: repeated ``*``, map ``%``, optional ``?``."""
    table = {}
    for entry in fields.split(","):
        number, json_name, text = entry.split()
        table[int(number)] = (
            json_name,
            FieldType(
                name=text.lstrip("*%?"),
                repeated=text.startswith("*"),
                map=text.startswith("%"),
                keep_zero=text.startswith("?"),
            ),
        )
    return table


MESSAGES: Final[Mapping[str, Mapping[int, tuple[str, FieldType]]]] = {
    "ObjectMeta": _table(
        "1 name string, 2 generateName string, 3 namespace string, 4 selfLink string, 5 uid string,"
        "6 resourceVersion string, 7 generation int, 8 creationTimestamp time, 9 deletionTimestamp time,"
        "10 deletionGracePeriodSeconds ?int, 11 labels %string, 12 annotations %string,"
        "13 ownerReferences *OwnerReference, 14 finalizers *string, 17 managedFields *ManagedFieldsEntry"
    ),
    "ManagedFieldsEntry": _table(
        "1 manager string, 2 operation string, 3 apiVersion string, 4 time time, 6 fieldsType string, 7 fieldsV1 json,"
        "8 subresource string"
    ),
    "OwnerReference": _table(
        "1 kind string, 3 name string, 4 uid string, 5 apiVersion string, 6 controller ?bool, 7 blockOwnerDeletion ?bool"
    ),
    "LocalObjectReference": _table("1 name string"),
    "LabelSelector": _table("1 matchLabels %string, 2 matchExpressions *LabelSelectorRequirement"),
    "LabelSelectorRequirement": _table("1 key string, 2 operator string, 3 values *string"),
    "DeleteOptions": _table(
        "1 gracePeriodSeconds ?int, 2 preconditions Preconditions, 3 orphanDependents ?bool,"
        "4 propagationPolicy string, 5 dryRun *string"
    ),
    "Preconditions": _table("1 uid string, 2 resourceVersion string"),
    "Namespace": _table("1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status NamespaceStatus"),
    "NamespaceSpec": _table("1 finalizers *string"),
    "NamespaceStatus": _table("1 phase string"),
    "ConfigMap": _table("1 metadata ObjectMeta, 2 data %string, 3 binaryData %bytes, 4 immutable ?bool"),
    "Secret": _table("1 metadata ObjectMeta, 2 data %bytes, 3 type string, 4 stringData %string, 5 immutable ?bool"),
    "ServiceAccount": _table(
        "1 metadata ObjectMeta, 2 secrets *ObjectReference, 3 imagePullSecrets *LocalObjectReference,"
        "4 automountServiceAccountToken ?bool"
    ),
    "ObjectReference": _table(
        "1 kind string, 2 namespace string, 3 name string, 4 uid string, 5 apiVersion string,"
        "6 resourceVersion string, 7 fieldPath string"
    ),
    "Service": _table("1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status ServiceStatus"),
    "ServiceSpec": _table(
        "1 ports *ServicePort, 2 selector %string, 3 clusterIP string, 4 type string, 5 externalIPs *string,"
        "7 sessionAffinity string, 8 loadBalancerIP string, 9 loadBalancerSourceRanges *string, 10 externalName string,"
        "11 externalTrafficPolicy string, 12 healthCheckNodePort int, 13 publishNotReadyAddresses bool,"
        "17 ipFamilyPolicy string, 18 clusterIPs *string, 19 ipFamilies *string,"
        "20 allocateLoadBalancerNodePorts ?bool, 21 loadBalancerClass string, 22 internalTrafficPolicy string"
    ),
    "ServicePort": _table(
        "1 name string, 2 protocol string, 3 port int, 4 targetPort intorstring, 5 nodePort int, 6 appProtocol string"
    ),
    "ServiceStatus": _table("1 loadBalancer LoadBalancerStatus"),
    "LoadBalancerStatus": _table("1 ingress *LoadBalancerIngress"),
    "LoadBalancerIngress": _table("1 ip string, 2 hostname string"),
    "Deployment": _table("1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status DeploymentStatus"),
    "DeploymentSpec": _table(
        "1 replicas ?int, 2 selector LabelSelector, 3 template PodTemplateSpec, 4 strategy DeploymentStrategy,"
        "5 minReadySeconds int, 6 revisionHistoryLimit ?int, 7 paused bool, 9 progressDeadlineSeconds ?int"
    ),
    "DeploymentStrategy": _table("1 type string, 2 rollingUpdate RollingUpdateDeployment"),
    "RollingUpdateDeployment": _table("1 maxUnavailable ?intorstring, 2 maxSurge ?intorstring"),
    "DeploymentStatus": _table(
        "1 observedGeneration int, 2 replicas int, 3 updatedReplicas int, 4 availableReplicas int,"
        "5 unavailableReplicas int, 7 readyReplicas int"
    ),
    "PodTemplateSpec": _table("1 metadata ObjectMeta, 2 spec PodSpec"),
    "PodSpec": _table(
        "2 containers *Container, 3 restartPolicy string, 4 terminationGracePeriodSeconds ?int, 6 dnsPolicy string,"
        "7 nodeSelector %string, 8 serviceAccountName string, 9 serviceAccount string, 10 nodeName string,"
        "11 hostNetwork bool, 12 hostPID bool, 13 hostIPC bool, 15 imagePullSecrets *LocalObjectReference,"
        "16 hostname string, 17 subdomain string, 19 schedulerName string, 20 initContainers *Container,"
        "21 automountServiceAccountToken ?bool, 24 priorityClassName string"
    ),
    "Container": _table(
        "1 name string, 2 image string, 3 command *string, 4 args *string, 5 workingDir string,"
        "6 ports *ContainerPort, 7 env *EnvVar, 8 resources ResourceRequirements, 13 terminationMessagePath string,"
        "14 imagePullPolicy string, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, 20 terminationMessagePolicy string"
    ),
    "ContainerPort": _table("1 name string, 2 hostPort int, 3 containerPort int, 4 protocol string, 5 hostIP string"),
    "EnvVar": _table("1 name string, 2 value string"),
    "ResourceRequirements": _table("1 limits %quantity, 2 requests %quantity"),
    "Lease": _table("1 metadata ObjectMeta, 2 spec LeaseSpec"),
    "LeaseSpec": _table(
        "1 holderIdentity ?string, 2 leaseDurationSeconds ?int, 3 acquireTime microtime, 4 renewTime microtime,"
        "5 leaseTransitions ?int, 6 strategy string, 7 preferredHolder string"
    ),
    "SelfSubjectAccessReview": _table(
        "1 metadata ObjectMeta, 2 spec SelfSubjectAccessReviewSpec, 3 status SubjectAccessReviewStatus"
    ),
    "SelfSubjectAccessReviewSpec": _table(
        "1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes"
    ),
    "ResourceAttributes": _table(
        "1 namespace string, 2 verb string, 3 group string, 4 version string, 5 resource string,"
        "6 subresource string, 7 name string"
    ),
    "NonResourceAttributes": _table("1 path string, 2 verb string"),
    "SubjectAccessReviewStatus": _table("1 allowed bool, 2 reason string, 3 evaluationError string, 4 denied bool"),
    "SelfSubjectRulesReview": _table(
        "1 metadata ObjectMeta, 2 spec SelfSubjectRulesReviewSpec, 3 status SubjectRulesReviewStatus"
    ),
    "SelfSubjectRulesReviewSpec": _table("1 namespace string"),
    "SubjectRulesReviewStatus": _table("3 incomplete bool, 4 evaluationError string"),
    "SelfSubjectReview": _table("1 metadata ObjectMeta, 2 status SelfSubjectReviewStatus"),
    "SelfSubjectReviewStatus": _table("1 userInfo UserInfo"),
    "UserInfo": _table("1 username string, 2 uid string, 3 groups *string"),
}
"""Fields by number, by message. What is absent here is refused."""

ROOTS: Final[Mapping[tuple[str, str], str]] = {
    ("v1", "Namespace"): "Namespace",
    ("v1", "ConfigMap"): "ConfigMap",
    ("v1", "Secret"): "Secret",
    ("v1", "Service"): "Service",
    ("v1", "ServiceAccount"): "ServiceAccount",
    ("v1", "DeleteOptions"): "DeleteOptions",
    ("apps/v1", "Deployment"): "Deployment",
    ("apps/v1", "DeleteOptions"): "DeleteOptions",
    ("meta.k8s.io/v1", "DeleteOptions"): "DeleteOptions",
    ("coordination.k8s.io/v1", "Lease"): "Lease",
    ("authentication.k8s.io/v1", "SelfSubjectReview"): "SelfSubjectReview",
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): "SelfSubjectAccessReview",
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): "SelfSubjectRulesReview",
}
"""The message of each kind that may stand in an envelope, by apiVersion and kind."""
