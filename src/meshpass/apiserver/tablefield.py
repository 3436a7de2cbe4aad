"""What the tables of the built-in kinds share: columns, and reading fields that may not be there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from meshpass.apiserver.age import render_age
from meshpass.apiserver.resource import Column

NONE: Final = "<none>"


def column(name: str, kind: str = "string", *, text_format: str = "", priority: int = 0) -> Column:
    """A column whose cells are computed, so that it has no path."""
    return Column(
        name=name,
        type=kind,
        json_path="",
        description=_DESCRIPTIONS.get(name, ""),
        format=text_format,
        priority=priority,
    )


def wide(name: str, kind: str = "string", *, text_format: str = "") -> Column:
    """A column that is shown with ``-o wide`` only."""
    return column(name, kind, text_format=text_format, priority=1)


_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "Age": "How long ago the object was created.",
    "Created At": "When the object was created.",
    "Data": "How many keys it holds.",
    "Name": "The name of the object.",
    "Status": "In which phase of its life the object is.",
}
NAME: Final = column("Name", text_format="name")
AGE: Final = column("Age")


def mapped(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else ()


def at(value: Any, *path: str) -> Any:
    """What stands at the path, None where the path leads nowhere."""
    for key in path:
        value = mapped(value).get(key)
    return value


def text_at(value: Any, *path: str) -> str:
    """The text at the path, empty where there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def join_labels(labels: Any) -> str:
    """``a=1,b=2`` in the order of keys, ``<none>`` for no labels."""
    return ",".join(f"{key}={value}" for key, value in sorted(mapped(labels).items())) or NONE


def name_and_age(obj: Mapping[str, Any], now: datetime, *between: Any) -> tuple[Any, ...]:
    """The usual row: the name, the cells between, the age."""
    return (text_at(obj, "metadata", "name"), *between, render_age(at(obj, "metadata", "creationTimestamp"), now))
