"""SavedKeys: the last good key set of every source, on disk."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from meshpass.jwks.failure import FetchError
from meshpass.jwks.keyset import read_remote_keys
from meshpass.secretfile import write_secret_file
from meshpass.translate.keysource import KeySource

logger = logging.getLogger(__name__)

_SUFFIX = ".json"


class SavedKeys(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What outlives the control plane: public keys, where they are from, and how to ask whether they have changed."""

    url: str
    destination: str
    jwks: str
    fetched_at: float
    """Seconds since 1970."""
    etag: str = ""
    last_modified: str = ""
    skipped: tuple[str, ...] = ()

    @property
    def source(self) -> KeySource:
        """Where the keys are from."""
        return KeySource(self.url, self.destination)


class SavedKeysDirectory:
    """One file per source, readable by its owner alone (a URL may hold a secret), each replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> dict[KeySource, SavedKeys]:
        """Every file that can be read; the others are logged and left alone."""
        found: dict[KeySource, SavedKeys] = {}
        with suppress(FileNotFoundError):
            for file in sorted(self._path.glob(f"*{_SUFFIX}")):
                saved = self._read(file)
                if saved is not None:
                    found[saved.source] = saved
        return found

    def read(self, source: KeySource) -> SavedKeys | None:
        """What is saved of the source."""
        file = self._file(source)
        return self._read(file) if file.exists() else None

    def write(self, saved: SavedKeys) -> None:
        """The file of the source holds this. What the disk refuses is logged: the keys in memory are good without."""
        file = self._file(saved.source)
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.chmod(0o700)
            write_secret_file(file, msgspec.json.encode(saved))
        except OSError as error:
            logger.warning("key set not saved", extra={"file": str(file), "error": error.strerror})

    def keep_only(self, sources: Collection[KeySource]) -> None:
        """No file of another source is left, nor what a write that was cut short left."""
        kept = {self._file(source) for source in sources}
        with suppress(FileNotFoundError):
            for file in [*self._path.glob(f"*{_SUFFIX}"), *self._path.glob(".*.new")]:
                if file not in kept:
                    file.unlink(missing_ok=True)

    def _file(self, source: KeySource) -> Path:
        digest = hashlib.sha256("\n".join(source).encode("utf-8", "surrogatepass")).hexdigest()
        return self._path / f"{digest[:32]}{_SUFFIX}"

    def _read(self, file: Path) -> SavedKeys | None:
        try:
            saved = msgspec.json.decode(file.read_bytes(), type=SavedKeys)
            keys = read_remote_keys(saved.jwks.encode())
        except (OSError, msgspec.DecodeError, UnicodeError, FetchError) as error:
            logger.warning("saved key set ignored", extra={"file": str(file), "error": type(error).__name__})
            return None
        if file != self._file(saved.source) or keys.skipped or not math.isfinite(saved.fetched_at):
            logger.warning("saved key set ignored", extra={"file": str(file), "error": "is not what was saved"})
            return None
        return msgspec.structs.replace(saved, jwks=keys.jwks)
