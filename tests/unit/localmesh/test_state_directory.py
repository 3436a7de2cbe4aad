"""The state directory is one supervisor's at a time, and private."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest

from meshpass.errors import LocalMeshError
from meshpass.localmesh.directory import ClusterRecord, MeshRecord, StateDirectory, state_directory

RECORD = MeshRecord(
    pid=123,
    ready=True,
    run_directory="/nowhere",
    clusters=(
        ClusterRecord(name="one", management=False, port=1),
        ClusterRecord(name="mgmt", management=True, port=2),
        ClusterRecord(name="two", management=False, port=3),
    ),
)


@pytest.fixture
def state(tmp_path):
    found = StateDirectory(path=tmp_path / "mesh")
    found.prepare()
    return found


def test_it_is_its_owners_alone(state):
    """Nobody else may list the directory or read the record."""
    state.write_record(RECORD)

    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    assert stat.S_IMODE((state.path / "mesh.json").stat().st_mode) == 0o600


def test_a_second_supervisor_is_told_about_the_first(state):
    """With its pid, and what to do."""
    state.write_record(RECORD)
    with (
        state.lock(),
        pytest.raises(LocalMeshError, match=r"already running on .* \(pid 123\)") as caught,
        state.lock(),
    ):
        pass
    assert "meshpass down" in (caught.value.hint or "")


def test_the_lock_ends_with_its_process(state):
    """However it ends: a killed supervisor leaves a directory that can be used."""
    code = (
        "import sys, time; from pathlib import Path; from meshpass.localmesh.directory import StateDirectory\n"
        "with StateDirectory(path=Path(sys.argv[1])).lock():\n    print('held', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(state.path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert state.is_held()
        holder.kill()
    assert not state.is_held()
    with state.lock():
        assert state.is_held()


def test_the_lock_is_its_owners_alone(state):
    """Also one that an earlier version left readable for others."""
    lock = state.path / "lock"
    for before in (None, 0o644):
        if before is not None:
            lock.chmod(before)
        with state.lock():
            assert lock.stat().st_mode & 0o777 == 0o600


def test_running_means_a_record_and_a_held_lock(state):
    """Neither an empty directory nor what a dead supervisor wrote."""
    with pytest.raises(LocalMeshError, match="no mesh is running"):
        state.running()
    state.write_record(RECORD)
    with pytest.raises(LocalMeshError, match="no mesh is running"):
        state.running()
    with state.lock():
        assert state.running() == RECORD


def test_a_mesh_that_has_just_begun_is_not_yet_running(state):
    """Its first record names the process alone."""
    state.write_record(MeshRecord(pid=1, ready=False, run_directory=""))
    with state.lock(), pytest.raises(LocalMeshError, match="a mesh is just starting"):
        state.running()


def test_a_record_that_is_no_record_is_none(state):
    """Of another version, or cut off."""
    (state.path / "mesh.json").write_text('{"pid": "x"}')

    assert state.read_record() is None


def test_the_record_knows_its_clusters(state):
    """The management cluster, and the others in the file's order."""
    assert (RECORD.management, RECORD.workload_clusters) == ("mgmt", ("one", "two"))
    assert RECORD.clusters[0].server == "https://127.0.0.1:1"


def test_sockets_are_in_the_directory_where_paths_are_short():
    """A long state directory gets a private one under the system's temporary directory; the record says which."""
    short = StateDirectory(path=state_directory(None).path.__class__(f"/tmp/mp-{os.getpid()}"))
    short.prepare()
    try:
        assert short.make_run_directory() == short.path / "run"
        (short.path / "run" / "stale.sock").touch()
        assert list(short.make_run_directory().iterdir()) == []
    finally:
        for path in (short.path / "run", short.logs, short.path):
            path.rmdir()


def test_a_long_directory_has_its_sockets_elsewhere(tmp_path, monkeypatch):
    """Short, private, and removed by the next start when a supervisor was killed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    state = StateDirectory(path=tmp_path / ("x" * 100))
    state.prepare()

    first = state.make_run_directory()
    assert first.parent in {tmp_path, type(tmp_path)("/tmp")}
    assert stat.S_IMODE(first.stat().st_mode) == 0o700
    state.write_record(MeshRecord(pid=1, ready=True, run_directory=str(first)))
    second = state.make_run_directory()
    second.rmdir()
    assert second != first
    assert not first.exists()


def test_a_long_temporary_directory_is_not_used(tmp_path, monkeypatch):
    """Where TMPDIR is too long as well, /tmp takes the sockets."""
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    state = StateDirectory(path=long / "mesh")
    state.prepare()
    found = state.make_run_directory()
    try:
        assert len(str(found / "admin-999.sock")) <= 100
    finally:
        found.rmdir()


def test_only_our_own_leftovers_are_removed(tmp_path, state):
    """A record that names some other directory does no harm to it."""
    precious = tmp_path / "precious"
    precious.mkdir()
    state.write_record(MeshRecord(pid=1, ready=True, run_directory=str(precious)))
    state.make_run_directory()

    assert precious.exists()
