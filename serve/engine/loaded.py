"""The list of loaded models, stored in a file so that a new worker can restore the models of one that was killed."""

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from serve import machine

log = logging.getLogger("serve")

MAX_KILLS = 10
"""Maximum number of out-of-memory kills in a row while a model is being loaded. After that, it is not loaded again."""


@dataclass(frozen=True)
class _Entry:
    folder: str
    tries: int = 0
    """How many times workers have tried to load the model again since it was last loaded."""
    kills: int = 0
    """How many of these attempts ended because memory ran out."""
    kills_at_start: int | None = None
    """The kernel's count of out-of-memory kills when the current load started; None if no load is running."""


class Loaded:
    """The names and folders of loaded models, stored in the file `path` or, without one, in memory. Thread-safe."""

    def __init__(self, path: Path | None = None, oom_kills: Callable[[], int | None] = machine.oom_kills) -> None:
        self._path = path
        self._oom_kills = oom_kills
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def to_restore(self) -> dict[str, Path]:
        """Return the folders, by name, that a new worker should load, leaving out models that exhaust the memory.

        Only an out-of-memory kill counts against the model that was being loaded. If the kernel does not count such
        kills, every kill counts. Models without failed attempts come first.
        """
        with self._lock:
            if self._path is not None and self._path.exists():
                entries = json.loads(self._path.read_text(encoding="utf-8"))
                self._entries = {name: _Entry(**entry) for name, entry in entries.items()}
            count = self._oom_kills()
            for name, entry in list(self._entries.items()):
                if entry.kills_at_start is not None:
                    out_of_memory = count is None or count > entry.kills_at_start
                    entry = replace(entry, kills=entry.kills + out_of_memory, kills_at_start=None)
                    self._entries[name] = entry
                if entry.kills >= MAX_KILLS:
                    log.error(
                        "model %s is not loaded again: memory ran out %d times in a row while loading it",
                        name,
                        entry.kills,
                    )
                    del self._entries[name]
            self._write()  # so that each load is counted once
            in_order = sorted(self._entries.items(), key=lambda item: item[1].tries)
            return {name: Path(entry.folder) for name, entry in in_order}

    def add(self, name: str, folder: Path) -> None:
        """Record that a model is loaded."""
        with self._lock:
            self._entries[name] = _Entry(str(folder))
            self._write()

    def start_loading(self, name: str) -> None:
        """Record that loading a model again has started."""
        with self._lock:
            entry = self._entries[name]
            self._entries[name] = replace(entry, tries=entry.tries + 1, kills_at_start=self._oom_kills() or 0)
            self._write()

    def postpone(self, name: str) -> None:
        """Record that a load has ended and that the model will be loaded later."""
        with self._lock:
            self._entries[name] = replace(self._entries[name], kills_at_start=None)
            self._write()

    def remove(self, name: str) -> None:
        """Record that a model is no longer loaded."""
        with self._lock:
            del self._entries[name]
            self._write()

    def _write(self) -> None:
        """Write the file atomically. If that fails, the models are served anyway."""
        if self._path is None:
            return
        entries = {name: asdict(entry) for name, entry in self._entries.items()}
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(entries), encoding="utf-8")
            os.replace(temporary, self._path)
        except OSError as error:
            log.warning("%s cannot be written (%s): a new worker would not restore the models", self._path, error)
