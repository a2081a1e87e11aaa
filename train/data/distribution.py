"""How SageMaker distributes a channel across the hosts of a job: each host gets all of it, or a different part."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serve.words import plural
from train.data.channels import Channel
from train.data.samples import Sample, Shard
from train.errors import UserError
from train.job.peers import ALONE, Peers
from train.log import LOG


@dataclass(frozen=True)
class Distribution:
    """How a channel is distributed across the hosts `peers`: if `sharded`, each has different samples."""

    peers: Peers = ALONE
    sharded: bool = False

    def shard(self, count: int, size: int) -> Shard:
        """Return which of its `count` training samples this host uses, `size` at a time. All hosts must call it.

        All hosts get the same number of batches, so hosts with fewer samples repeat some of theirs.
        """
        if not self.sharded:
            return Shard(self.peers.rank, self.peers.count)
        return Shard(self.peers.rank, batches=max(self.peers.gather_json(-(-count // size))))

    def gather(self, own: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return the arrays of all hosts in order of rank; every host gets the same list. All hosts must call it.

        If all hosts have the same samples, return only the first host's arrays.
        """
        by_host = self.peers.gather_arrays(own if self.sharded or self.peers.rank == 0 else [])
        return [array for arrays in (by_host if self.sharded else by_host[:1]) for array in arrays]

    def gather_rows(self, own: NDArray[Any]) -> NDArray[Any]:
        """Return one array with the rows of all hosts' arrays, one row per sample. All hosts must call it."""
        return np.concatenate(self.gather([own]))

    def total(self, count: int) -> int:
        """Return the number of samples on all hosts; this host has `count`. All hosts must call it."""
        return sum(self.peers.gather_json(count)) if self.sharded else count


def detect(peers: Peers, channel: Channel, samples: Sequence[Sample[object]]) -> Distribution:
    """Return how a channel is distributed across the hosts. All hosts must call it.

    Raises UserError if hosts have different samples although the channel is not ShardedByS3Key.
    """
    names = "\n".join(f"{sample.name} {sample.offset} {sample.length}" for sample in samples)
    own = zlib.crc32(names.encode("utf-8", "surrogateescape"))
    by_host = peers.gather_json([own, channel.sharded])
    if all(checksum == own for checksum, _ in by_host):
        return Distribution(peers)
    if not all(sharded for _, sharded in by_host):
        raise UserError(
            f"{channel} has different images on different hosts ({len(samples)} on this one): set its distribution to "
            "FullyReplicated, so that every host gets all of them, or to ShardedByS3Key"
        )
    LOG.info("%s is sharded: this host has %s", channel, plural(len(samples), "image"))
    return Distribution(peers, sharded=True)


def require_files(channels: Mapping[str, Channel], hosts: int) -> None:
    """Raise UserError if a sharded channel has no file for this host; `hosts` is the number of hosts."""
    for channel in channels.values():
        if hosts > 1 and channel.sharded and not channel.files():
            raise UserError(
                f"{channel} is ShardedByS3Key and has no file for this host: it needs at least {hosts} files, one "
                "per host, or the distribution FullyReplicated"
            )
