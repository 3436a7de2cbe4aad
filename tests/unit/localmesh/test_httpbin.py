"""httpbin answers in go-httpbin's shape."""

from __future__ import annotations

import httpx2 as httpx
import pytest

from meshpass.localmesh.apps.httpbin import application, canonical_name


@pytest.fixture
def client():
    transport = httpx.ASGITransport(app=application, client=("127.0.0.9", 5))
    return httpx.AsyncClient(transport=transport, base_url="http://www.example.com")


async def test_get(client):
    """args and headers are lists; names of headers are canonical; origin and url are said."""
    answer = await client.get("/get?a=1&a=2&b=", headers=[("x-org", "one"), ("X-ORG", "two"), ("accept", "*/*")])

    body = answer.json()
    assert list(body) == ["args", "headers", "method", "origin", "url"]
    assert body["args"] == {"a": ["1", "2"], "b": [""]}
    assert body["headers"]["X-Org"] == ["one", "two"]
    assert body["headers"]["Host"] == ["www.example.com"]
    assert body["method"] == "GET"
    assert body["origin"] == "127.0.0.9"
    assert body["url"] == "http://www.example.com/get?a=1&a=2&b="
    assert answer.headers["content-type"] == "application/json; charset=utf-8"


async def test_no_query_is_an_empty_object(client):
    """The guide's ``"args": {}``."""
    assert (await client.get("/get")).json()["args"] == {}


async def test_what_a_proxy_says_of_the_client_is_believed(client):
    """X-Forwarded-For and X-Forwarded-Proto."""
    headers = {"X-Forwarded-For": "127.1.2.3, 127.0.0.1", "X-Forwarded-Proto": "https"}
    body = (await client.get("/get", headers=headers)).json()

    assert (body["origin"], body["url"]) == ("127.1.2.3", "https://www.example.com/get")


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        (b"", "", {"data": "", "files": {}, "form": {}, "json": None}),
        (b"hello", "text/plain", {"data": "hello", "files": {}, "form": {}, "json": None}),
        (b'{"a": 1}', "application/json", {"data": '{"a": 1}', "files": {}, "form": {}, "json": {"a": 1}}),
        (b"{", "application/json", {"data": "{", "files": {}, "form": {}, "json": None}),
        (
            b"a=1&a=2",
            "application/x-www-form-urlencoded",
            {"data": "a=1&a=2", "files": {}, "form": {"a": ["1", "2"]}, "json": None},
        ),
        (
            b"\xff",
            "application/octet-stream",
            {"data": "data:application/octet-stream;base64,_w==", "files": {}, "form": {}, "json": None},
        ),
    ],
    ids=["empty", "text", "json", "broken json", "form", "bytes"],
)
async def test_bodies(client, content, kind, expected):
    """data, files, form and json as the content type says."""
    body = (await client.post("/post", content=content, headers={"content-type": kind})).json()

    assert {name: body[name] for name in expected} == expected


async def test_multipart(client):
    """Fields go to form, files to files."""
    body = (await client.post("/anything", data={"a": "1"}, files={"f": ("f.txt", b"text")})).json()

    assert (body["form"], body["files"]) == ({"a": ["1"]}, {"f": ["text"]})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
async def test_anything_takes_every_method_and_path(client, method):
    """It says back which it was."""
    body = (await client.request(method, "/anything/deep/er")).json()

    assert (body["method"], body["url"]) == (method, "http://www.example.com/anything/deep/er")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/status/204", 204),
        ("GET", "/status/418", 418),
        ("POST", "/status/503", 503),
        ("GET", "/status/999", 400),
        ("GET", "/status/x", 400),
        ("GET", "/delay/0", 200),
        ("GET", "/delay/11", 400),
        ("GET", "/delay/nan", 400),
        ("POST", "/get", 405),
        ("GET", "/post", 405),
        ("PUT", "/put", 200),
        ("PATCH", "/patch", 200),
        ("DELETE", "/delete", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/get/more", 404),
    ],
)
async def test_statuses(client, method, path, status):
    """What was asked for; mistakes are answered with go-httpbin's error object."""
    answer = await client.request(method, path)

    assert answer.status_code == status
    if status in {400, 404, 405}:
        assert answer.json()["status_code"] == status


async def test_the_small_ones(client):
    """/headers, /ip, /user-agent, /json, /uuid."""
    assert (await client.get("/headers", headers={"x-email": "a@b"})).json()["headers"]["X-Email"] == ["a@b"]
    assert (await client.get("/ip")).json() == {"origin": "127.0.0.9"}
    assert (await client.get("/user-agent", headers={"user-agent": "me"})).json() == {"user-agent": "me"}
    assert "slideshow" in (await client.get("/json")).json()
    assert len((await client.get("/uuid")).json()["uuid"]) == 36


async def test_a_large_body_is_refused(client):
    """1 MiB is the most."""
    assert (await client.post("/post", content=b"x" * (1024 * 1024 + 1))).status_code == 413


@pytest.mark.parametrize(("name", "expected"), [(b"x-org", "X-Org"), (b"HOST", "Host"), (b"x-a1-B", "X-A1-B")])
def test_names_are_written_as_go_does(name, expected):
    """Each part between hyphens with a capital."""
    assert canonical_name(name) == expected
