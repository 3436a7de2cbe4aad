"""The fetcher against a real key server with every fault, and the commands against a real control socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.support.jwks_server import (
    EC_KEY,
    OTHER_KEY,
    UNKNOWN_KEY,
    JwksServer,
    bomb,
    drip,
    endless,
    hang,
    key_set,
    oversize,
    redirect,
    reply,
    reset,
    running_server,
    serve,
)
from typer import Typer
from typer.testing import CliRunner, Result

from meshpass.api.objectset import ObjectKey
from meshpass.cli import jwks
from meshpass.control import listen_privately
from meshpass.httpserver import HttpServer
from meshpass.jwks.download import Downloader
from meshpass.jwks.fetcher import KeySetFetcher
from meshpass.jwks.view import view_sources
from meshpass.localmesh.directory import ClusterRecord, MeshRecord, StateDirectory, control_socket
from meshpass.localmesh.processrecord import ProcessRecord, Role
from meshpass.translate.keysource import FetchedKeys, KeyFetch, KeySource

FETCH = KeyFetch(timeout_seconds=2, retries=0, policies=(ObjectKey("JWTPolicy", "cluster1", "web", "jwt"),))


@asynccontextmanager
async def running(fetcher: KeySetFetcher) -> AsyncIterator[KeySetFetcher]:
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(fetcher.run())
        yield fetcher
        task.cancel()


@pytest.fixture
async def server() -> AsyncIterator[JwksServer]:
    async with running_server(serve(EC_KEY)) as server:
        yield server


async def wait_known(fetcher: KeySetFetcher, source: KeySource) -> FetchedKeys:
    """What is known of the source as soon as something is."""
    while source not in fetcher.key_sets:
        await fetcher.wait_changed(fetcher.revision)
    return fetcher.key_sets[source]


def kids(known: FetchedKeys) -> list[str]:
    assert known.jwks is not None
    return [key["kid"] for key in json.loads(known.jwks)["keys"]]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (reply(b"", 500), "answered 500"),
        (reply(b"not json"), "is no JSON"),
        (reply(b"\xff\xfe\x00"), "is no JSON"),
        (reply(b"{}"), "is no JSON Web Key Set"),
        (reply(key_set(UNKNOWN_KEY)), "no key that can verify"),
        (reply(key_set(OTHER_KEY), content_type="text/html"), "is a web page"),
        (oversize(), "larger than 1 MiB"),
        (bomb(), "larger than 1 MiB"),
        (endless, "larger than 1 MiB"),
        (hang, "no whole answer within 0.2s"),
        (drip, "no whole answer within 0.2s"),
        (reset, "connection broke"),
        (redirect("http://169.254.169.254/"), "redirects to another"),
        (None, "cannot connect: Connection refused"),
    ],
)
async def test_a_fault_keeps_the_keys_and_takes_one_request(tmp_path, server, fault, reason):
    """First while keys are known, then for a control plane that starts with the fault there and nothing saved."""
    source = KeySource(server.url)
    fetch = replace(FETCH, timeout_seconds=0.2) if fault in {hang, drip} else FETCH
    async with running(KeySetFetcher(tmp_path / "a", Downloader())) as fetcher:
        fetcher.follow({source: FETCH})
        good = await wait_known(fetcher, source)
        fetcher.follow({source: fetch})
        if fault is None:
            await server.stop()
        else:
            server.behaviour = fault
        asked = server.count
        await fetcher.refresh()
        now = fetcher.key_sets[source]
        assert now.jwks == good.jwks
        assert reason in now.problem
        assert "are in use" in now.problem
        assert server.count - asked == (0 if fault is None else 1)
    async with running(KeySetFetcher(tmp_path / "b", Downloader())) as fetcher:
        fetcher.follow({source: fetch})
        known = await wait_known(fetcher, source)
        assert known.jwks is None
        assert reason in known.problem


async def test_down_at_start_then_up(tmp_path, server):
    await server.stop()
    source = KeySource(server.url)
    async with running(KeySetFetcher(tmp_path, Downloader())) as fetcher:
        fetcher.follow({source: replace(FETCH, failed_refetch_seconds=1)})
        known = await wait_known(fetcher, source)
        assert known == FetchedKeys(jwks=None, problem="could not be fetched: cannot connect: Connection refused")
        await server.start()
        await fetcher.wait_changed(fetcher.revision)
        assert kids(fetcher.key_sets[source]) == ["one"]


async def test_a_restart_without_the_server_keeps_the_keys(tmp_path, server):
    source = KeySource(server.url)
    async with running(KeySetFetcher(tmp_path, Downloader())) as fetcher:
        fetcher.follow({source: FETCH})
        good = await wait_known(fetcher, source)
        while not list(tmp_path.glob("*.json")):  # noqa: ASYNC110 - a file tells of nothing by itself
            await asyncio.sleep(0)
    await server.stop()
    again = KeySetFetcher(tmp_path, Downloader())
    assert dict(again.key_sets) == {source: good}
    async with running(again) as fetcher:
        fetcher.follow({source: FETCH})
        await fetcher.wait_changed(0)
        assert fetcher.key_sets[source].jwks == good.jwks


async def test_one_request_per_refresh_for_any_number_of_policies(tmp_path, server):
    """Many follow calls, many refreshes at once: one request at a time, and unchanged keys change nothing."""
    server.behaviour = serve(EC_KEY, etag='"v1"')
    source = KeySource(server.url)
    async with running(KeySetFetcher(tmp_path, Downloader())) as fetcher:
        fetcher.follow({source: FETCH})
        await wait_known(fetcher, source)
        for number in range(20):
            policies = tuple(ObjectKey("JWTPolicy", "cluster1", "web", f"p{one}") for one in range(number))
            fetcher.follow({source: replace(FETCH, policies=policies)})
        assert server.count == 1
        await asyncio.gather(*(fetcher.refresh() for _ in range(20)))
        assert server.count == 2
        assert server.open_at_once == 1
        assert server.requests[1].headers["if-none-match"] == '"v1"'
        assert fetcher.revision == 1


async def test_rotation(tmp_path, server):
    """New and old key side by side, then the new one alone: each set is known whole, and none is ever empty."""
    source = KeySource(server.url)
    async with running(KeySetFetcher(tmp_path, Downloader())) as fetcher:
        fetcher.follow({source: FETCH})
        seen = [kids(await wait_known(fetcher, source))]
        for keys in ((EC_KEY, OTHER_KEY), (OTHER_KEY,)):
            server.behaviour = serve(*keys)
            await fetcher.refresh(server.url)
            seen.append(sorted(kids(fetcher.key_sets[source])))
        assert seen == [["one"], ["one", "two"], ["two"]]


@asynccontextmanager
async def control_plane(state: StateDirectory, fetcher: KeySetFetcher) -> AsyncIterator[None]:
    """A mesh as far as ``meshpass jwks`` can see."""

    async def show(_: Request) -> JSONResponse:
        return JSONResponse(view_sources(fetcher.report()))

    async def refresh(request: Request) -> JSONResponse:
        return JSONResponse(view_sources(await fetcher.refresh(request.query_params.get("url"))))

    routes = [Route("/v1/jwks", show), Route("/v1/jwks/refresh", refresh, methods=["POST"])]
    state.prepare()
    with state.lock():
        run = state.make_run_directory()
        clusters = (ClusterRecord(name="mgmt", management=True, port=1),)
        process = ProcessRecord(
            role=Role.ALONE, cluster="mgmt", control_socket=str(control_socket(run)), log=str(state.supervisor_log)
        )
        state.write_record(
            MeshRecord(pid=1, ready=True, run_directory=str(run), clusters=clusters, processes=(process,))
        )
        server = HttpServer(Starlette(routes=routes))
        async with asyncio.TaskGroup() as tasks:
            serving = await server.start(listen_privately(control_socket(run)), tasks)
            yield
            await server.stop(serving)


async def invoke(state: StateDirectory, *arguments: str) -> Result:
    app = Typer()
    app.command("show")(jwks.show)
    app.command("refresh")(jwks.refresh)
    return await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--dir", str(state.path)])


async def test_commands(tmp_path: Path, server):
    """What people see, from the first moment over a failure to a rotation; never a query."""
    state = StateDirectory(path=tmp_path / "mesh")
    source = KeySource(server.url + "?tenant=secret", "keys.web")
    fetch = replace(FETCH, endpoints=None)
    fetcher = KeySetFetcher(tmp_path / "jwks", Downloader())
    async with running(fetcher), control_plane(state, fetcher):
        assert (await invoke(state, "show")).output == "no policy names a remote key set\n"
        fetcher.follow({source: fetch})
        await wait_known(fetcher, source)

        listed = await invoke(state, "show")
        assert listed.output.splitlines()[0].split() == (
            ["URL", "DESTINATION", "KEYS", "AGE", "NEXT", "POLICIES", "LAST", "ERROR"]
        )
        assert listed.output.splitlines()[1].startswith(f"{server.url}   keys.web      one (ES256)   0s ")
        assert listed.output.splitlines()[1].endswith("cluster1/web/jwt   -")
        assert "secret" not in listed.output

        server.behaviour = serve(OTHER_KEY, UNKNOWN_KEY)
        rotated = await invoke(state, "refresh", server.url)
        assert rotated.exit_code == 0
        assert "two (ES256)" in rotated.output
        assert f"Not used:\n{server.url}: key later is not used" in rotated.output

        server.behaviour = reply(b"", 503)
        failed = await invoke(state, "refresh", "-o", "json")
        assert failed.exit_code == 1
        (shown,) = json.loads(failed.output)["sources"]
        assert shown["lastError"] == "the server answered 503"
        assert shown["keys"] == [{"kid": "two", "kty": "EC", "alg": "ES256"}]

        unknown = await invoke(state, "refresh", "https://unknown.example.com/")
        assert unknown.exit_code == 1
        assert "no policy names this key set" in unknown.output


async def test_commands_without_a_mesh(tmp_path):
    result = await invoke(StateDirectory(path=tmp_path), "show")
    assert result.exit_code == 1
    assert "no mesh is running" in result.output
