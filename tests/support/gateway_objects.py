"""Gateways in a few words: the pod, the Service in front of it, VirtualGateways, certificates and their Secrets.

objects = object_set(BASE, pod(), service(), virtual_gateway(HTTP, tls("www.example.com")), secret())
"""

from __future__ import annotations

import base64
import datetime as dt
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

NODE = "gateway~cluster1~httpbin~edge"
HTTP = {"port": {"number": 80}, "http": {}}


def pod(name: str = "edge", *, ip: str = "127.0.2.1", proxy: str = "gateway", **labels: str) -> dict[str, Any]:
    """A gateway."""
    metadata: dict[str, Any] = {"name": name, "namespace": "httpbin", "labels": labels or {"istio": "ingressgateway"}}
    metadata["annotations"] = {"meshpass.dev/proxy": proxy}
    containers = [{"name": "envoy", "ports": [{"name": "named", "containerPort": 8444}]}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers},
        "status": {"podIP": ip},
    }


PORTS = (
    {"name": "http2", "port": 80, "targetPort": 8080},
    {"name": "https", "port": 443, "targetPort": 8443},
    {"name": "alt", "port": 8080, "targetPort": 8080},
    {"name": "tls", "port": 444, "targetPort": "named"},
    {"name": "dns", "port": 53, "protocol": "UDP"},
)


def service(name: str = "ingress", *ports: dict[str, Any], **selector: str) -> dict[str, Any]:
    """The Service in front of the gateway, with the ports PORTS if none are said."""
    spec = {
        "type": "LoadBalancer",
        "selector": selector or {"istio": "ingressgateway"},
        "ports": list(ports or PORTS),
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "httpbin"}, "spec": spec}


def virtual_gateway(
    *listeners: dict[str, Any], name: str = "gateway", created: str = "2024-01-01T00:00:00Z", **spec: Any
) -> dict[str, Any]:
    """A VirtualGateway of namespace httpbin; one listener, HTTP, if none are said."""
    metadata = {"name": name, "namespace": spec.pop("namespace", "httpbin"), "creationTimestamp": created}
    return {
        "apiVersion": "networking.gloo.solo.io/v2",
        "kind": "VirtualGateway",
        "metadata": metadata,
        "spec": {"listeners": list(listeners or (HTTP,)), **spec},
    }


def tls(*hosts: str, **settings: Any) -> dict[str, Any]:
    """An HTTPS listener on port 443."""
    allowed = [{"host": host} for host in hosts]
    block = {"mode": "SIMPLE", "secretName": "certificate", **settings}
    return {"port": {"number": 443}, "http": {}, "tls": block, "allowedRouteTables": allowed}


def make_pair(*names: str, key: Any = None, serial: int | None = None) -> tuple[str, str]:
    """A certificate for these names, which is its own authority, and its key, as PEM."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = names or ("www.example.com",)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, digest)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


CERTIFICATE, PRIVATE_KEY = make_pair()


def secret(name: str = "certificate", *, namespace: str = "httpbin", **entries: str) -> dict[str, Any]:
    """A Secret; entries are named with ``_`` for ``.``."""
    texts = entries or {"tls_crt": CERTIFICATE, "tls_key": PRIVATE_KEY}
    data = {entry.replace("_", "."): base64.b64encode(text.encode()).decode() for entry, text in texts.items()}
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": metadata, "data": data}
