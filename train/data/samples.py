"""Samples: where each one's bytes lie, which of them can be read, and what of them fits in memory.

All data is read and decoded once before training begins, in the first minute of a job rather than in its first
hour: what cannot be read is counted, named and left out there, and what was decoded is kept as far as memory allows.
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
NAMED = 10


@dataclass(frozen=True)
class Sample(Generic[L_co]):
    """One image with its label, None where that is kept elsewhere. What only reads images takes a `Sample[object]`.

    `offset` and `length` give its record in a .rec file.
    """

    name: str
    label: L_co
    path: Path
    offset: int = 0
    length: int = 0

    def read(self) -> bytes:
        """Return the encoded image. Raises UnreadableImage when the file is not there or cannot be read."""
        try:
            if self.length:
                return recordio.unpack_image(recordio.read(self.path, self.offset, self.length)).image
            return self.path.read_bytes()
        except FileNotFoundError:
            raise UnreadableImage("does not exist") from None
        except (OSError, ValueError) as error:  # a RecordIOError, or what a NUL in the path raises
            raise UnreadableImage(f"cannot be read: {error}") from None

    def labelled(self, label: L) -> "Sample[L]":
        """Return the same image with another label."""
        return Sample(self.name, label, self.path, self.offset, self.length)


def records(path: Path, refuse: Refuse = raise_error) -> Iterator[Sample[NDArray[np.float32]]]:
    """Yield the image records of a .rec file in order; a label is the record's own float32 vector, unchecked.

    Where the file is damaged, `refuse` gets a UserError naming it and the byte at which it is no longer RecordIO, or
    the record; what follows there is not read.
    """
    try:
        for number, (offset, length) in enumerate(recordio.scan(path)):
            labels = _labels(path, number, offset, length)
            yield Sample(f"{path.name}, record {number}", labels, path, offset, length)
    except recordio.RecordIOError as error:
        refuse(
            UserError(
                f"{error}. The channel must hold MXNet image records, as im2rec or `python3 -m local prepare "
                "--format recordio` makes them"
            )
        )


def _labels(path: Path, number: int, offset: int, length: int) -> NDArray[np.float32]:
    record = recordio.read(path, offset, length)
    try:
        return recordio.unpack_image(record).labels
    except recordio.RecordIOError as error:
        raise recordio.RecordIOError(f"{path}, record {number} at byte {offset}: {error}") from None


class DataIssues:
    """What was noticed in many files: one line for each kind of it, with the first ten by name."""

    def __init__(self) -> None:
        self.found: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Note that `name` is of a kind, in the plural, e.g. "images without a label, left out"."""
        self.found.setdefault(kind, []).append(name)

    def log(self) -> None:
        """Log all kinds in the order in which they were first met."""
        for kind, names in self.found.items():
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            LOG.warning("%s: %d (%s%s)", kind, len(names), ", ".join(names[:NAMED]), more)


class SampleCache(Generic[T]):
    """Keeps what `make(i)` returned for the first calls that fit into `budget` bytes; makes the rest again each time.

    `size(value)` is in bytes. Safe to call from several threads.
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
        """Return a SampleCache of these indices alone, numbered from 0, with what is kept of them already.

        With `names`, one for each, what can be made no more raises UserError that begins with its name.
        """

        def make(index: int) -> T:
            try:
                return self._make(indices[index])
            except UnreadableImage as error:
                if names is None:
                    raise
                raise UserError(
                    f"{names[index]} {error}, though it could be read when the job began: the channel must stay as it "
                    "is until the job ends"
                ) from None

        chosen = SampleCache(make, self._size, self._left)
        chosen._kept = {new: self._kept[old] for new, old in enumerate(indices) if old in self._kept}
        return chosen


def memory_budget() -> int:
    """Return the bytes that may be spent on keeping photos: a quarter of what this container may use."""
    return memory_bytes() // 4


def select_readable(
    what: str, samples: Sequence[Sample[L]], cache: SampleCache[T], tolerance: float
) -> tuple[list[Sample[L]], SampleCache[T]]:
    """Make every sample once and return those that could be made, with a cache of only them.

    The cache raises UserError, naming the sample, if one cannot be made again later. This function raises UserError,
    naming the first ten that could not be made, if more than the fraction `tolerance` of them is unreadable.
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
                if len(bad) <= NAMED:
                    LOG.warning("%s: not a readable image file, left out: it %s", samples[index].name, problem)
            progress.done(index + 1)
    if bad:
        LOG.warning("%d of %d %s images cannot be read: left out", len(bad), len(samples), what)
    if not good or len(bad) > tolerance * len(samples):
        named = "; ".join(bad[:NAMED])
        raise UserError(
            f"{len(bad)} of {len(samples)} {what} images cannot be read, more than unreadable_tolerance={tolerance:g} "
            f"allows: repair or remove them, or raise unreadable_tolerance; the first: {named}"
        )
    chosen = [samples[index] for index in good]
    return chosen, cache.select(good, [f"{what} image {sample.name}" for sample in chosen])


