"""The control plane is asked over its Unix socket."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh.control import read_status, wait_in_sync


@pytest.fixture
def answering(tmp_path, monkeypatch):
    """A function that makes a socket answer once; the list takes what was asked."""
    monkeypatch.chdir(tmp_path)
    path = Path("s")
    asked: list[str] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    threads = []

    def answer(status: str, body: str) -> None:
        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(4096).decode().splitlines()[0])
                connection.sendall(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())

        threads.append(threading.Thread(target=serve))
        threads[-1].start()

    yield path, answer, asked
    for thread in threads:
        thread.join()
    listener.close()


def test_status(answering):
    """Fields that are not known here are for others."""
    path, answer, asked = answering
    answer(
        "200 OK",
        '{"synced": true, "clusters": [], "more": 1, "proxies": [{"node": "n", "connected": true, "inSync": false,'
        ' "rejections": [{"message": "no", "typeUrl": "t"}]}]}',
    )
    found = read_status(path)

    assert asked == ["GET /v1/status HTTP/1.1"]
    assert found.synced
    (proxy,) = found.proxies
    assert (proxy.node, proxy.connected, proxy.in_sync, proxy.rejections[0].message) == ("n", True, False, "no")


@pytest.mark.parametrize(
    ("status", "body", "late"),
    [("200 OK", '{"late": []}', ()), ("504 Gateway Timeout", '{"late": ["a", "b"]}', ("a", "b"))],
)
def test_wait(answering, status, body, late):
    """The nodes that are late; none when all is well."""
    path, answer, asked = answering
    answer(status, body)

    assert wait_in_sync(path, timeout=2.5) == late
    assert asked == ["POST /v1/wait?timeout=2.5 HTTP/1.1"]


def test_another_answer_is_an_error(answering):
    """With its code."""
    path, answer, _ = answering
    answer("500 Oh", "oh")
    with pytest.raises(LocalMeshError, match="the control plane answered 500: oh"):
        wait_in_sync(path, timeout=1)


def test_nobody_there(tmp_path):
    """An error that is for people."""
    with pytest.raises(LocalMeshError, match="the control plane does not answer"):
        read_status(tmp_path / "none")
