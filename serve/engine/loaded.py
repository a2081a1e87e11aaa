"""The list of loaded models, in a file: a worker that follows one that was killed finds there what that one had."""

import json
import logging
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

log = logging.getLogger("serve")

MOST_TRIES = 10
"""Workers that may be killed one after the other while they load a model again; the next one leaves it out."""


@dataclass(frozen=True)
class _Entry:
    folder: str
    tries: int = 0


class Loaded:
    """Names of models and their folders, in `path`; without one, in memory. Safe to share by threads."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def to_restore(self) -> dict[str, Path]:
        """What a worker that begins is to load: folders by name, without those that have killed workers.

        Those that no worker has tried in vain come first.
        """
        with self._lock:
            if self._path is not None and self._path.exists():
                described = json.loads(self._path.read_text(encoding="utf-8"))
                self._entries = {name: _Entry(**entry) for name, entry in described.items()}
            for name, entry in list(self._entries.items()):
                if entry.tries >= MOST_TRIES:
                    log.error("model %s is left out: %d workers were killed while they loaded it", name, entry.tries)
                    del self._entries[name]
            in_order = sorted(self._entries.items(), key=lambda item: item[1].tries)
            return {name: Path(entry.folder) for name, entry in in_order}

    def add(self, name: str, folder: Path) -> None:
        """Note that a model is loaded."""
        with self._lock:
            self._entries[name] = _Entry(str(folder))
            self._write()

    def trying(self, name: str) -> None:
        """Note that a model is being loaded again."""
        with self._lock:
            entry = self._entries[name]
            self._entries[name] = _Entry(entry.folder, entry.tries + 1)
            self._write()

    def remove(self, name: str) -> None:
        """Note that a model is not loaded any more."""
        with self._lock:
            del self._entries[name]
            self._write()

    def _write(self) -> None:
        """The file, whole or not at all. Where it cannot be written, the models are served all the same."""
        if self._path is None:
            return
        described = {name: asdict(entry) for name, entry in self._entries.items()}
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(described), encoding="utf-8")
            os.replace(temporary, self._path)
        except OSError as error:
            log.warning("%s cannot be written (%s): a worker that follows would not know its models", self._path, error)