def check_count(count: int, hp: CommonHyperparameters, followed: str = "former", total: int | None = None) -> None:
    """Compare the number of readable training images with the hyperparameters that speak of it.

    Where each of several hosts has images of its own, `count` are those of this one and `total` of all.

    Raises UserError when they do not fill one batch; warns when num_training_samples is another number: the schedule
    follows what was given, the "former", or what is there, the "latter".
    """
    if count < hp.mini_batch_size:
        raise UserError(
            "The number of input images must be bigger or equal to the mini_batch_size: "
            f"{plural(count, 'readable training image')}, mini_batch_size={hp.mini_batch_size}; lower it"
        )
    total = count if total is None else total
    if hp.num_training_samples not in (None, total):
        LOG.warning(
            "num_training_samples=%d, but there are %s: the learning-rate schedule follows the %s",
            *(hp.num_training_samples, plural(total, "readable training image"), followed),
        )


def warn_of_empty_classes(labels: NDArray[np.int64], classes: int, what: str) -> None:
    """Warn of classes, 0 to `classes` - 1, that are not among the int labels (n,) of training; `what` has a label."""
    empty = np.flatnonzero(np.bincount(labels, minlength=classes) == 0).tolist()
    if empty:
        LOG.warning(
            "no training %s has the label %s: num_classes=%d may be too high",
            what,
            ", ".join(map(str, empty[:NAMED])),
            classes,
        )


def one_based_hint(value: float, classes: int) -> str:
    """Return what to add to the refusal of a class: where it is one too high, all may have been numbered from 1."""
    return f"; if yours are 1 to {classes}, subtract 1 from each" if value == classes else ""


def image_bytes(image: Image.Image) -> int:
    """Return what a Pillow image takes in memory, in bytes: 4 a pixel, whatever its mode."""
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
    """Which samples a host takes of each epoch's order: of every `of` the one at its rank.

    An epoch has `batches`, or as many as it takes to see all samples once.
    """

    rank: int = 0
    of: int = 1
    batches: int | None = None

    def count(self, samples: int, size: int) -> int:
        """Return the batches of an epoch, when `of` hosts together take `size` from each."""
        return self.batches or -(-samples // (size * self.of))

    def indices(self, order: NDArray[np.int64], size: int) -> NDArray[np.int64]:
        """Return this host's part of an epoch's order, int64 (batches, size), filled up from its start."""
        batches = self.count(len(order), size)
        return np.resize(order, (batches, size, self.of))[..., self.rank % self.of]

    def seed(self, *seed: int) -> tuple[int, ...]:
        """Return a seed for random numbers of this host's own; the first one's are those of one host alone."""
        return (*seed, self.rank) if self.rank else seed


ALL = Shard()


class Batches(Generic[T]):
    """Makes batches ahead of the trainer, each whole in one thread; NumPy, Pillow and OpenCV release the GIL.

    `make(indices, rng)` returns one batch of `size`. Every epoch is a new order of all samples; the last batch is
    filled up from the epoch's beginning, as the built-in does, so that all have the same shape.
    """

    def __init__(
        self,
        make: Callable[[NDArray[np.int64], np.random.Generator], T],
        count: int,
        size: int,
        seed: int,
        share: Shard = ALL,
        prefetched: int | None = None,
    ) -> None:
        self._make, self._count, self._size, self._seed, self._share = make, count, size, seed, share
        self._threads = cpu_count()
        self._prefetched = prefetched or self._threads + 2

    def __len__(self) -> int:
        return self._share.count(self._count, self._size)

    def epoch(self, number: int) -> Iterator[T]:
        """Yield the batches of one epoch; the same `seed` and `number` give the same ones."""
        order = np.random.default_rng((self._seed, number)).permutation(self._count)
        indices = self._share.indices(order, self._size)
        yield from prefetch(
            lambda i: self._make(indices[i], np.random.default_rng(self._share.seed(self._seed, number, i))),
            len(self),
            self._threads,
            self._prefetched,
        )


def ordered_batches(
    tensor: Callable[[int], NDArray[np.float32]], count: int, size: int
) -> Iterator[NDArray[np.float32]]:
    """Yield batches (size, ...) of tensor(0) ... tensor(count - 1), made ahead, the last one filled up with its last.

    All have one shape, so that a network compiles once. With fewer than `size` in all, a batch is as many.
    """
    size = min(size, count)

    def make(number: int) -> NDArray[np.float32]:
        return np.stack([tensor(min(index, count - 1)) for index in range(number * size, (number + 1) * size)])

    yield from prefetch(make, -(-count // size), cpu_count(), 4)


def evenly_spaced(count: int, limit: int) -> NDArray[np.int64]:
    """Return at most `limit` of the indices 0 to `count` - 1, evenly spread, both ends among them; int64, rising."""
    return np.unique(np.linspace(0, count - 1, min(count, limit)).astype(int))


def prefetch(make: Callable[[int], T], count: int, threads: int, depth: int) -> Iterator[T]:
    """Yield make(0) ... make(count - 1) in order, up to `depth` of them under way in `threads` threads."""
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
