"""A caller that speaks mutual TLS by itself, as any workload of the mesh, without a sidecar.

status = await call_as(mesh, account("stranger", "elsewhere"))
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from pathlib import Path

from tests.support.envoy_mesh import GUARDED, INBOUND_PORT, EnvoyMesh

SERVER_NAME = "8000.guarded.httpbin.cluster1.svc.meshpass.internal"


async def call_as(mesh: EnvoyMesh, identity: str, path: str = "/get") -> tuple[int, str]:
    """Status and body of the answer of the pod ``guarded``. The connection begins at nobody's address."""
    assert mesh.issuer is not None
    certificate = mesh.issuer.sign(identity)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with tempfile.TemporaryDirectory(prefix="meshpass-") as directory:
        both = Path(directory) / "both.pem"
        both.touch(mode=0o600)
        both.write_text(certificate.private_key + certificate.chain)
        context.load_cert_chain(both)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(
            mesh.address(GUARDED), INBOUND_PORT, ssl=context, server_hostname=SERVER_NAME
        )
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: guarded:8000\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
    return int(head.split()[1]), body.decode()
