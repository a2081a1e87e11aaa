"""Samples: where their bytes are, which of them are readable, and which fit in memory.

All data is read and decoded once before training begins, so a bad file shows up in the first minute of a job rather
than in its first hour. Unreadable files are counted, named and left out. Decoded images are cached as far as memory
allows.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from serve.machine import cpu_count, memory_bytes
from serve.preprocess import UnreadableImage
from serve.words import plural
from train.data import recordio
from train.errors import Refuse, UserError, raise_error
from train.hyperparameter_types import CommonHyperparameters
from train.job import stop
from train.log import LOG, Progress

T = TypeVar("T")
L = TypeVar("L")
L_co = TypeVar("L_co", covariant=True)
MAX_NAMED = 10


@dataclass(frozen=True)
class Sample(Generic[L_co]):
    """One image with its label (None if it is kept elsewhere). Code that only reads images takes `Sample[object]`.

    `offset` and `length` locate its record in a .rec file; `length` is 0 for an image file.
    """

    name: str
    label: L_co
    path: Path
    offset: int = 0
    length: int = 0

    def read(self) -> bytes:
        """Return the encoded image. Raises UnreadableImage if the file does not exist or cannot be read."""
        try:
            if self.length:
                return recordio.unpack_image(recordio.read(self.path, self.offset, self.length)).image
            return self.path.read_bytes()
        except FileNotFoundError:
            raise UnreadableImage("does not exist") from None
        except (OSError, ValueError) as error:  # RecordIOError, or a NUL in the path
            raise UnreadableImage(f"cannot be read: {error}") from None

    def labelled(self, label: L) -> "Sample[L]":
        """Return the same image with another label."""
        return Sample(self.name, label, self.path, self.offset, self.length)


def records(path: Path, refuse: Refuse = raise_error) -> Iterator[Sample[NDArray[np.float32]]]:
    """Yield the image records of a .rec file in order. A label is the record's float32 vector, unchecked.

    If the file is damaged, `refuse` gets a UserError with the file and the byte offset or record, and reading stops.
    """
    try:
        for number, (offset, length) in enumerate(recordio.scan(path)):
            labels = _labels(path, number, offset, length)
            yield Sample(f"{path.name}, record {number}", labels, path, offset, length)
    except recordio.RecordIOError as error:
        refuse(
            UserError(
                f"{error}. The channel must hold MXNet image records, as im2rec or `python3 -m local prepare "
                "--format recordio` writes them"
            )
        )


def _labels(path: Path, number: int, offset: int, length: int) -> NDArray[np.float32]:
    record = recordio.read(path, offset, length)
    try:
        return recordio.unpack_image(record).labels
    except recordio.RecordIOError as error:
        raise recordio.RecordIOError(f"{path}, record {number} at byte {offset}: {error}") from None


class DataIssues:
    """Collects issues in many files and logs one line per kind of issue, with the first ten names."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Add an issue of the file `name`. `kind` describes such files, e.g. "images without a label, left out"."""
        self.names.setdefault(kind, []).append(name)

    def log(self) -> None:
        """Log all kinds in the order of their first occurrence."""
        for kind, names in self.names.items():
            more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
            LOG.warning("%s: %d (%s%s)", kind, len(names), ", ".join(names[:MAX_NAMED]), more)


class SampleCache(Generic[T]):
    """Caches the results of `make(i)` until `budget` bytes are used; later results are recomputed on each access.

    `size(value)` is in bytes. Thread-safe.
    """

    def __init__(self, make: Callable[[int], T], size: Callable[[T], int], budget: int) -> None:
        self._make, self._size, self._left = make, size, budget
        self._kept: dict[int, T] = {}
        self._lock = threading.Lock()

    def __getitem__(self, index: int) -> T:
        value = self._kept.get(index)
        if value is not None:
            return value
        value = self._make(index)
        with self._lock:
            if index not in self._kept and self._size(value) <= self._left:
                self._kept[index] = value
                self._left -= self._size(value)
        return value

    def select(self, indices: Sequence[int], names: Sequence[str] | None = None) -> "SampleCache[T]":
        """Return a SampleCache of only these indices, renumbered from 0, with the values that are already cached.

        With `names`, one per index, a sample that has become unreadable raises UserError with its name.
        """

        def make(index: int) -> T:
            try:
                return self._make(indices[index])
            except UnreadableImage as error:
                if names is None:
                    raise
                raise UserError(
                    f"{names[index]} {error}, although it was readable when the job began: the channel must not change "
                    "until the job ends"
                ) from None

        chosen = SampleCache(make, self._size, self._left)
        chosen._kept = {new: self._kept[old] for new, old in enumerate(indices) if old in self._kept}
        return chosen


