"""Settings of workspaces: which WorkspaceSettings holds for each, and what the one for all of them changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from meshpass.api.admin import (
    ServiceIsolation,
    WorkspaceObjectSelector,
    WorkspaceOptions,
    WorkspaceSettings,
    WorkspaceSettingsSpec,
)
from meshpass.api.objectset import ObjectKey
from meshpass.api.struct import wire_names
from meshpass.translate.age import by_age
from meshpass.translate.finding import Finding, Reason, Severity

ADMIN_NAMESPACE = "gloo-mesh"
"""The namespace of the management cluster in which the mesh as a whole is administered."""
GLOBAL_NAME = "global"
NO_OPTIONS = WorkspaceOptions()
NOTHING = (WorkspaceObjectSelector(),)
"""An entry that is for no workspace: it shares nothing, and is there all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveSettings:
    """What holds for one workspace."""

    key: ObjectKey | None = None
    """Its WorkspaceSettings; None if it has none of its own."""
    import_from: tuple[WorkspaceObjectSelector, ...] = ()
    export_to: tuple[WorkspaceObjectSelector, ...] = ()
    options: WorkspaceOptions = NO_OPTIONS
    overridden: tuple[str, ...] = ()
    """Paths of what its own settings say and the global ones say otherwise."""


NO_SETTINGS = EffectiveSettings()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SettingsIndex:
    """The settings of all workspaces."""

    of_workspace: Mapping[str, EffectiveSettings] = field(default_factory=lambda: MappingProxyType({}))
    global_key: ObjectKey | None = None
    """The WorkspaceSettings that hold for all workspaces; None if there are none."""
    findings: tuple[Finding, ...] = ()

    def of(self, workspace: str | None) -> EffectiveSettings:
        """What holds for a workspace; nothing at all for one that there is none of."""
        return self.of_workspace.get(workspace or "", NO_SETTINGS)


def is_global(key: ObjectKey, management_cluster: str) -> bool:
    """True for the WorkspaceSettings that hold for all workspaces."""
    return (key.cluster, key.namespace, key.name) == (management_cluster, ADMIN_NAMESPACE, GLOBAL_NAME)


def index_settings(
    settings: Mapping[ObjectKey, WorkspaceSettings],
    workspaces: frozenset[str],
    owner: Callable[[ObjectKey], str | None],
    problems: Mapping[ObjectKey, tuple[str, ...]],
    management_cluster: str,
) -> SettingsIndex:
    """The settings of each workspace. Of several for one workspace the oldest hold, and the others are told.

    What the global ones say takes the place of what each workspace says: field by field of the spec and of its options.
    """
    of_all: WorkspaceSettingsSpec | None = None
    global_key: ObjectKey | None = None
    chosen: dict[str, tuple[ObjectKey, WorkspaceSettingsSpec]] = {}
    findings: list[Finding] = []
    for key, item in by_age(settings):
        spec = _readable(item.spec, problems.get(key, ()))
        if is_global(key, management_cluster):
            of_all, global_key = spec, key
            continue
        workspace = owner(key)
        if workspace is None:
            continue
        first = chosen.setdefault(workspace, (key, spec))[0]
        if first != key:
            place = f"{first.namespace}/{first.name} of cluster {first.cluster}"
            message = f"workspace {workspace} has the older WorkspaceSettings {place}, and these have no effect"
            findings.append(Finding(key=key, severity=Severity.WARNING, reason=Reason.CONFLICTED, message=message))
    return SettingsIndex(
        of_workspace={
            name: _combine(chosen.get(name), of_all or WorkspaceSettingsSpec()) for name in sorted(workspaces)
        },
        global_key=global_key,
        findings=tuple(findings),
    )


def _readable(spec: WorkspaceSettingsSpec, problems: tuple[str, ...]) -> WorkspaceSettingsSpec:
    """What could be read. A part that could not be read whole shares nothing, and lets nobody in."""
    broken = frozenset(part for problem in problems for part in _broken_parts(problem.partition(":")[0]))
    options = spec.options
    if _ISOLATION in broken:
        options = msgspec.structs.replace(options or NO_OPTIONS, service_isolation=ServiceIsolation(enabled=True))
    if options is not None and _FEDERATION in broken:
        options = msgspec.structs.replace(options, federation=None)
    return WorkspaceSettingsSpec(
        import_from=NOTHING if _IMPORT in broken else spec.import_from,
        export_to=NOTHING if _EXPORT in broken else spec.export_to,
        options=options,
    )


_IMPORT, _EXPORT, _OPTIONS = "spec.importFrom", "spec.exportTo", "spec.options"
_ISOLATION, _FEDERATION = f"{_OPTIONS}.serviceIsolation", f"{_OPTIONS}.federation"
_HARMLESS = tuple(f"{_OPTIONS}.{name}" for name in ("eastWestGateways", "virtualDestClientMode", "trimAllProxyConfig"))


def _broken_parts(path: str) -> tuple[str, ...]:
    """The parts of settings in doubt after a problem at this path: what a misspelt name was meant to be is not known."""
    for part in (_IMPORT, _EXPORT, _ISOLATION, _FEDERATION):
        if path == part or path.startswith((f"{part}[", f"{part}.")):
            return (part,)
    if not path.startswith("spec") or path.startswith(_HARMLESS):
        return ()
    if path == _OPTIONS or path.startswith(f"{_OPTIONS}."):
        return (_ISOLATION, _FEDERATION)
    return (_IMPORT, _EXPORT, _ISOLATION, _FEDERATION)


def _combine(
    chosen: tuple[ObjectKey, WorkspaceSettingsSpec] | None, of_all: WorkspaceSettingsSpec
) -> EffectiveSettings:
    key, own = chosen or (None, WorkspaceSettingsSpec())
    options, options_of_all = own.options or NO_OPTIONS, of_all.options or NO_OPTIONS
    return EffectiveSettings(
        key=key,
        import_from=of_all.import_from or own.import_from,
        export_to=of_all.export_to or own.export_to,
        options=msgspec.structs.replace(options, **_said(options_of_all)),
        overridden=(
            *(
                path
                for path, said, by_all in (
                    (_IMPORT, own.import_from, of_all.import_from),
                    (_EXPORT, own.export_to, of_all.export_to),
                )
                if said and by_all and said != by_all
            ),
            *_overridden_options(options, options_of_all),
        ),
    )


def _said(options: WorkspaceOptions) -> Mapping[str, Any]:
    """The options that are set: false, which is the default of what is no object, is the same as not set."""
    return {name: value for name in options.__struct_fields__ if (value := getattr(options, name))}


def _overridden_options(own: WorkspaceOptions, of_all: WorkspaceOptions) -> Iterator[str]:
    names, said = wire_names(WorkspaceOptions), _said(own)
    for name, value in _said(of_all).items():
        if name in said and said[name] != value:
            yield f"{_OPTIONS}.{names[name]}"
