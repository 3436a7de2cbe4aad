"""helloworld says who has answered, as the well-known sample does."""

from __future__ import annotations

import httpx2 as httpx

from meshpass.localmesh.apps.helloworld import build_application


async def test_hello():
    """Version and Pod, as the environment names them."""
    application = build_application({"SERVICE_VERSION": "v2", "HOSTNAME": "helloworld-v2"})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=application), base_url="http://x") as client:
        hello, health = await client.get("/hello"), await client.get("/health")

    assert hello.text == "Hello version: v2, instance: helloworld-v2\n"
    assert health.status_code == 200
