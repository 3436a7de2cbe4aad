"""Managers of an object's fields, and their form in ``metadata.managedFields`` (meta.k8s.io/v1 ManagedFieldsEntry)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from meshpass.apiserver.cause import Cause, invalid, too_long
from meshpass.apiserver.fieldset import FieldSet, parse_fields_v1

MANAGER_MAX_LENGTH: Final = 128
_SUBRESOURCE_MAX_LENGTH: Final = 256
_MOST_UPDATERS: Final = 10
_ANCIENT: Final = "ancient-changes"
_PRINTABLE: Final = "should only contain printable characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """Who owns fields: a name together with the way in which it writes."""

    name: str
    applies: bool
    """True for one who states all that it wants (Apply), false for one who changes what it finds (Update)."""
    version: str = ""
    """The apiVersion in which it updates; empty for one who applies, who is the same in every version."""
    subresource: str = ""

    def __str__(self) -> str:
        shown = f'"{self.name}"'
        if self.subresource:
            shown += f' with subresource "{self.subresource}"'
        return shown if self.applies else f"{shown} using {self.version}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """What a manager owns."""

    fields: FieldSet
    version: str
    """The apiVersion that the paths are of."""
    time: str | None
    """When the manager last changed something, RFC 3339 in UTC."""


Managers = Mapping[Manager, Ownership]


def decode_managers(entries: Any) -> dict[Manager, Ownership]:
    """The managers of an object. Raises ValueError when an entry is none."""
    if not isinstance(entries, list):
        raise ValueError("managedFields is no list")  # noqa: TRY004 - a fault of the entries like any other
    return dict(map(_decode, entries))


def encode_managers(managers: Managers) -> list[dict[str, Any]]:
    """The entries in Kubernetes' order: operation, time, name, version, subresource."""
    ordered = sorted(
        managers.items(),
        key=lambda item: (
            not item[0].applies,
            item[1].time or "",
            item[0].name,
            item[1].version,
            item[0].subresource,
        ),
    )
    return [_encode(manager, held) for manager, held in ordered]


def is_reset(entries: Any) -> bool:
    """True for what a client sends to have nobody own anything: an empty list, or one with an empty entry."""
    return entries in ([], [{}])


def without_times(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries but for their times, in an order that does not depend on them."""
    bare = [{name: value for name, value in entry.items() if name != "time"} for entry in entries]
    return sorted(
        bare, key=lambda entry: [str(entry.get(name)) for name in ("operation", "manager", "apiVersion", "subresource")]
    )


def capped(managers: Managers) -> Managers:
    """No more than ten managers that update: the oldest of a version are joined into one, ``ancient-changes``."""
    updaters = sorted(
        (item for item in managers.items() if not item[0].applies), key=lambda item: (item[1].time or "", item[0].name)
    )
    excess = len(updaters) - _MOST_UPDATERS
    if excess <= 0:
        return managers
    result = dict(managers)
    first: dict[str, Manager] = {}
    for manager, held in updaters:
        if excess <= 0:
            break
        bucket = Manager(name=_ANCIENT, applies=False, version=held.version)
        if held.version not in first:
            first[held.version] = manager
            continue
        if manager == bucket:
            continue
        if bucket not in result:
            result[bucket] = result.pop(first[held.version])
        joined = result[bucket].fields | held.fields
        result[bucket] = replace(result[bucket], fields=joined, time=held.time)
        del result[manager]
        excess -= 1
    return result


def manager_causes(managers: Iterable[Manager]) -> tuple[Cause, ...]:
    """What is wrong with names that somebody wrote into managedFields."""
    found: list[Cause] = []
    for index, manager in enumerate(managers):
        field = f"metadata.managedFields[{index}]"
        found += name_causes(manager.name, f"{field}.manager")
        if len(manager.subresource.encode(errors="surrogatepass")) > _SUBRESOURCE_MAX_LENGTH:
            found.append(too_long(f"{field}.subresource", _SUBRESOURCE_MAX_LENGTH))
    return tuple(found)


def name_causes(name: str, field: str) -> tuple[Cause, ...]:
    """What is wrong with the name of a manager (``ValidateFieldManager`` of apimachinery)."""
    if len(name.encode(errors="surrogatepass")) > MANAGER_MAX_LENGTH:
        return (too_long(field, MANAGER_MAX_LENGTH),)
    return () if name.isprintable() else (invalid(field, name, _PRINTABLE),)


def manager_name(given: str, user_agent: str) -> str:
    """The name that a client gives itself, or else the first word of its User-Agent."""
    if given:
        return given
    words = user_agent.partition("/")[0]
    printable = "".join(character for character in words if character.isprintable())
    return printable.encode()[:MANAGER_MAX_LENGTH].decode(errors="ignore") or "unknown"


def _decode(entry: Any) -> tuple[Manager, Ownership]:
    texts = ("manager", "operation", "apiVersion", "fieldsType", "subresource")
    if not isinstance(entry, Mapping) or not all(isinstance(entry.get(text, ""), str) for text in texts):
        raise ValueError("not a ManagedFieldsEntry")
    applies = entry.get("operation") == "Apply"
    version: str = entry.get("apiVersion", "")
    if not applies and entry.get("operation") != "Update":
        raise ValueError("operation must be `Apply` or `Update`")
    if not version or entry.get("fieldsType") != "FieldsV1":
        raise ValueError("apiVersion must not be empty, and fieldsType must be FieldsV1")
    manager = Manager(
        name=entry.get("manager", ""),
        applies=applies,
        version="" if applies else version,
        subresource=entry.get("subresource", ""),
    )
    fields = parse_fields_v1({} if entry.get("fieldsV1") is None else entry["fieldsV1"])
    return manager, Ownership(fields=fields, version=version, time=_time(entry.get("time")))


def _time(value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("time must be RFC 3339")  # noqa: TRY004 - a fault of the entry like any other
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            raise ValueError("time must be RFC 3339")
        return f"{moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()}Z"
    except OverflowError as error:
        raise ValueError("time is out of range") from error


def _encode(manager: Manager, held: Ownership) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "manager": manager.name,
        "operation": "Apply" if manager.applies else "Update",
        "apiVersion": held.version,
    }
    if held.time is not None:
        entry["time"] = held.time
    entry |= {"fieldsType": "FieldsV1", "fieldsV1": held.fields.fields_v1()}
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return entry
