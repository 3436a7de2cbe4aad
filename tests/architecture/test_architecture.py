"""What no single test shows: rules that hold over the whole source tree."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "meshpass"
MODULES = sorted(SOURCE.rglob("*.py"))
MAX_LINES = 400

CORE = [
    path
    for path in MODULES
    if path.relative_to(SOURCE).parts[0] in {"api", "ir", "translate", "envoy", "errors.py", "memo.py"}
    or path.relative_to(SOURCE).parts == ("xds", "subscription.py")
]
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__", "globals"}
IMPURE_MODULES = {
    *("asyncio", "httpx", "logging", "os", "pathlib", "random", "secrets", "shutil", "socket", "sqlite3"),
    *("ssl", "subprocess", "sys", "tempfile", "threading", "time", "urllib.request", "uuid"),
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), name_of(path))


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_is_pure(path: Path) -> None:
    """No file, clock, environment, chance, log or network: from objects to Snapshot it is arithmetic."""
    tree = parse(path)
    calls = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}

    methods = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }

    assert calls & IMPURE_CALLS == set()
    assert methods & {"now", "utcnow", "today"} == set()
    assert set(imported(tree)) & IMPURE_MODULES == set()


def test_the_core_is_where_we_look_for_it() -> None:
    """The rule above has something to say: a package that moves takes it along."""
    assert {path.relative_to(SOURCE).parts[0] for path in CORE} >= {"api", "ir", "translate", "envoy", "xds", "memo.py"}
    assert len(CORE) > 40


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_has_no_state_of_its_own(path: Path) -> None:
    """No ``global``, and no module-level list, dict or set that something could be put into."""
    tree = parse(path)

    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]
    mutable = [
        ast.unparse(node.targets[0])
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.List | ast.Set | ast.ListComp | ast.SetComp)
    ]
    assert [name for name in mutable if name != "__all__"] == []


def public_definitions(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public classes and functions of a module, and public methods of those classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and not inner.name.startswith("_"):
                    yield inner


@pytest.mark.parametrize("path", [path for path in MODULES if path.read_text().strip()], ids=name_of)
def test_what_is_public_says_what_it_is(path: Path) -> None:
    """Every module, public class, function and method has a docstring."""
    tree = parse(path)

    assert ast.get_docstring(tree)
    assert [node.name for node in public_definitions(tree) if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_file_is_too_long(path: Path) -> None:
    """Whatever needs more lines than this is more than one thing."""
    assert len(path.read_text().splitlines()) <= MAX_LINES


FORBIDDEN = re.compile(
    "|".join(
        (
            r"(?<![\w.~:/-])/" + r"work/(?:main|shared|\.library)",
            "py" + r"pi\.org",
            "files.python" + "hosted",
            "registry" + r"\.npmjs",
            "proxy" + r"\.golang\.org",
        )
    )
)
"""Places that mean something only where this was written, and hosts that an installer finds by itself."""


def tracked() -> list[Path]:
    """The text files under version control; the lock may name what it likes."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git work tree: what is tracked is not known")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name and name != "requirements.lock"]
    return [path for path in paths if path.is_file() and b"\0" not in path.read_bytes()[:1024]]


def test_no_forbidden_words() -> None:
    """Nothing in the repository names the place where it was written."""
    found = [
        f"{name_of(path)}: {match.group()}"
        for path in tracked()
        for match in FORBIDDEN.finditer(path.read_text(errors="replace"))
    ]

    assert found == []


def test_no_private_key_is_committed() -> None:
    """Tests make their own key pairs; what is committed is public."""
    begin = re.compile("-----BEGIN (?:[A-Z]+ )?PRIVATE" + r" KEY-----\n[A-Za-z0-9+/=]{40,}")

    assert [name_of(path) for path in tracked() if begin.search(path.read_text(errors="replace"))] == []


FRAGMENT_TYPES = {"feature", "bugfix", "doc", "removal", "misc"}


def test_changelog_fragments_are_well_formed() -> None:
    """``<issue or +words>.<type>.md``, with words in it: what towncrier takes."""
    directory = ROOT / "changelog.d"
    if not directory.is_dir():
        pytest.skip("there are no changelog fragments")
    for path in directory.iterdir():
        if path.name.startswith(".") or path.name in {"README.md", "template.md"}:
            continue
        name, kind, suffix = path.name.split(".", 2)
        assert re.fullmatch(r"\d+|\+[\w-]+", name), path.name
        assert kind in FRAGMENT_TYPES, path.name
        assert suffix in {"md", "1.md", "2.md", "3.md"}, path.name
        assert path.read_text().strip(), path.name


def test_basenames_of_tests_are_unique() -> None:
    """pytest imports test files by their basename where there is no package."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert sorted({name for name in names if names.count(name) > 1}) == []
