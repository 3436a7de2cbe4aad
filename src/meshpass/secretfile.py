"""Files that hold keys and tokens."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def make_private_directory(path: Path) -> Path:
    """``path`` is there; it, and whatever above it was not, is for its owner alone (mode 0700). Raises OSError.

    `Path.mkdir` with ``parents`` makes what is above with the mode that everything has.
    """
    for missing in reversed([one for one in (path, *path.parents) if not one.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    return path


def write_secret_file(path: Path, content: bytes) -> None:
    """``path`` holds ``content``, is readable by its owner alone (mode 0600), and was never half-written.

    What a killed process leaves is ``.<name>.*.new`` beside it. Raises OSError.
    """
    # mkstemp creates with mode 0600: there is no moment at which others could read.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
