"""The page of check: each kind of trouble has its line, with what, where and what to do; nothing else has one."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from tests.support.apiserver import run_api_server
from typer.testing import CliRunner

from meshpass.cli import check as command
from meshpass.cli.check_facts import ControlFacts, Facts, ProcessFacts, Program, ServerFacts, ask_control, ask_servers
from meshpass.cli.check_join import join_answers
from meshpass.cli.check_page import Mark, Problem, Section, is_healthy, page_json, render_page
from meshpass.cli.check_sections import build_sections
from meshpass.cli.duration import show_duration
from meshpass.cli.main import build_app
from meshpass.errors import LocalMeshError
from meshpass.kube.client import KubeClient
from meshpass.localmesh.directory import ClusterRecord, MeshRecord, WorkloadRecord
from meshpass.localmesh.objects import APP_ADDRESSES_ANNOTATION
from meshpass.localmesh.processrecord import ProcessRecord, Role

NOW = datetime(2026, 8, 1, tzinfo=UTC)
NODE = "sidecar~cluster1~httpbin~client"
POLICY = {"kind": "JWTPolicy", "cluster": "mgmt", "namespace": "httpbin", "name": "p"}
NAMES = [
    "mesh",
    "apiServers",
    "controlPlane",
    "proxies",
    "rejections",
    "keySets",
    "certificates",
    "identity",
    "objects",
    "frozenTables",
    "programs",
    "featureGates",
]


def proxy(**changes):
    return {"node": NODE, "connected": True, "inSync": True, "sinceSeconds": 65.2, "rejections": [], **changes}


def key_set(**changes):
    usual = {"url": "https://idp/jwks", "destination": "", "keys": [], "skipped": [], "ageSeconds": 60.0}
    return {**usual, "lastError": "", "nextFetchInSeconds": 1.0, "policies": [POLICY], **changes}


def certificate(days):
    moment = (NOW + timedelta(days=days)).isoformat()
    return {"source": "Secret cluster1/edge/tls", "proxies": [NODE], "subject": "CN=www", "notAfter": moment}


def answer(**changes):
    return {
        "synced": True,
        "revision": 7,
        "storeRevision": 7,
        "failingWatches": [],
        "failingStatuses": [],
        "proxies": [proxy()],
        "keySets": [key_set()],
        "certificates": [certificate(90)],
        "objects": {"states": {"ACCEPTED": 3}, "notAccepted": []},
        "frozen": [],
        "featureGates": [{"name": "Gate", "value": False, "default": False}],
        **changes,
    }


PROCESS = ProcessRecord(role=Role.ALONE, cluster="mgmt", control_socket="/none", log="/state/supervisor.log", pid=42)
SERVER = ProcessRecord(role=Role.MANAGEMENT_SERVER, cluster="mgmt", control_socket="/s", log="/state/server.log", pid=1)
AGENT = ProcessRecord(role=Role.AGENT, cluster="cluster1", control_socket="/a", log="/state/agent.log", pid=2)


def control(*told):
    """What these processes and answers come to."""
    came = [(process, said) for process, said in told if not isinstance(said, str)]
    return ControlFacts(
        processes=tuple(
            ProcessFacts(process=process, answer=None, error=said)
            if isinstance(said, str)
            else ProcessFacts(process=process, answer=said, latency_seconds=0.002)
            for process, said in told
        ),
        answer=join_answers(came) if came else None,
    )


def agent(**changes):
    return {
        "cluster": "cluster1",
        "registered": True,
        "connected": True,
        "sinceSeconds": 3,
        "refused": "",
        **changes,
    }


def identity(**changes):
    """A view of roots and intermediates; ``root``, ``intermediate`` and ``workload`` are days left."""
    days = {"root": 3000.0, "intermediate": 300.0, "workload": 0.9, **changes}

    def moment(name):
        return (NOW + timedelta(days=days[name])).isoformat()

    return {
        "trustDomain": "cluster.local",
        "signing": "ab" * 32,
        "roots": [{"fingerprint": "ab" * 32, "subject": "CN=root", "notAfter": moment("root"), "signing": True}],
        "rotation": changes.get("rotation", {"phase": "steady", "waitingFor": []}),
        "intermediates": [
            {
                "cluster": "cluster1",
                "fingerprint": "cd" * 32,
                "issuer": "ab" * 32,
                "notAfter": moment("intermediate"),
                "problem": changes.get("problem", ""),
                "workloads": {"count": 3, "soonestNotAfter": moment("workload")},
            }
        ],
    }


def distributed(server_said=None, agent_said=None, **more):
    """The facts of a mesh with a management server and an agent."""
    usual = facts()
    record = msgspec.structs.replace(usual.record, processes=(SERVER, AGENT))
    of_server = answer(proxies=[], agents=[agent()], identity=identity()) if server_said is None else server_said
    of_agent = answer(objects={"states": {}, "notAccepted": []}) if agent_said is None else agent_said
    return replace(usual, record=record, control=control((SERVER, of_server), (AGENT, of_agent)), **more)


def server(**changes):
    usual = {"cluster": "mgmt", "server": "https://127.0.0.1:1", "version": "v1.32.0", "latency_seconds": 0.004}
    return ServerFacts(**{**usual, "expires": NOW + timedelta(days=364, hours=1), **changes})


def program(*, listens):
    return Program(
        cluster="cluster1", namespace="httpbin", name="client", port="8080", address="127.0.0.1:5", listens=listens
    )


def facts(*, record=None, servers=None, programs=None, **changes):
    workload = WorkloadRecord(
        cluster="cluster1", namespace="httpbin", name="client", node=NODE, address="127.1.2.3", app="httpbin"
    )
    usual = MeshRecord(
        pid=42,
        ready=True,
        run_directory="/run",
        clusters=(ClusterRecord(name="mgmt", management=True, port=1),),
        workloads=(workload,),
        processes=(PROCESS,),
    )
    return Facts(
        record=record or usual,
        state=Path("/state"),
        now=NOW,
        servers=(server(),) if servers is None else servers,
        programs=(program(listens=True),) if programs is None else programs,
        control=changes.get("control") or control((PROCESS, answer(**changes))),
    )


def told(given):
    """Mark, name of the section, and text of every problem of the page."""
    return [
        (problem.mark, section.name, f"{problem.where}: {problem.what}")
        for section in build_sections(given)
        for problem in section.problems
    ]


def test_a_healthy_mesh_is_a_page_of_good_marks():
    """Every section, in the fixed order, one line each, and the API servers."""
    sections = build_sections(facts())

    assert render_page(sections).splitlines() == [
        "✓ Mesh            supervisor 42, 1 cluster, 1 workload, in /state",
        "✓ API servers     1 of 1 answer",
        "    CLUSTER   SERVER                VERSION   LATENCY",
        "    mgmt      https://127.0.0.1:1   v1.32.0   4 ms",
        "✓ Control plane   answers in 2 ms, follows 1 API server",
        "✓ Proxies         1 of 1 in sync, the last change 1m5s ago",
        "✓ Rejections      none",
        "✓ Key sets        1 of 1 fetched, the oldest 1m ago",
        "✓ Certificates    2, the first expires in 90 days (Secret cluster1/edge/tls)",
        "✓ Identity        there is no root yet",
        "✓ Objects         3 of 3 accepted",
        "✓ Frozen tables   none",
        "✓ Programs        1 of 1 listen",
        "✓ Feature gates   as by default",
        "",
        "✓ all is well",
    ]
    assert [section.name for section in sections] == NAMES
    assert is_healthy(sections)


REJECTION = {
    "typeUrl": "type.googleapis.com/envoy.config.listener.v3.Listener",
    "resources": ["outbound"],
    "message": "no such\n filter",
    "objects": ["RouteTable cluster1/httpbin/rt", "JWTPolicy mgmt/httpbin/p"],
}


@pytest.mark.parametrize(
    ("given", "mark", "section", "words"),
    [
        (
            facts(servers=(server(error="refused", latency_seconds=None),)),
            Mark.BAD,
            "apiServers",
            "API server of mgmt: refused",
        ),
        (facts(servers=(server(latency_seconds=2.5),)), Mark.WARNING, "apiServers", "took 2500 ms"),
        (facts(synced=False), Mark.BAD, "controlPlane", "has not read everything yet"),
        (facts(storeRevision=9), Mark.BAD, "controlPlane", "has not worked through the newest objects"),
        (
            facts(failingWatches=[{"cluster": "c2", "kind": "Pod"}, {"cluster": "c2", "kind": "Secret"}]),
            Mark.BAD,
            "controlPlane",
            "control plane, API server of c2: cannot follow 2 kinds (Pod, Secret)",
        ),
        (facts(failingStatuses=[POLICY]), Mark.BAD, "controlPlane", "cannot write statuses: JWTPolicy mgmt/httpbin/p"),
        (facts(proxies=[]), Mark.BAD, "proxies", "proxy of cluster1/httpbin/client: the control plane knows no Pod"),
        (
            facts(proxies=[proxy(connected=False, inSync=False, sinceSeconds=3)]),
            Mark.BAD,
            "proxies",
            "proxy of cluster1/httpbin/client: not connected since 3s",
        ),
        (
            facts(proxies=[proxy(connected=False, inSync=False, sinceSeconds=None)]),
            Mark.BAD,
            "proxies",
            "proxy of cluster1/httpbin/client: not connected",
        ),
        (
            facts(proxies=[proxy(inSync=False)]),
            Mark.BAD,
            "proxies",
            "behind since 1m5s: it has not acknowledged the newest",
        ),
        (
            facts(proxies=[proxy(), proxy(node="sidecar~other", inSync=False)]),
            Mark.BAD,
            "proxies",
            "proxy sidecar~other: behind",
        ),
        (facts(keySets=[key_set(ageSeconds=None)]), Mark.WARNING, "keySets", "is being fetched for the first time"),
        (
            facts(keySets=[key_set(lastError="refused")]),
            Mark.BAD,
            "keySets",
            "key set https://idp/jwks: not fetched: refused; the keys of 1m ago are in use",
        ),
        (
            facts(keySets=[key_set(lastError="refused", ageSeconds=None)]),
            Mark.BAD,
            "keySets",
            "there are no keys, so its tokens are refused (JWTPolicy mgmt/httpbin/p)",
        ),
        (facts(keySets=[key_set(skipped=["key 1: no RSA"])]), Mark.WARNING, "keySets", "some keys are not used: key 1"),
        (facts(certificates=[certificate(30.5)]), None, "", ""),
        (facts(certificates=[certificate(29.5)]), Mark.WARNING, "certificates", "its certificate expires in 29d12h"),
        (
            facts(certificates=[certificate(-2)]),
            Mark.BAD,
            "certificates",
            "Secret cluster1/edge/tls: its certificate expired 2d ago",
        ),
        (
            facts(servers=(server(expires=NOW - timedelta(seconds=1)),)),
            Mark.BAD,
            "certificates",
            "API server of mgmt: its certificate expired 1s ago",
        ),
        (
            facts(
                objects={
                    "states": {"ACCEPTED": 1, "INVALID": 1},
                    "notAccepted": [{**POLICY, "state": "INVALID", "reasons": ["InvalidKey"], "message": "bad " * 200}],
                }
            ),
            Mark.BAD,
            "objects",
            "JWTPolicy mgmt/httpbin/p: INVALID: bad bad",
        ),
        (
            facts(
                objects={
                    "states": {"WARNING": 1},
                    "notAccepted": [
                        {**POLICY, "state": "WARNING", "reasons": ["NoEffect"], "message": "no effect yet"}
                    ],
                }
            ),
            Mark.WARNING,
            "objects",
            "JWTPolicy mgmt/httpbin/p: WARNING: no effect yet",
        ),
        (
            facts(
                objects={
                    "states": {"WARNING": 1},
                    "notAccepted": [
                        {**POLICY, "state": "WARNING", "reasons": ["BackendNotFound", "NoEffect"], "message": "none"}
                    ],
                }
            ),
            Mark.BAD,
            "objects",
            "WARNING: none",
        ),
        (
            facts(frozen=[{**POLICY, "kind": "RouteTable"}]),
            Mark.WARNING,
            "frozenTables",
            "RouteTable mgmt/httpbin/p: serves",
        ),
        (
            facts(programs=(program(listens=True), program(listens=False))),
            Mark.BAD,
            "programs",
            "program of cluster1/httpbin/client: nothing listens on 127.0.0.1:5, so port 8080 of its Pod answers 503",
        ),
        (
            facts(featureGates=[{"name": "Gate", "value": True, "default": False}]),
            Mark.WARNING,
            "featureGates",
            "Gate: is true; by default it is false",
        ),
    ],
)
def test_each_trouble_is_one_line_of_its_section(given, mark, section, words):
    """With its mark and its words, and a hint; what is only warned of leaves the mesh healthy."""
    sections = build_sections(given)
    found = told(given)
    if mark is None:
        assert found == []
        return

    assert [(one[0], one[1]) for one in found] == [(mark, section)]
    assert words in found[0][2]
    assert len(found[0][2]) < 300
    assert is_healthy(sections) is (mark is Mark.WARNING)
    lines = render_page(sections).splitlines()
    at = next(i for i, line in enumerate(lines) if words in line)
    assert lines[at].startswith("  ✗ " if mark is Mark.BAD else "  ! ")
    assert lines[at + 1].startswith("    hint: ")
    assert lines[-1] == ("✗ 1 problem" if mark is Mark.BAD else "! 1 warning")


def test_a_mesh_of_processes_has_a_section_for_its_agents_and_identities():
    """Which processes there are, who is connected, and how long who stands for whom; nothing is counted twice."""
    page = render_page(build_sections(distributed())).splitlines()

    assert page[4:9] == [
        "✓ Control plane   2 of 2 processes answer",
        "    PROCESS             PID   LATENCY",
        "    management-server   1     2 ms",
        "    agent/cluster1      2     2 ms",
        "✓ Agents          1 of 1 registered clusters connected",
    ]
    assert "✓ Proxies         1 of 1 in sync, the last change 1m5s ago" in page
    assert "✓ Key sets        1 of 1 fetched, the oldest 1m ago" in page
    assert "✓ Objects         3 of 3 accepted" in page
    assert "✓ Identity        trust domain cluster.local, 1 root, 1 intermediate, 3 certificates of workloads" in page
    assert page[-1] == "✓ all is well"


@pytest.mark.parametrize(
    ("given", "mark", "section", "words"),
    [
        (distributed(agent_said="gone"), Mark.BAD, "controlPlane", "agent/cluster1: gone"),
        (
            distributed(agent_said=answer(storeRevision=9)),
            Mark.BAD,
            "controlPlane",
            "agent/cluster1: has not worked through",
        ),
        (
            distributed(answer(agents=[agent(connected=False)], identity=None)),
            Mark.BAD,
            "agents",
            "agent/cluster1: not connected since 3s",
        ),
        (
            distributed(answer(agents=[agent(), agent(cluster="c9", registered=False, refused="no such")])),
            Mark.WARNING,
            "agents",
            "agent/c9: was refused: no such",
        ),
        (
            distributed(answer(agents=[], identity=identity(root=80.5))),
            Mark.WARNING,
            "identity",
            "root abababababababab: expires in 80d12h",
        ),
        (
            distributed(answer(agents=[], identity=identity(root=-1))),
            Mark.BAD,
            "identity",
            "root abababababababab: expired 1d ago",
        ),
        (
            distributed(answer(agents=[], identity=identity(intermediate=20))),
            Mark.WARNING,
            "identity",
            "intermediate of cluster1: expires in 20d",
        ),
        (
            distributed(answer(agents=[], identity=identity(workload=0.125))),
            Mark.WARNING,
            "identity",
            "certificates of workloads of cluster1: expires in 3h",
        ),
        (
            distributed(answer(agents=[], identity=identity(problem="refused by x"))),
            Mark.BAD,
            "identity",
            "intermediate of cluster1: refused by x",
        ),
        (
            distributed(
                answer(
                    agents=[],
                    identity=identity(
                        rotation={"phase": "distribute", "waitingFor": [{"cluster": "cluster1", "proxies": ["a", "b"]}]}
                    ),
                )
            ),
            Mark.WARNING,
            "identity",
            "root: the root is being rotated (distribute), waiting for cluster1: a, b",
        ),
        (
            distributed(stopped=frozenset({"proxy/c/n/w"})),
            Mark.WARNING,
            "mesh",
            "proxy/c/n/w: somebody has stopped it",
        ),
    ],
)
def test_what_may_be_wrong_between_processes(given, mark, section, words):
    """Each has its section, and says what to do."""
    found = [(one, name, text) for one, name, text in told(given) if words in text]

    assert [(one[0], one[1]) for one in found] == [(mark, section)]
    lines = render_page(build_sections(given)).splitlines()
    at = next(i for i, line in enumerate(lines) if words in line)
    assert lines[at + 1].startswith("    hint: ")


def test_a_silent_management_server_leaves_agents_unknown():
    """What the agents say is shown all the same."""
    sections = {section.name: section for section in build_sections(distributed("gone"))}

    assert sections["controlPlane"].mark is Mark.BAD
    assert sections["agents"].mark is Mark.UNKNOWN
    assert sections["proxies"].mark is Mark.GOOD


def test_a_stopped_process_is_told_as_stopped():
    """Not as one that has crashed."""
    given = distributed(agent_said="gone", stopped=frozenset({"agent/cluster1"}))

    assert (Mark.BAD, "controlPlane", "agent/cluster1: somebody has stopped it") in told(given)


def test_of_each_object_the_process_of_its_cluster_has_the_word():
    """Others see it too, and may be behind."""
    wrong = {**POLICY, "state": "INVALID", "reasons": ["X"], "message": "new"}
    stale = {**wrong, "message": "old"}
    of_server = answer(agents=[], objects={"states": {"INVALID": 1}, "notAccepted": [wrong]})
    joined = join_answers([(AGENT, answer(objects={"states": {}, "notAccepted": [stale]})), (SERVER, of_server)])

    assert joined["objects"] == {"states": {"INVALID": 1}, "notAccepted": [wrong]}


def test_a_rejection_names_resource_envoys_words_and_objects():
    """The proxy is behind for it, which is told in its own section."""
    given = facts(proxies=[proxy(inSync=False, rejections=[REJECTION])])
    made_of = "RouteTable cluster1/httpbin/rt, JWTPolicy mgmt/httpbin/p"

    assert [(section, text) for _, section, text in told(given)] == [
        ("proxies", "proxy of cluster1/httpbin/client: behind since 1m5s: it refuses what is named below"),
        (
            "rejections",
            f"proxy of cluster1/httpbin/client, Listener outbound: no such filter (made of {made_of})",
        ),
    ]


def test_a_starting_mesh_is_warned_of():
    """Proxies that are missing yet are told in their section."""
    record = MeshRecord(pid=1, ready=False, run_directory="/run", clusters=(), processes=(PROCESS,))

    assert (Mark.WARNING, "mesh", "supervisor: the mesh is still starting") in told(facts(record=record))


def test_without_a_control_plane_the_rest_is_unknown():
    """It is the one problem; what only it knows has a mark of its own, and API servers and programs are still told."""
    sections = build_sections(facts(control=control((PROCESS, "no such file"))))

    assert {section.name: section.mark for section in sections} == {
        **dict.fromkeys(NAMES, Mark.UNKNOWN),
        "mesh": Mark.GOOD,
        "apiServers": Mark.GOOD,
        "controlPlane": Mark.BAD,
        "programs": Mark.GOOD,
    }
    assert "✗ control plane: no such file" in render_page(sections)
    assert render_page(sections).splitlines()[-1] == "✗ 1 problem"
    assert "? Proxies         unknown: the control plane does not answer" in render_page(sections)


def test_programs_are_unknown_where_an_api_server_does_not_answer():
    """Its Pods may be the ones that matter."""
    sections = build_sections(facts(servers=(server(error="refused"),), programs=()))

    assert {section.name: section.mark for section in sections}["programs"] is Mark.UNKNOWN


def test_a_page_stays_a_page():
    """Twenty problems of a section are shown; JSON has all."""
    problems = tuple(Problem(mark=Mark.BAD, where=f"object {i}", what="bad", hint="mend") for i in range(25))
    section = Section(name="objects", title="Objects", summary="bad", problems=problems)
    lines = render_page((section,)).splitlines()

    assert sum("✗ object" in line for line in lines) == 20
    assert "    and 5 more, which `meshpass check -o json` lists" in lines
    assert lines[-1] == "✗ 25 problems"
    assert len(page_json((section,))["sections"][0]["problems"]) == 25


def test_the_json_has_one_shape():
    """The same keys in every section, however it is."""
    pages = [page_json(build_sections(given)) for given in (facts(), facts(control=control((PROCESS, "x"))))]

    assert [page["healthy"] for page in pages] == [True, False]
    for page in pages:
        assert [section["name"] for section in page["sections"]] == NAMES
        for section in page["sections"]:
            assert list(section) == ["name", "mark", "summary", "problems", "items"]
            assert section["mark"] in {"ok", "unknown", "warning", "failed"}
            assert all(list(one) == ["mark", "where", "what", "hint"] for one in section["problems"])
    assert json.loads(json.dumps(pages[0])) == pages[0]
    assert pages[0]["sections"][6]["items"][0] == {
        "source": "Secret cluster1/edge/tls",
        "notAfter": "2026-10-30T00:00:00Z",
        "daysLeft": 90,
        "proxies": [NODE],
    }


@pytest.mark.parametrize(
    ("given", "code"), [(facts(), 0), (facts(certificates=[certificate(3)]), 0), (facts(synced=False), 1)]
)
def test_exit_codes(monkeypatch, given, code):
    """0 also with warnings; 1 for what is wrong; the page is data either way."""
    monkeypatch.setattr(command, "gather_facts", lambda *_: given)
    text = CliRunner().invoke(build_app(), ["check"])
    data = CliRunner().invoke(build_app(), ["check", "-o", "json"])

    assert (text.exit_code, data.exit_code) == (code, code)
    assert json.loads(data.stdout)["healthy"] is (code == 0)
    assert text.stdout.startswith("✓ Mesh")


def test_what_cannot_be_told_is_2(tmp_path, monkeypatch):
    """No mesh, and a timeout that is none; the hint is on standard error."""
    monkeypatch.setenv("MESHPASS_DIR", str(tmp_path))
    none = CliRunner().invoke(build_app(), ["check"])
    odd = CliRunner().invoke(build_app(), ["check", "--timeout", "soon"])

    assert (none.exit_code, odd.exit_code) == (2, 2)
    assert none.stdout == ""
    assert "no mesh is running" in none.stderr
    assert "hint: start one with" in none.stderr


def test_colours_only_where_they_are_shown(monkeypatch):
    """Neither in a pipe nor where NO_COLOR forbids them."""
    page = build_sections(facts(synced=False))
    assert "\x1b" not in render_page(page)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b[31m✗\x1b[0m" in render_page(page)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in render_page(page)


def pod(name, **annotations):
    metadata = {"name": name, "namespace": "default", "annotations": annotations}
    containers = [{"name": "app", "image": "none"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


async def test_api_servers_and_programs_are_asked(tmp_path):
    """Version, latency and expiry of a server; which programs of its Pods listen, whatever else is annotated."""
    from meshpass.api.core import Pod
    from meshpass.api.kinds import kind_of_type

    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as closed:
        address, gone = (f"127.0.0.1:{one.getsockname()[1]}" for one in (listening, closed))
        closed.close()
        async with run_api_server(tmp_path) as running:
            async with KubeClient.from_kubeconfig(running.kubeconfig, None, cluster="test") as client:
                text = json.dumps({"80": address, "81": gone, "82": "nowhere"})
                for one in (
                    pod("a", **{APP_ADDRESSES_ANNOTATION: text}),
                    pod("b"),
                    pod("c", **{APP_ADDRESSES_ANNOTATION: "{"}),
                ):
                    await client.create_raw(kind_of_type(Pod), one)
            (found,), programs = await ask_servers(running.kubeconfig, ["test"])

    assert found.error == ""
    assert found.version.startswith("v1.")
    assert found.latency_seconds is not None
    assert found.latency_seconds < 5
    assert found.expires is not None
    assert timedelta() < found.expires - datetime.now(UTC) < timedelta(days=1)
    assert {one.port: one.listens for one in programs} == {"80": True, "81": False, "82": False}
    assert programs[0].workload == "test/default/a"


async def test_a_server_that_is_gone_is_told(tmp_path):
    """Without its programs, and without an error of our own."""
    async with run_api_server(tmp_path) as running:
        kubeconfig = running.kubeconfig
    (found,), programs = await ask_servers(kubeconfig, ["test"])

    assert found.error
    assert found.server.startswith("https://127.0.0.1:")
    assert (found.version, found.expires, programs) == ("", None, ())


def test_objects_that_came_this_moment_are_no_trouble(monkeypatch):
    """A control plane that is behind is asked again; one that stays behind, or is silent, is told of."""
    answers = [answer(revision=1, storeRevision=2), answer(revision=2, storeRevision=2)]
    record = facts().record

    def late(*_args, **_named):
        raise LocalMeshError("an API server is down")

    monkeypatch.setattr("meshpass.localmesh.meshcontrol.wait_in_sync", late)
    monkeypatch.setattr("meshpass.localmesh.control.read_check", lambda *_args, **_named: answers.pop(0))
    (found,) = ask_control(record, settle_seconds=0).processes
    assert found.answer == answer(revision=2, storeRevision=2)
    monkeypatch.setattr("meshpass.localmesh.control.read_check", late)
    assert ask_control(record, settle_seconds=0) == control((PROCESS, "an API server is down"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59, "59s"), (60, "1m"), (3_700, "1h1m"), (86_400 * 3, "3d")]
)
def test_spans_have_two_units(seconds, text):
    """The two largest, as kubectl shows ages."""
    assert show_duration(seconds) == text