def memory_budget() -> int:
    """Return how many bytes the cached images may use: a quarter of the container's memory."""
    return memory_bytes() // 4


def select_readable(
    what: str, samples: Sequence[Sample[L]], cache: SampleCache[T], tolerance: float
) -> tuple[list[Sample[L]], SampleCache[T]]:
    """Read every sample once; return the readable ones, and a cache of only these.

    Raises UserError with the first ten failures if more than the fraction `tolerance` of the samples is unreadable. The
    returned cache raises UserError with the sample's name if a sample becomes unreadable later.
    """
    progress = Progress(f"Reading the {what} images", len(samples))
    good: list[int] = []
    bad: list[str] = []
    with ThreadPoolExecutor(cpu_count()) as pool:
        for index, problem in enumerate(pool.map(lambda i: _problem(cache, i), range(len(samples)))):
            if problem is None:
                good.append(index)
            else:
                bad.append(f"{samples[index].name} {problem}")
                if len(bad) <= MAX_NAMED:
                    LOG.warning("%s is left out because it %s", samples[index].name, problem)
            progress.done(index + 1)
    if bad:
        LOG.warning("%d of %d %s images cannot be read (left out)", len(bad), len(samples), what)
    if not good or len(bad) > tolerance * len(samples):
        first = "; ".join(bad[:MAX_NAMED])
        raise UserError(
            f"{len(bad)} of {len(samples)} {what} images cannot be read, more than unreadable_tolerance={tolerance:g} "
            f"allows: repair or remove them, or raise unreadable_tolerance; the first: {first}"
        )
    chosen = [samples[index] for index in good]
    return chosen, cache.select(good, [f"{what} image {sample.name}" for sample in chosen])


def check_count(
    count: int, hp: CommonHyperparameters, followed: str = "num_training_samples", total: int | None = None
) -> None:
    """Check the number of readable training images against mini_batch_size and num_training_samples.

    If the channel is sharded, `count` is the number on this host and `total` the number on all hosts.

    Raises UserError if the images do not fill one batch. Logs a warning if num_training_samples is a different number;
    `followed` says which number the learning-rate schedule uses.
    """
    if count < hp.mini_batch_size:
        raise UserError(
            "The number of input images must be bigger or equal to the mini_batch_size: "
            f"{plural(count, 'readable training image')}, mini_batch_size={hp.mini_batch_size}; lower it"
        )
    total = count if total is None else total
    if hp.num_training_samples not in (None, total):
        LOG.warning(
            "num_training_samples=%d, but there are %s: the learning-rate schedule uses %s",
            hp.num_training_samples,
            plural(total, "readable training image"),
            followed,
        )


def warn_of_empty_classes(labels: NDArray[np.int64], classes: int, what: str) -> None:
    """Warn about classes, 0 to `classes` - 1, that no training label has. `what` is image, box or mask."""
    empty = np.flatnonzero(np.bincount(labels, minlength=classes) == 0).tolist()
    if empty:
        LOG.warning(
            "no training %s has the label %s: num_classes=%d may be too high",
            what,
            ", ".join(map(str, empty[:MAX_NAMED])),
            classes,
        )


def one_based_hint(value: float, classes: int) -> str:
    """Return a hint for the error about an invalid class: if it is one too high, labels may start at 1."""
    return f"; if yours are 1 to {classes}, subtract 1 from each" if value == classes else ""


