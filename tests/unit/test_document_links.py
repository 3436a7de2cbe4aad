"""What documents refer to is there: files, headings, modules, tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WRITTEN_WITH_CARE = [
    ROOT / "ARCHITECTURE.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs" / "decisions").glob("*.md")),
]

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_PYTHON_FILE = re.compile(r"`([\w/]+\.py)`")


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", text))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    """Relative links name files that there are, and headings that those have."""
    for link in _LINK.findall(_FENCE.sub("", document.read_text())):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


@pytest.mark.parametrize("document", WRITTEN_WITH_CARE, ids=name_of)
def test_modules_and_tests_that_are_named_exist(document: Path) -> None:
    """A module that moves takes its mention along."""
    files = [f"/{name_of(path)}" for place in ("src", "tests") for path in (ROOT / place).rglob("*.py")]

    missing = [
        name
        for name in _PYTHON_FILE.findall(document.read_text())
        if not any(file.endswith(f"/{name}") for file in files)
    ]

    assert missing == []


def test_the_architecture_names_every_package() -> None:
    """The table of packages is whole."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    parts = [
        path for path in (ROOT / "src" / "meshpass").iterdir() if path.name[0] not in "_." and path.name != "py.typed"
    ]

    assert [path.name for path in parts if f"`{path.name}{'/' if path.is_dir() else ''}`" not in text] == []


def test_the_architecture_tells_the_import_order() -> None:
    """As the contract has it that `make check` enforces."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    order = " → ".join(f"({layer})" if "|" in layer else layer for layer in layers)

    assert order in " ".join((ROOT / "ARCHITECTURE.md").read_text().split())


@pytest.mark.parametrize(("name", "lines"), [("ARCHITECTURE.md", 150), ("CONTRIBUTING.md", 60)])
def test_what_everybody_has_to_read_is_short(name: str, lines: int) -> None:
    """What is longer is not read."""
    assert len((ROOT / name).read_text().splitlines()) <= lines
