"""The golden cases: what each in.yaml comes to is what its expected files say. ``make golden`` rewrites them."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from tests.golden.rendering import ROOT, case_folders, case_name, orphans, render_case


@pytest.mark.parametrize("folder", [pytest.param(folder, id=case_name(folder)) for folder in case_folders()])
def test_case(folder: Path, request: pytest.FixtureRequest) -> None:
    """Status, IR and xDS are as expected."""
    rewrite = request.config.getoption("--update-golden")
    wrong = []
    for name, actual in render_case(folder).items():
        path = folder / name
        if rewrite:
            path.write_text(actual)
            continue
        expected = path.read_text() if path.exists() else ""
        wrong += difflib.unified_diff(
            expected.splitlines(), actual.splitlines(), f"expected {name}", f"actual {name}", lineterm=""
        )
    if wrong:
        pytest.fail("\n".join([*wrong, "", "if this is meant: make golden"]), pytrace=False)


def test_every_file_belongs_to_a_case(request: pytest.FixtureRequest) -> None:
    """No expected file is left over from a case that is gone."""
    found = orphans()
    if request.config.getoption("--update-golden"):
        for path in found:
            path.unlink()
        for folder in sorted((path for path in ROOT.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        return
    assert found == []


def test_names_of_cases_are_sentences() -> None:
    """A case is found by its claim: at least three words of small letters and digits."""
    names = [folder.name for folder in case_folders()]
    assert [name for name in names if name.count("-") < 2 or name.lower() != name] == []
    assert len(names) == len(set(names))
