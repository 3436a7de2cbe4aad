from __future__ import annotations

import asyncio
import gzip
import logging
import os
import ssl
import time
import tracemalloc
import zlib
from pathlib import Path

import pytest
from tests.support.fake_kube import wait_for
from tests.support.jwks_server import (
    EC_KEY,
    MEBIBYTE,
    Received,
    bomb,
    drip,
    endless,
    hang,
    key_set,
    moved,
    oversize,
    redirect,
    reply,
    reset,
    running_server,
    serve,
)

from meshpass.identity.certificate import ensure_server_certificate
from meshpass.ir import Endpoint
from meshpass.jwks.download import Answer, Downloader, Validators
from meshpass.jwks.failure import FetchError
from meshpass.translate.keysource import KeyFetch, KeySource

GOOD = key_set(EC_KEY)
NONE = Validators()


async def ask(url: str, *, seconds: float = 5.0, validators: Validators = NONE, **options) -> Answer:
    endpoints = options.pop("endpoints", None)
    fetch = KeyFetch(timeout_seconds=seconds, endpoints=endpoints)
    return await Downloader(**options)(KeySource(url), fetch, validators)


@pytest.mark.parametrize(
    "behaviour",
    [
        reply(GOOD),
        reply(GOOD, content_type="text/plain"),
        reply(GOOD, content_type="application/octet-stream"),
        reply(gzip.compress(GOOD), content_encoding="gzip"),
        reply(zlib.compress(GOOD), content_encoding="deflate"),
        moved("/a/keys?b", reply(GOOD)),
        reply(GOOD + b" " * (MEBIBYTE - len(GOOD))),
    ],
    ids=["json", "text", "bytes", "gzip", "deflate", "moved", "as large as allowed"],
)
async def test_good_answers(behaviour):
    async with running_server(behaviour) as server:
        answer = await ask(server.url)
    assert answer.body is not None
    assert answer.body.rstrip() == GOOD


@pytest.mark.parametrize(
    ("behaviour", "reason", "transient"),
    [
        (reply(GOOD, 500), "the server answered 500", True),
        (reply(GOOD, 429), "the server answered 429", True),
        (reply(GOOD, 404), "the server answered 404", False),
        (reply(GOOD, 204), "the server answered 204", False),
        (reply(GOOD, 203), "the server answered 203", False),
        (reply(b"", 304), "the server answered 304", False),
        (reply(GOOD, content_type="text/html; charset=utf-8"), "the answer is a web page", False),
        (oversize(), "the answer is larger than 1 MiB", False),
        (bomb(), "the answer is larger than 1 MiB", False),
        (endless, "the answer is larger than 1 MiB", False),
        (reply(gzip.compress(GOOD) + b"x" * 2 * MEBIBYTE, content_encoding="gzip"), "the answer is larger", False),
        (reply(GOOD, content_encoding="gzip"), "the answer cannot be unpacked", False),
        (reply(gzip.compress(GOOD)[:-9], content_encoding="gzip"), "the answer cannot be unpacked", False),
        (reply(GOOD, content_encoding="br"), "the answer is packed in a way", False),
        (reply(GOOD, content_encoding="gzip, gzip"), "the answer is packed in a way", False),
        (reset, "the connection broke before the answer was whole", True),
        (reply(GOOD, content_length="9999"), "the connection broke before the answer was whole", True),
        (reply(GOOD, content_length="x"), "the connection broke before the answer was whole", True),
        (redirect("/keys"), "redirects more than 3 times", False),
        (redirect("https://127.0.0.1/keys"), "redirects to another scheme, host or port", False),
        (redirect("http://127.0.0.1:1/keys"), "redirects to another scheme, host or port", False),
        (redirect("http://169.254.169.254/latest"), "redirects to another scheme, host or port", False),
        (redirect("file:///etc/passwd"), "redirects to another scheme, host or port", False),
        (redirect("http://[::1"), "redirects to what cannot be read", False),
        (reply(b"", 300), "the server answered 300", False),
    ],
)
async def test_bad_answers(behaviour, reason, transient):
    """Each says why, in words that are always the same."""
    async with running_server(behaviour) as server:
        with pytest.raises(FetchError) as caught:
            await ask(server.url)
    assert caught.value.reason.startswith(reason)
    assert caught.value.transient is transient


