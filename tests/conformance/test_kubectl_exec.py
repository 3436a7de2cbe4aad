"""``kubectl exec`` and its relatives, and the official Python client, run programs as workloads."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import resource
import signal
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream
from tests.support.apiserver import TOKEN, run_api_server
from tests.support.kubectl import KUBECTL, KUBECTL_MARKS, Kubectl
from tests.support.mesh import Mesh, running_mesh
from tests.support.workload_pods import ADDRESS, WorkloadServer, run_workload_server
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from meshpass.apiserver import pods

pytestmark = KUBECTL_MARKS

WHOLE = 100 * 1024 * 1024
ROUTE_TABLE = """
apiVersion: networking.gloo.solo.io/v2
kind: RouteTable
metadata: {name: www-example-com, namespace: httpbin}
spec:
  hosts: [www.example.com]
  workloadSelectors: [{}]
  http:
  - name: httpbin-mesh
    matchers: [{headers: [{name: X-httpbin-mesh}]}]
    forwardTo: {destinations: [{ref: {name: httpbin, namespace: httpbin}, port: {number: 8000}}]}
"""


@pytest.fixture
async def workloads(tmp_path: Path) -> AsyncIterator[WorkloadServer]:
    async with run_workload_server(tmp_path) as server:
        yield server


@pytest.fixture
def kubectl(workloads: WorkloadServer, tmp_path: Path) -> Kubectl:
    return Kubectl(workloads.server, tmp_path)


async def wait_gone(*pids: int) -> None:
    def alive(pid: int) -> bool:
        return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE

    async with asyncio.timeout(15):
        while any(map(alive, pids)):  # noqa: ASYNC110 - other processes set no events
            await asyncio.sleep(0.01)


async def test_both_outputs_and_the_exit_code(kubectl: Kubectl):
    """Apart from each other, and the code is the program's own; a program that is not there is 127."""
    answer = await kubectl.run("exec", "client", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (answer.code, answer.out, answer.err) == (7, "out\n", "err\ncommand terminated with exit code 7\n")
    answer = await kubectl.run("exec", "client", "--", "no-such-program")
    assert (answer.code, answer.err.splitlines()[0]) == (127, "no-such-program: No such file or directory")
    answer = await kubectl.run("exec", "client", "--", "/")
    assert answer.code == 126
    answer = await kubectl.run("exec", "client", "--", "sh", "-c", "kill -9 $$")
    assert answer.code == 137


async def test_no_shell_looks_at_the_words(kubectl: Kubectl):
    """They reach the program as they were typed."""
    words = ("a b", "$HOME", "; exit 3", "*", "", "ü&?=%20")
    answer = await kubectl.ok("exec", "client", "--", "printf", "[%s]", *words)
    assert answer.out == "".join(f"[{word}]" for word in words)


async def test_the_environment_is_the_workloads(kubectl: Kubectl, tmp_path: Path):
    """Requests go by its sidecar; its own variables and directory are those of the mesh file."""
    variables = (await kubectl.ok("exec", "client", "--", "env")).out.splitlines()
    assert {f"http_proxy=http://{ADDRESS}:15001", f"HTTP_PROXY=http://{ADDRESS}:15001"} <= set(variables)
    answer = await kubectl.ok("exec", "svc/program", "--", "sh", "-c", "pwd; echo $COLOUR")
    assert answer.out == f"{tmp_path / 'inner'}\nblue\n"


async def test_standard_input(kubectl: Kubectl):
    """It arrives whole, ends with the client's, can be opened by name, and is empty without -i."""
    assert (await kubectl.ok("exec", "-i", "client", "--", "cat", "/dev/stdin", stdin="hello")).out == "hello"
    assert (await kubectl.ok("exec", "client", "--", "cat", stdin="nobody reads this")).out == ""
    answer = await kubectl.run("exec", "-i", "client", "--", "sh", "-c", "head -c 3; exit 5", stdin="x" * 1_000_000)
    assert (answer.code, answer.out) == (5, "xxx")


async def test_outputs_can_be_opened_by_name(kubectl: Kubectl):
    """As pipes can, and sockets cannot."""
    answer = await kubectl.ok("exec", "client", "--", "sh", "-c", "echo a > /dev/stdout; echo b > /dev/stderr")
    assert (answer.out, answer.err) == ("a\n", "b\n")


async def test_large_binary_streams_in_bounded_memory(kubectl: Kubectl):
    """100 MiB each way, every byte, and the server keeps next to none of it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    block = bytes(range(256)) * 4096
    twice = block * 2
    process = await asyncio.create_subprocess_exec(
        KUBECTL or "kubectl",
        *("exec", "-i", "client", "--", "cat"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=kubectl.environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None

    async def send(into: asyncio.StreamWriter) -> None:
        for _ in range(WHOLE // len(block)):
            into.write(block)
            await into.drain()
        into.close()

    async with asyncio.timeout(100), asyncio.TaskGroup() as group:
        group.create_task(send(process.stdin))
        seen = 0
        while data := await process.stdout.read(1024 * 1024):
            start = seen % 256
            assert data == twice[start : start + len(data)]
            seen += len(data)
    assert (await process.wait(), seen) == (0, WHOLE)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB


async def test_a_client_that_does_not_read_holds_up_the_program(kubectl: Kubectl, tmp_path: Path):
    """The program gets no further than what the pipes and sockets between hold; others are served meanwhile."""
    count = tmp_path / "count"
    script = f"for i in $(seq 1600); do head -c 65536 /dev/zero; echo $i > {count}; done"
    process = await asyncio.create_subprocess_exec(
        KUBECTL or "kubectl",
        *("exec", "client", "--", "sh", "-c", script),
        stdout=asyncio.subprocess.PIPE,
        env=kubectl.environment(),
        limit=1024,
    )
    assert process.stdout is not None
    await process.stdout.readexactly(2)
    for _ in range(5):
        assert (await kubectl.ok("exec", "client", "--", "echo", "hello")).out == "hello\n"
    assert int(count.read_text()) < 400
    rest = 2
    while data := await process.stdout.read(1024 * 1024):
        rest += len(data)
    assert (await process.wait(), rest) == (0, WHOLE)


async def test_a_program_ends_with_its_client(kubectl: Kubectl):
    """And what it started goes with it."""
    process = await kubectl.start("exec", "client", "--", "sh", "-c", "echo $$; sleep 600 & echo $!; wait")
    assert process.stdout is not None
    pids = [int(await process.stdout.readline()), int(await process.stdout.readline())]
    process.kill()
    await process.wait()
    await wait_gone(*pids)


async def test_what_a_program_leaves_behind_ends_with_it(kubectl: Kubectl):
    """A child that holds the output open does not keep the client waiting."""
    async with asyncio.timeout(20):
        answer = await kubectl.ok("exec", "client", "--", "sh", "-c", "sleep 600 & echo $!")
    await wait_gone(int(answer.out))


async def test_a_program_ends_with_the_server(tmp_path: Path):
    """Nobody would be there any more to end it."""
    async with run_workload_server(tmp_path) as workloads:
        process = await Kubectl(workloads.server, tmp_path).start(
            "exec", "client", "--", "sh", "-c", "echo $$; sleep 600"
        )
        assert process.stdout is not None
        pid = int(await process.stdout.readline())
    await wait_gone(pid)
    assert await process.wait() != 0


async def test_a_terminal(kubectl: Kubectl):
    """-t: one stream, of the client's size, which follows it; Ctrl-C is a signal; the exit code is the program's."""
    script = (
        "trap 'echo interrupted; exit 9' INT; test -t 0 && test -t 2 && echo $TERM >&2\n"
        "until test \"$(stty size)\" = '33 101'; do sleep 0.02; done; echo first\n"
        "until test \"$(stty size)\" = '44 120'; do sleep 0.02; done; echo second\n"
        "while :; do sleep 0.02; done"
    )
    ours, theirs = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 101, 0, 0))
    process = await asyncio.create_subprocess_exec(
        KUBECTL or "kubectl",
        *("exec", "-it", "client", "--", "sh", "-c", script),
        **dict.fromkeys(("stdin", "stdout", "stderr"), theirs),
        env=kubectl.environment(),
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""

    async def read_until(text: bytes) -> None:
        nonlocal shown
        async with asyncio.timeout(20):
            while text not in shown:
                shown += await asyncio.to_thread(os.read, ours, 1024)

    try:
        await read_until(b"first")
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 120, 0, 0))
        process.send_signal(signal.SIGWINCH)
        await read_until(b"second")
        os.write(ours, b"\x03")
        await read_until(b"interrupted")
        async with asyncio.timeout(20):
            assert await process.wait() == 9
    finally:
        os.close(ours)
    assert b"\r\n" in shown


async def test_which_container(kubectl: Kubectl):
    """The workload's own is the default, without a word about it; the proxy runs no programs, and a gateway has no other."""
    assert (await kubectl.ok("exec", "client", "--", "true")).err == ""
    await kubectl.ok("exec", "client", "-c", "client", "--", "true")
    assert "container nope is not valid for pod client" in await kubectl.fails(
        "exec", "client", "-c", "nope", "--", "x"
    )
    assert "-c client" in await kubectl.fails("exec", "client", "-c", "istio-proxy", "--", "true")
    assert "entry is a gateway" in await kubectl.fails("exec", "entry", "--", "true")
    assert 'pods "nobody" not found' in await kubectl.fails("exec", "nobody", "--", "true")


async def test_a_pod_that_nothing_runs(kubectl: Kubectl):
    """Users may store Pods; no program runs in them."""
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"}}
    await kubectl.apply({**pod, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    assert "does not have a host assigned" in await kubectl.fails("exec", "mine", "--", "true")
    assert "does not have a host assigned" in await kubectl.fails("logs", "mine")


async def test_a_server_that_runs_nothing(tmp_path: Path):
    """Says so, instead of a Pod that is not there."""
    async with run_api_server(tmp_path) as server:
        kubectl = Kubectl(server, tmp_path)
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"}}
        await kubectl.apply({**pod, "spec": {"containers": [{"name": "c", "image": "i"}]}})
        for arguments in (("exec", "mine", "--", "true"), ("logs", "mine")):
            assert "this API server knows of nothing that runs Pods" in await kubectl.fails(*arguments)


async def test_spdy_is_told_what_to_use(kubectl: Kubectl):
    """kubectl without WebSockets hears which of its versions and variables speak them; other mistakes come first."""
    old = kubectl.environment(KUBECTL_REMOTE_COMMAND_WEBSOCKETS="false")
    answer = await kubectl.run("exec", "client", "--", "true", environment=old)
    assert answer.code == 1
    assert "exec is served over WebSocket (v5.channel.k8s.io, v4.channel.k8s.io), not over SPDY" in answer.err
    answer = await kubectl.run("exec", "client", "-c", "nope", "--", "true", environment=old)
    assert "container nope is not valid" in answer.err


async def test_attach_and_port_forward_are_not_there(kubectl: Kubectl):
    """And say so, with what there is instead."""
    assert "attach is not served: `kubectl logs -f`" in await kubectl.fails("attach", "program")
    assert "portforward is not served: the address of a Pod" in await kubectl.fails("port-forward", "program", "0:80")


async def test_copies(kubectl: Kubectl, tmp_path: Path):
    """kubectl cp is tar by exec: its files are those of this machine."""
    (tmp_path / "source").write_bytes(os.urandom(100_000))
    await kubectl.ok("cp", str(tmp_path / "source"), f"client:{tmp_path}/there")
    await kubectl.ok("cp", f"client:{tmp_path}/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == (tmp_path / "source").read_bytes()


async def test_so_many_at_a_time(kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch):
    """Beyond that, clients hear 429; when one has ended there is room again."""
    monkeypatch.setattr(pods, "_MOST_SESSIONS", 1)
    process = await kubectl.start("exec", "client", "--", "sh", "-c", "echo here; sleep 600")
    assert process.stdout is not None
    await process.stdout.readline()
    assert "1 commands and logs are in use" in await kubectl.fails("exec", "client", "--", "true")
    process.kill()
    await process.wait()
    async with asyncio.timeout(15):
        while (await kubectl.run("exec", "client", "--", "true")).code:
            pass


async def test_no_log_tells_of_commands(kubectl: Kubectl, caplog: pytest.LogCaptureFixture):
    """Arguments and input may be tokens, whichever way the request ends."""
    # By name: other servers in this process may have set a level of their own.
    for logger in ("", "uvicorn.error", "uvicorn.access"):
        caplog.set_level(logging.DEBUG, logger=logger or None)
    await kubectl.ok("exec", "-i", "client", "--", "sh", "-c", "cat; echo SeCrEt", stdin="SeCrEt")
    for arguments in (("nobody",), ("client", "-c", "nope")):
        await kubectl.fails("exec", *arguments, "--", "echo", "SeCrEt")
    # The access log is off; pytest listens to it all the same.
    said = [record.getMessage() for record in caplog.records if record.name != "uvicorn.access"]
    assert said != []
    assert [text for text in said if "SeCrEt" in text or "command=" in text] == []


async def test_without_the_token_there_is_no_websocket(workloads: WorkloadServer):
    """401, before anything is looked at; with it, what there is not is refused, and what is no exec is a plain request."""
    context = ssl.create_default_context(cafile=str(workloads.server.tls.certificate))
    pod = "/api/v1/namespaces/default/pods/client"

    async def refused(token: str, protocol: str, path: str = f"{pod}/exec") -> tuple[int, bytes]:
        url = workloads.server.url.replace("https", "wss") + path + "?command=true&stdout=true&container=client"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with pytest.raises(InvalidStatus) as caught:
            await connect(
                url, ssl=context, subprotocols=[Subprotocol(protocol)], additional_headers=headers, proxy=None
            )
        return caught.value.response.status_code, bytes(caught.value.response.body or b"")

    assert (await refused("", "v5.channel.k8s.io"))[0] == 401
    assert (await refused("wrong", "v5.channel.k8s.io"))[0] == 401
    assert (await refused(TOKEN, "v5.channel.k8s.io", "/api/v1/namespaces/default/exec"))[0] == 404
    assert (await refused(TOKEN, "v5.channel.k8s.io", "/api/v1/namespaces/default/pods/client"))[0] == 200
    code, body = await refused(TOKEN, "channel.k8s.io")
    assert code == 400
    assert b"v5.channel.k8s.io, v4.channel.k8s.io" in body


async def test_an_older_protocol_and_messages_in_fragments(workloads: WorkloadServer):
    """v4 is what libraries speak; a message may come in any number of frames (RFC 6455 section 5.4)."""
    context = ssl.create_default_context(cafile=str(workloads.server.tls.certificate))
    url = workloads.server.url.replace("https", "wss") + "/api/v1/namespaces/default/pods/client/exec"
    url += "?command=head&command=-c&command=6&stdin=true&stdout=true&container=client"
    async with connect(
        url,
        ssl=context,
        subprotocols=[Subprotocol("unknown"), Subprotocol("v4.channel.k8s.io")],
        additional_headers={"Authorization": f"Bearer {TOKEN}"},
        proxy=None,
    ) as socket:
        assert socket.subprotocol == "v4.channel.k8s.io"
        await socket.send([b"\x00a", b"b", b"", b"c"])
        await socket.send("\x00ü")
        await socket.send(b"\x00d")
        heard = [message async for message in socket]
    assert b"".join(one[1:] for one in heard[:-1]) == "abcüd".encode()  # type: ignore[misc]
    assert heard[-1] == b'\x03{"metadata":{},"status":"Success"}'
    assert socket.close_code == 1000


async def test_the_python_client(workloads: WorkloadServer):
    """Its stream API: outputs, input, exit code and the size of a terminal."""

    def session() -> None:
        api = config.new_client_from_config(str(workloads.server.kubeconfig))
        core = client.CoreV1Api(api)
        common = {"name": "client", "namespace": "default", "container": "client", "stdout": True, "stderr": True}
        words = ["sh", "-c", "echo out; echo err >&2; read line; echo got $line; exit 4"]
        opened = stream(
            core.connect_get_namespaced_pod_exec, **common, command=words, stdin=True, _preload_content=False
        )
        opened.write_stdin("hello\n")
        opened.run_forever(timeout=20)
        assert opened.read_stdout() == "out\ngot hello\n"
        assert opened.read_stderr() == "err\n"
        assert opened.returncode == 4
        assert stream(core.connect_get_namespaced_pod_exec, **common, command=["echo", "ü"]) == "ü\n"
        sized = ["sh", "-c", "until test \"$(stty size)\" = '31 77'; do sleep 0.02; done; echo sized"]
        opened = stream(
            core.connect_get_namespaced_pod_exec, **common, command=sized, tty=True, stdin=True, _preload_content=False
        )
        opened.write_channel(4, '{"Width": 77, "Height": 31}')
        opened.run_forever(timeout=20)
        assert opened.read_stdout() == "sized\r\n"
        with pytest.raises(ApiException, match="400"):
            stream(core.connect_get_namespaced_pod_exec, **{**common, "container": "nope"}, command=["true"])
        api.close()

    await asyncio.to_thread(session)


async def test_discovery_tells_of_both(kubectl: Kubectl):
    """Clients look there for what Pods answer."""
    listed = (await kubectl.ok("get", "--raw", "/api/v1")).json["resources"]
    found = {entry["name"]: (entry["kind"], entry["verbs"]) for entry in listed if entry["name"].startswith("pods/")}
    assert found["pods/exec"] == ("PodExecOptions", ["create", "get"])
    assert found["pods/log"] == ("Pod", ["get"])


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with running_mesh(apps=("httpbin",), clusters=1) as running:
        yield running


@pytest.mark.envoy
def test_the_way_of_the_guides(mesh: Mesh):
    """A request from inside the client's Pod goes by the table's route, and where no route matches there is none."""
    mesh.apply(ROUTE_TABLE, "cluster1")
    curl = ("exec", "-n", "httpbin", "client", "--", "curl", "-vik", "http://www.example.com/get")

    found = mesh.kubectl("--context", "cluster1", *curl, "-H", "X-httpbin-mesh: true")
    assert found.returncode == 0, found
    assert "HTTP/1.1 200 OK" in found.stdout
    assert "X-httpbin-mesh: true" in found.stderr
    missed = mesh.kubectl("--context", "cluster1", *curl)
    assert "HTTP/1.1 404 Not Found" in missed.stdout

    assert mesh.kubectl("config", "use-context", "cluster1").returncode == 0
    assert "HTTP/1.1 200 OK" in mesh.kubectl(*curl, "-H", "X-httpbin-mesh: true").stdout


@pytest.mark.envoy
def test_pods_of_a_mesh(mesh: Mesh):
    """Both containers are ready; a gateway is one."""
    gateways = {"istio-ingressgateway": "1/1", "istio-eastwestgateway": "1/1"}
    listed = mesh.kubectl("--context", "cluster1", "get", "pods", "-A", "--no-headers").stdout
    ready = {line.split()[1]: line.split()[2] for line in listed.splitlines()}
    assert ready == {**gateways, "client": "2/2", "httpbin": "2/2"}
