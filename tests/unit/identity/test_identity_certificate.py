from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta

import pytest

from meshpass.identity.certificate import ServerCertificate, ensure_server_certificate

HOSTS = ("127.0.0.1", "::1", "localhost")


def contents(files: ServerCertificate) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in (files.ca, files.certificate, files.private_key))


def test_certificate_is_made_once_and_kept(tmp_path):
    first = ensure_server_certificate(tmp_path / "tls", name="cluster1", hosts=HOSTS)
    before = contents(first)
    again = ensure_server_certificate(tmp_path / "tls", name="cluster1", hosts=HOSTS[:1])

    assert contents(again) == before
    assert stat.S_IMODE(first.private_key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["ca.crt", "server.crt", "server.key"]


@pytest.mark.parametrize(("days", "kept"), [(350, True), (359, False), (400, False)])
def test_certificate_is_renewed_when_7_days_are_left(tmp_path, days, kept):
    before = contents(ensure_server_certificate(tmp_path, name="a", hosts=HOSTS))
    later = datetime.now(UTC) + timedelta(days=days)
    after = contents(ensure_server_certificate(tmp_path, name="a", hosts=HOSTS, clock=lambda: later))
    assert (after == before) is kept


@pytest.mark.parametrize("damage", ["host", "mode", "key", "ca", "missing"])
def test_certificate_that_does_not_serve_is_made_anew(tmp_path, damage):
    files = ensure_server_certificate(tmp_path, name="a", hosts=HOSTS)
    other = ensure_server_certificate(tmp_path / "other", name="b", hosts=HOSTS)
    before = contents(files)
    match damage:
        case "mode":
            files.private_key.chmod(0o644)
        case "key":
            files.private_key.write_bytes(other.private_key.read_bytes())
        case "ca":
            files.ca.write_bytes(other.ca.read_bytes())
        case "missing":
            files.certificate.unlink()
    hosts = ("10.1.2.3",) if damage == "host" else HOSTS
    after = contents(ensure_server_certificate(tmp_path, name="a", hosts=hosts))

    assert after != before
    assert contents(ensure_server_certificate(tmp_path, name="a", hosts=hosts)) == after


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "other.test"])
def test_certificate_is_trusted_for_its_hosts_alone(tmp_path, host):
    files = ensure_server_certificate(tmp_path, name="a", hosts=HOSTS)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(files.certificate, files.private_key)
    client_context = ssl.create_default_context(cafile=files.ca)
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server_context.wrap_socket(theirs, server_side=True):
                pass
        except OSError:
            pass

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client_context.wrap_socket(ours, server_hostname=host):
            trusted = True
    except ssl.SSLCertVerificationError:
        trusted = False
    thread.join()
    assert trusted is (host in HOSTS)
