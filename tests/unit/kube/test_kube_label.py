"""Labels rise, and tell which of two states of a cluster is the later."""

from __future__ import annotations

import pytest

from meshpass.kube.label import Label, label_covers, parse_label


def test_a_label_is_text_and_back() -> None:
    """What is passed on as text is compared by whoever gave it."""
    label = Label(1_790_000_000_000, 7)

    assert parse_label(str(label)) == label
    assert str(label.next()) == "1a0c4b3f400:8".replace("1a0c4b3f400", f"{1_790_000_000_000:x}")


@pytest.mark.parametrize("text", ["", "x", "1", ":", "1:", ":1", "g:1", "1:x"])
def test_other_text_is_no_label(text: str) -> None:
    """It covers itself alone."""
    assert parse_label(text) is None
    assert label_covers(text, text)
    assert not label_covers(text, "1:1")
    assert not label_covers("1:1", text)


@pytest.mark.parametrize(
    ("label", "wanted", "covers"),
    [
        ("5:3", "5:3", True),
        ("5:4", "5:3", True),
        ("5:10", "5:9", True),
        ("6:0", "5:9", True),
        ("5:2", "5:3", False),
        ("4:9", "5:0", False),
        ("10:0", "f:0", True),
    ],
)
def test_a_later_label_covers_an_earlier_one(label: str, wanted: str, covers: bool) -> None:
    """By the start of the process, then by the changes since; as numbers."""
    assert label_covers(label, wanted) is covers
