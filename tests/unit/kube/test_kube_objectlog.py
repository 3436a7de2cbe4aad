"""What was written is there after a kill at any moment; what cannot be read is begun anew."""

from __future__ import annotations

import random
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from meshpass.api.objectset import ObjectKey
from meshpass.errors import MeshpassError
from meshpass.kube.objectlog import Changes, ObjectLog, Restored, Row

ESSENCE = b'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"apps"}}'
KEY = ObjectKey("Namespace", "cluster1", "", "apps")
ROW = Row(version="1", generation=0, status=b"{}", essence=ESSENCE)


def write(path: Path, *changes: Changes) -> None:
    with closing(ObjectLog(path)) as log:
        for one in changes:
            log.write(one)


def load(path: Path) -> Restored:
    with closing(ObjectLog(path)) as log:
        return log.load()


def test_what_was_written_is_loaded(tmp_path: Path) -> None:
    """Objects, labels, what is complete and facts; the last word counts."""
    path = tmp_path / "objects.db"
    write(
        path,
        Changes(
            objects={KEY: ROW},
            labels={"cluster1": "1:1", "cluster2": "1:1"},
            facts={("mgmt", "a"): b"1", ("mgmt", "b"): b"2"},
        ),
        Changes(
            objects={KEY: ROW._replace(version="2")},
            labels={"cluster2": None},
            complete=frozenset({("cluster1", "Pod")}),
        ),
        Changes(facts={("mgmt", "a"): None}),
    )
    found = load(path)

    assert {key: row for key, (row, _) in found.objects.items()} == {KEY: ROW._replace(version="2")}
    assert found.objects[KEY][1].parsed.object.metadata.name == "apps"
    assert found.labels == {"cluster1": "1:1"}
    assert found.complete == {("cluster1", "Pod")}
    assert found.facts == {("mgmt", "b"): b"2"}


def test_a_deletion_is_written(tmp_path: Path) -> None:
    """And an empty label is none."""
    path = tmp_path / "objects.db"
    write(path, Changes(objects={KEY: ROW}), Changes(objects={KEY: None}))

    assert load(path) == Restored()


def test_the_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    """Secrets are in them: the file, and those that SQLite makes beside it."""
    path = tmp_path / "objects.db"
    with closing(ObjectLog(path)) as log:
        log.write(Changes(objects={KEY: ROW}))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}

    assert modes.keys() >= {"objects.db", "objects.db-wal"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize("damage", ["garbage", "an essence", "a kind", "another format"])
def test_what_cannot_be_read_is_begun_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """All of it: half of the objects could open a route. The process goes on, and the new file is good."""
    path = tmp_path / "objects.db"
    write(path, Changes(objects={KEY: ROW, KEY._replace(cluster="cluster2"): ROW}, labels={"cluster1": "1:1"}))
    if damage == "garbage":
        for file in tmp_path.iterdir():
            file.write_bytes(b"no database at all" * 1000)
    else:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(
                {
                    "an essence": "UPDATE objects SET essence = 'x' WHERE cluster = 'cluster2'",
                    "a kind": 'UPDATE objects SET essence = \'{"apiVersion":"v9","kind":"Later"}\'',
                    "another format": "PRAGMA user_version = 99",
                }[damage]
            )
    with closing(ObjectLog(path)) as log:
        assert log.load() == Restored()
        log.write(Changes(objects={KEY: ROW}))

    assert set(load(path).objects) == {KEY}
    assert ("stored objects cannot be read" in caplog.text) == (damage != "another format")


def test_a_full_disk_is_no_damage(tmp_path: Path) -> None:
    """A process that starts while the disk is full does not put aside what it knew: the next start has it."""
    path = tmp_path / "objects.db"
    write(path, Changes(objects={KEY: ROW}))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system refuses every byte, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(MeshpassError, match="cannot be opened: disk I/O error") as refused:
            load(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.hint

    assert set(load(path).objects) == {KEY}


def test_what_could_not_be_written_is_written_with_the_next_batch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that is full for a while costs nothing but what a crash meanwhile would; it is told once."""
    path = tmp_path / "missing" / "objects.db"
    with closing(ObjectLog(path)) as log:
        log.write(Changes(objects={KEY: ROW}))
        log.write(Changes(labels={"cluster1": "1:1"}))
        path.parent.mkdir()
        log.write(Changes(complete=frozenset({("cluster1", "Pod")})))

    found = load(path)
    assert (set(found.objects), found.labels, found.complete) == ({KEY}, {"cluster1": "1:1"}, {("cluster1", "Pod")})
    assert [record.message for record in caplog.records] == ["objects are not on disk"]


WRITER = """
import sys
from pathlib import Path
from meshpass.api.objectset import ObjectKey
from meshpass.errors import MeshpassError
from meshpass.kube.objectlog import Changes, ObjectLog, Row
log = ObjectLog(Path(sys.argv[1]))
for number in range(100000):
    essence = b'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n%d"}}' % number
    row = Row(version=str(number), generation=0, status=b"{}", essence=essence)
    keys = [ObjectKey("Namespace", cluster, "", f"n{number}") for cluster in ("a", "b")]
    log.write(Changes(objects=dict.fromkeys(keys, row), labels={"a": str(number)}))
    print(number, flush=True)
"""


@pytest.mark.parametrize("seed", range(3))
def test_a_process_that_is_killed_loses_nothing_and_leaves_no_half(tmp_path: Path, seed: int) -> None:
    """Every batch that was written is there, and both of its objects with its label."""
    path = tmp_path / "objects.db"
    chance = random.Random(seed)
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 200)):
            told = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split()
    told = int(rest[-1]) if rest else told
    found = load(path)

    names = {cluster: {key.name for key in found.objects if key.cluster == cluster} for cluster in ("a", "b")}
    assert names["a"] == names["b"] >= {f"n{number}" for number in range(told + 1)}
    assert found.labels["a"] == str(len(names["a"]) - 1)