@pytest.mark.parametrize("behaviour", [hang, drip], ids=["nothing comes", "it never ends"])
async def test_the_time_limit_is_for_all_of_the_answer(behaviour):
    async with running_server(behaviour) as server:
        began = time.monotonic()
        with pytest.raises(FetchError, match=r"no whole answer within 0\.2s") as caught:
            await ask(server.url, seconds=0.2)
    assert caught.value.transient
    assert time.monotonic() - began < 2


async def test_a_bomb_takes_no_memory():
    behaviour = bomb()
    tracemalloc.start()
    try:
        async with running_server(behaviour) as server:
            with pytest.raises(FetchError):
                await ask(server.url)
        assert tracemalloc.get_traced_memory()[1] < 8 * MEBIBYTE
    finally:
        tracemalloc.stop()


async def test_what_is_sent():
    async with running_server(reply(GOOD)) as server:
        await ask(server.url + "?tenant=a%20b", validators=Validators('"v1"', "Sun, 06 Nov 1994 08:49:37 GMT"))
        assert server.requests == [
            Received(
                target="/keys?tenant=a%20b",
                headers={
                    "host": f"127.0.0.1:{server.port}",
                    "accept": "application/json, application/jwk-set+json",
                    "accept-encoding": "gzip",
                    "connection": "close",
                    "user-agent": "meshpass",
                    "if-none-match": '"v1"',
                    "if-modified-since": "Sun, 06 Nov 1994 08:49:37 GMT",
                },
            )
        ]


async def test_conditions_and_caching_headers():
    async with running_server(serve(EC_KEY, etag='"v1"', cache_control="max-age=60")) as server:
        first = await ask(server.url)
        assert (first.lifetime, first.validators) == (60, Validators('"v1"'))
        again = await ask(server.url, validators=first.validators)
        assert again == Answer(body=None, lifetime=60, validators=first.validators)


async def test_a_connection_goes_to_the_address_that_was_checked():
    """The resolver is asked once; what it would say a moment later (DNS rebinding) does not matter."""
    asked: list[str] = []

    async def resolve(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    async with running_server(moved("/elsewhere", reply(GOOD))) as server:
        answer = await ask(f"http://keys.example.com:{server.port}/keys", resolve=resolve)
        assert answer.body == GOOD
        assert [one.headers["host"] for one in server.requests] == [f"keys.example.com:{server.port}"] * 2
    assert asked == ["keys.example.com"]


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        (["169.254.169.254"], "the host's address is link-local"),
        (["::ffff:169.254.169.254"], "the host's address is link-local"),
        (["fd00:ec2::254"], "the host's address is a metadata service's"),
        (["0.0.0.0"], "the host's address is unspecified"),
        ([], "the host has no address"),
    ],
)
async def test_names_that_resolve_to_refused_addresses(addresses, reason):
    async def resolve(_host: str, _port: int) -> list[str]:
        return addresses

    with pytest.raises(FetchError, match=reason):
        await ask("http://keys.example.com/", resolve=resolve)


async def test_refused_addresses_are_passed_over_for_good_ones():
    async def resolve(_host: str, _port: int) -> list[str]:
        return ["169.254.169.254", "127.0.0.1"]

    async with running_server(reply(GOOD)) as server:
        assert (await ask(f"http://keys.example.com:{server.port}/", resolve=resolve)).body == GOOD


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"])
async def test_private_addresses_only_where_they_are_allowed(host):
    async with running_server(reply(GOOD)) as server:
        url = f"http://{host}:{server.port}/keys"
        assert (await ask(url)).body == GOOD
        with pytest.raises(FetchError, match="address is private"):
            await ask(url, allow_private=False)
        assert server.count == 1