def image_bytes(image: Image.Image) -> int:
    """Return the memory of a Pillow image in bytes: 4 per pixel, whatever its mode."""
    return 4 * image.width * image.height


def _problem(cache: SampleCache[T], index: int) -> str | None:
    stop.check()  # another host may have failed
    try:
        cache[index]
    except UnreadableImage as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Shard:
    """The part of each epoch that a host trains on: every sample whose position modulo `hosts` is its rank.

    An epoch has `batches` batches, or by default as many as it takes to see all samples once.
    """

    rank: int = 0
    hosts: int = 1
    batches: int | None = None

    def count(self, samples: int, size: int) -> int:
        """Return the number of batches in an epoch if each host takes `size` samples per batch."""
        return self.batches or -(-samples // (size * self.hosts))

    def indices(self, order: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """Return this host's part of an epoch's order, int64 (batches, size), padded with samples from the start."""
        batches = self.count(len(order), size)
        return np.resize(order, (batches, size, self.hosts))[..., self.rank % self.hosts]

    def seed(self, *seed: int) -> tuple[int, ...]:
        """Return a seed for this host's random numbers. The first host has the seed of a single-host job."""
        return (*seed, self.rank) if self.rank else seed


ALL = Shard()


class Batches(Generic[T]):
    """Makes batches ahead of the trainer, each in one thread; NumPy, Pillow and OpenCV release the GIL.

    `make(indices, rng)` returns one batch of `size`. Each epoch has all samples in a different order. The last batch is
    padded with samples from the start of the epoch, as in the built-in, so that all batches have the same shape.
    """

    def __init__(
        self,
        make: Callable[[NDArray[np.int64], np.random.Generator], T],
        count: int,
        size: int,
        seed: int,
        shard: Shard = ALL,
        prefetched: int | None = None,
    ) -> None:
        self._make, self._count, self._size, self._seed, self._shard = make, count, size, seed, shard
        self._threads = cpu_count()
        self._prefetched = prefetched or self._threads + 2

    def __len__(self) -> int:
        return self._shard.count(self._count, self._size)

    def epoch(self, number: int) -> Iterator[T]:
        """Yield the batches of one epoch. The same `seed` and `number` give the same batches."""
        order = np.random.default_rng((self._seed, number)).permutation(self._count)
        indices = self._shard.indices(order, self._size)
        yield from prefetch(
            lambda i: self._make(indices[i], np.random.default_rng(self._shard.seed(self._seed, number, i))),
            len(self),
            self._threads,
            self._prefetched,
        )


def ordered_batches(
    tensor: Callable[[int], NDArray[np.float32]], count: int, size: int
) -> Iterator[NDArray[np.float32]]:
    """Yield tensor(0) ... tensor(count - 1) in prefetched batches (size, ...). The last batch repeats the last tensor.

    All batches have the same shape, so that a network compiles only once. A `size` above `count` is reduced to `count`.
    """
    size = min(size, count)

    def make(number: int) -> NDArray[np.float32]:
        return np.stack([tensor(min(index, count - 1)) for index in range(number * size, (number + 1) * size)])

    yield from prefetch(make, -(-count // size), cpu_count(), 4)


def evenly_spaced(count: int, limit: int) -> NDArray[np.int64]:
    """Return at most `limit` evenly spaced indices from 0 to `count` - 1, both included; int64, ascending."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int))


def prefetch(make: Callable[[int], T], count: int, threads: int, depth: int) -> Iterator[T]:
    """Yield make(0) ... make(count - 1) in order, with up to `depth` of them pending in `threads` threads."""
    with ThreadPoolExecutor(threads, thread_name_prefix="input") as pool:
        pending = [pool.submit(make, i) for i in range(min(depth, count))]
        try:
            for number in range(count):
                value = pending.pop(0).result()
                if number + depth < count:
                    pending.append(pool.submit(make, number + depth))
                yield value
        finally:
            for future in pending:
                future.cancel()
