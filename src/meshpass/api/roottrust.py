"""RootTrustPolicy of ``admin.gloo.solo.io/v2``: who stands for the identities of the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar

from meshpass.api.common import UInt32
from meshpass.api.metadata import ApiObject
from meshpass.api.status import ObjectStatus
from meshpass.api.struct import ApiStruct, OneOfStruct, doc


class CertificateOptions(ApiStruct):
    """What a certificate is to be like."""

    ttl_days: Annotated[UInt32, doc("Days for which it is valid")] = 0
    rsa_key_size_bytes: Annotated[UInt32, doc("Size of its RSA key")] = 0
    org_name: Annotated[str, doc("Organization in its subject")] = ""
    secret_rotation_grace_period_ratio: Annotated[float, doc("Part of its life before the end, when it is renewed")] = (
        0.0
    )


class NamespacedName(ApiStruct):
    """An object of the policy's own cluster."""

    name: Annotated[str, doc("Name of the object")] = ""
    namespace: Annotated[str, doc("Namespace of the object")] = ""


class RootAuthority(OneOfStruct):
    """A root: made by the management server, or given."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("generated", "secret_ref"),)
    generated: Annotated[CertificateOptions | None, doc("The management server makes it")] = None
    secret_ref: Annotated[NamespacedName | None, doc("A Secret has its certificate and key")] = None


class VaultKubernetesAuth(OneOfStruct):
    """How an agent shows Vault who it is: by a service account."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("service_account_ref", "mounted_sa_path"),)
    mount_path: Annotated[str, doc("Where Vault has its Kubernetes authentication")] = ""
    role: Annotated[str, doc("Role of Vault")] = ""
    secret_token_key: Annotated[str, doc("Entry of the Secret that has the token")] = ""
    service_account_ref: Annotated[NamespacedName | None, doc("The service account")] = None
    mounted_sa_path: Annotated[str | None, doc("File with the token of the service account")] = None


class VaultAuthority(OneOfStruct):
    """Vault signs what the meshes of a cluster use."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (
        ("ca_bundle", "ca_secret_ref", "ca_local_path"),
        ("token_secret_ref", "kubernetes_auth"),
    )
    ca_path: Annotated[str, doc("Path of Vault that signs")] = ""
    csr_path: Annotated[str, doc("Path of Vault that makes a request to sign")] = ""
    server: Annotated[str, doc("URL of Vault")] = ""
    namespace: Annotated[str, doc("Namespace of Vault")] = ""
    ca_bundle: Annotated[
        str | None, doc("Certificates by which Vault is believed, in base64", schema={"format": "byte"})
    ] = None
    ca_secret_ref: Annotated[NamespacedName | None, doc("Secret with these certificates")] = None
    ca_local_path: Annotated[str | None, doc("File with these certificates")] = None
    token_secret_ref: Annotated[NamespacedName | None, doc("Secret with a token of Vault")] = None
    kubernetes_auth: Annotated[VaultKubernetesAuth | None, doc("By a service account")] = None


class AgentAuthority(ApiStruct):
    """Agents have their intermediates from elsewhere than the management server."""

    vault: Annotated[VaultAuthority | None, doc("From Vault")] = None


class IstioSelector(ApiStruct):
    """Control planes of Istio."""

    revision: Annotated[str, doc("Revision")] = ""
    namespace: Annotated[str, doc("Namespace of the control plane")] = ""
    cluster_selector: Annotated[Mapping[str, str], doc("Labels of the KubernetesCluster")] = {}
    selector: Annotated[Mapping[str, str], doc("Labels of the control plane's Deployment")] = {}


class MeshSelector(ApiStruct):
    """Meshes."""

    istio: Annotated[IstioSelector | None, doc("By their control planes")] = None


class RootTrustConfig(OneOfStruct):
    """Who signs, and for how long."""

    one_of: ClassVar[tuple[tuple[str, ...], ...]] = (("mgmt_server_ca", "agent_ca"),)
    mgmt_server_ca: Annotated[RootAuthority | None, doc("The root of all clusters; unset is generated")] = None
    agent_ca: Annotated[AgentAuthority | None, doc("Who signs the intermediates instead")] = None
    intermediate_cert_options: Annotated[
        CertificateOptions | None, doc("What the intermediates of clusters are like")
    ] = None
    auto_restart_pods: Annotated[bool, doc("Restart Pods for new certificates; proxies take them without")] = False
    passive_certificate_authorities: Annotated[
        tuple[RootAuthority, ...], doc("Roots that are believed, and sign nothing")
    ] = ()


class RootTrustPolicySpec(ApiStruct):
    """Which meshes have which root."""

    apply_to_meshes: Annotated[tuple[MeshSelector, ...], doc("Meshes; empty is all")] = ()
    config: Annotated[RootTrustConfig | None, doc("Who signs, and for how long")] = None


class RootTrustPolicy(ApiObject):
    """One root for the identities of all clusters. The mesh has one without it, too."""

    spec: Annotated[RootTrustPolicySpec, doc("Meshes and their root")] = RootTrustPolicySpec()
    status: Annotated[ObjectStatus | None, doc("What became of it; written by the control plane")] = None