async def test_endpoints_are_tried_in_turn():
    """They get the URL's host and path; where they are is the mesh's business, but link-local ones are still refused."""
    async with running_server(reply(GOOD)) as dead:
        pass
    async with running_server(reply(GOOD)) as server:
        endpoints = (
            Endpoint("169.254.169.254", 80),
            Endpoint("127.0.0.1", dead.port),
            Endpoint("127.0.0.1", server.port),
        )
        url = "http://keys.example.com/keys"
        assert (await ask(url, endpoints=endpoints, allow_private=False)).body == GOOD
        assert [(one.target, one.headers["host"]) for one in server.requests] == [("/keys", "keys.example.com")]
        with pytest.raises(FetchError, match="cannot connect: Connection refused"):
            await ask(url, endpoints=endpoints[:2])
        with pytest.raises(FetchError, match="link-local"):
            await ask(url, endpoints=endpoints[:1])
        with pytest.raises(FetchError, match="no endpoints"):
            await ask(url, endpoints=())


async def test_an_endpoint_that_answers_badly_is_not_followed_by_another():
    async with running_server(reply(b"", 500)) as bad, running_server(reply(GOOD)) as good:
        with pytest.raises(FetchError, match="500"):
            await ask("http://a/", endpoints=(Endpoint("127.0.0.1", bad.port), Endpoint("127.0.0.1", good.port)))
        assert good.count == 0


async def test_names_that_cannot_be_resolved():
    async def resolve(_host: str, _port: int) -> list[str]:
        raise OSError("no such host")

    with pytest.raises(FetchError, match=r"the name keys\.example\.com cannot be resolved") as caught:
        await ask("http://keys.example.com/", resolve=resolve)
    assert caught.value.transient


async def test_tls_is_checked_against_the_name(tmp_path: Path):
    """The certificate has to be for the URL's host, not for the address or endpoint that is connected to."""

    async def resolve(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    server_tls, trusted = make_contexts(tmp_path)
    async with running_server(reply(GOOD), tls=server_tls) as server:
        assert (await ask(f"https://localhost:{server.port}/", resolve=resolve, tls=trusted)).body == GOOD
        endpoints = (Endpoint("127.0.0.1", server.port),)
        assert (await ask("https://localhost/", endpoints=endpoints, tls=trusted)).body == GOOD
        with pytest.raises(FetchError, match="certificate is not trusted: Hostname mismatch"):
            await ask(f"https://keys.example.com:{server.port}/", resolve=resolve, tls=trusted)
        with pytest.raises(FetchError, match="certificate is not trusted"):
            await ask(f"https://localhost:{server.port}/", resolve=resolve)
        with pytest.raises(FetchError):
            await ask(f"http://localhost:{server.port}/", resolve=resolve)


def make_contexts(path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    files = ensure_server_certificate(path, name="key server", hosts=["localhost"])
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(files.certificate, files.private_key)
    return server_tls, ssl.create_default_context(cafile=str(files.ca))


async def test_the_environment_has_no_say(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:1")
    async with running_server(reply(GOOD)) as server:
        assert (await ask(server.url)).body == GOOD


async def test_nothing_secret_is_logged(caplog):
    """Neither a URL's query nor a body, at any level."""
    caplog.set_level(logging.DEBUG)
    async with running_server(reply(b"secretbody")) as server:
        await ask(server.url + "?key=secretquery")
        server.behaviour = reply(b"", 500, x_header="bad\rsecretheader")
        with pytest.raises(FetchError):
            await ask(server.url + "?key=secretquery")
    assert "secretquery" not in caplog.text
    assert "secretbody" not in caplog.text


async def test_cancelling_ends_the_request():
    async with running_server(hang) as server, asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ask(server.url, seconds=60))
        await wait_for(lambda: server.count == 1)
        task.cancel()
