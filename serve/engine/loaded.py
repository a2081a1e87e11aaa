"""The list of loaded models, in a file: a worker that follows one that was killed finds there what that one had."""

import json
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from serve import machine

log = logging.getLogger("serve")

MOST_KILLS = 10
"""Loads of a model in a row during which the kernel may kill for want of memory; the next worker leaves it out."""


@dataclass(frozen=True)
class _Entry:
    folder: str
    tries: int = 0
    """Times that workers have begun to load it again, since it was last loaded."""
    kills: int = 0
    """Of these, the times that ended because memory ran out."""
    begun_at: int | None = None
    """What the kernel had counted as the load began that is under way."""


class Loaded:
    """Names of models and their folders, in `path`; without one, in memory. Safe to share by threads."""

    def __init__(self, path: Path | None = None, oom_kills: Callable[[], int | None] = machine.oom_kills) -> None:
        self._path = path
        self._oom_kills = oom_kills
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}

    def to_restore(self) -> dict[str, Path]:
        """What a worker that begins is to load: folders by name, without those whose loading takes all memory.

        A worker that was killed for another reason is not its model's fault. Where the kernel does not count its kills,
        any may have been for memory. Models that no worker has tried in vain come first.
        """
        with self._lock:
            if self._path is not None and self._path.exists():
                described = json.loads(self._path.read_text(encoding="utf-8"))
                self._entries = {name: _Entry(**entry) for name, entry in described.items()}
            count = self._oom_kills()
            for name, entry in list(self._entries.items()):
                if entry.begun_at is not None:
                    blamed = count is None or count > entry.begun_at
                    entry = replace(entry, kills=entry.kills + blamed, begun_at=None)
                    self._entries[name] = entry
                if entry.kills >= MOST_KILLS:
                    log.error(
                        "model %s is left out: memory ran out %d times in a row while it was loaded", name, entry.kills
                    )
                    del self._entries[name]
            self._write()  # each load is judged once
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
            self._entries[name] = replace(entry, tries=entry.tries + 1, begun_at=self._oom_kills() or 0)
            self._write()

    def waiting(self, name: str) -> None:
        """Note that a load has ended, and that the model is to be loaded later."""
        with self._lock:
            self._entries[name] = replace(self._entries[name], begun_at=None)
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
