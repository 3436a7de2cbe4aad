"""An embedded API server for tests: TLS files, a kubeconfig, a client, and a small CRD."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshpass.apiserver.server import ApiServer
from meshpass.apiserver.settings import ApiServerSettings

TOKEN = "token-of-the-tests"

WIDGET_CRD: Mapping[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {
            "plural": "widgets",
            "singular": "widget",
            "kind": "Widget",
            "shortNames": ["wd"],
            "categories": ["all"],
        },
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Colour", "type": "string", "jsonPath": ".spec.colour", "priority": 1},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "description": "A widget has a size.",
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "description": "How big it is."},
                                    "colour": {"type": "string", "enum": ["red", "green"], "default": "red"},
                                    "parts": {
                                        "type": "array",
                                        "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "phase": {"type": "string"},
                                    "conditions": {
                                        "type": "array",
                                        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """A self-signed certificate for 127.0.0.1 and its key."""

    certificate: Path
    private_key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningApiServer:
    """A server that accepts connections, and what clients need to reach it."""

    server: ApiServer
    client: httpx.AsyncClient
    kubeconfig: Path
    tls: TlsFiles

    @property
    def url(self) -> str:
        return self.server.url


def make_tls_files(directory: Path) -> TlsFiles:
    """The files exist, the key with mode 0600; valid for one day."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "meshpass tests")])
    start = datetime.now(UTC) - timedelta(minutes=5)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(certificate=directory / "tls.crt", private_key=directory / "tls.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.private_key.touch(mode=0o600)
    files.private_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def make_settings(directory: Path, tls: TlsFiles, **changes: Any) -> ApiServerSettings:
    """Settings of a server on a free port with the widget CRD."""
    given: dict[str, Any] = {
        "cluster": "test",
        "directory": directory / "state",
        "certificate": tls.certificate,
        "private_key": tls.private_key,
        "token": TOKEN,
        "crds": (WIDGET_CRD,),
    }
    return ApiServerSettings(**{**given, **changes})


def write_kubeconfig(path: Path, url: str, certificate: Path, *, token: str = TOKEN) -> Path:
    """A kubeconfig with one context, ``test``, in mode 0600."""
    path.touch(mode=0o600)
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "test",
                "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(certificate)}}],
                "users": [{"name": "test", "user": {"token": token}}],
                "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            }
        )
    )
    return path


def make_client(url: str, certificate: Path, *, token: str = TOKEN) -> httpx.AsyncClient:
    """A client that trusts the server and holds the token."""
    context = ssl.create_default_context(cafile=str(certificate))
    return httpx.AsyncClient(
        base_url=url, verify=context, headers={"Authorization": f"Bearer {token}"}, timeout=10, trust_env=False
    )


@asynccontextmanager
async def run_api_server(directory: Path, **changes: Any) -> AsyncIterator[RunningApiServer]:
    """A server for the length of the block."""
    tls = make_tls_files(directory)
    async with (
        ApiServer(make_settings(directory, tls, **changes)) as server,
        make_client(server.url, tls.certificate) as client,
    ):
        kubeconfig = write_kubeconfig(directory / "kubeconfig", server.url, tls.certificate)
        yield RunningApiServer(server=server, client=client, kubeconfig=kubeconfig, tls=tls)


def widget(name: str, *, namespace: str = "default", size: int = 1, **metadata: Any) -> dict[str, Any]:
    """A valid Widget."""
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"size": size},
    }
