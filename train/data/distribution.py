"""How SageMaker gives a channel to the hosts of a job: all of it to each, or to each a part of its own."""

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
    """Of the hosts `peers`, each has its own samples of a channel when it is `sharded`, and all of them when not."""

    peers: Peers = ALONE
    sharded: bool = False

    def shard(self, count: int, size: int) -> Shard:
        """Return which of this host's `count` training samples it takes, `size` in each batch; all hosts must ask.

        All take as many batches: where the hosts' samples differ in number, those with fewer repeat theirs.
        """
        if not self.sharded:
            return Shard(self.peers.rank, self.peers.count)
        return Shard(self.peers.rank, batches=max(self.peers.gather_json(-(-count // size))))

    def gather(self, own: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Return what all hosts' samples give, those of the first host first, the same on all hosts; all must call it.

        Where all have the same samples, that is what the first host has found.
        """
        found = self.peers.gather_arrays(own if self.sharded or self.peers.rank == 0 else [])
        return [each for part in (found if self.sharded else found[:1]) for each in part]

    def gather_rows(self, own: NDArray[Any]) -> NDArray[Any]:
        """Return one array of what all hosts' samples give, one row for each."""
        return np.concatenate(self.gather([own]))

    def total(self, count: int) -> int:
        """Return how many samples all hosts have of which this one has `count`; all must call it."""
        return sum(self.peers.gather_json(count)) if self.sharded else count


def detect(peers: Peers, channel: Channel, samples: Sequence[Sample[object]]) -> Distribution:
    """Return how the hosts have the samples of a channel; all must call it.

    Raises UserError where they differ though the channel is not ShardedByS3Key.
    """
    names = "\n".join(f"{each.name} {each.offset} {each.length}" for each in samples)
    own = zlib.crc32(names.encode("utf-8", "surrogateescape"))
    found = peers.gather_json([own, channel.sharded])
    if all(checksum == own for checksum, _ in found):
        return Distribution(peers)
    if not all(sharded for _, sharded in found):
        raise UserError(
            f"the hosts have different images in {channel}, this one {len(samples)}: every host must see all of them, "
            "with the distribution FullyReplicated, or the channel's distribution must be ShardedByS3Key"
        )
    LOG.info("%s is sharded: this host has %s of it", channel, plural(len(samples), "image"))
    return Distribution(peers, sharded=True)


def require_files(channels: Mapping[str, Channel], hosts: int) -> None:
    """Raise UserError for a sharded channel of which this one of several hosts has nothing."""
    for channel in channels.values():
        if hosts > 1 and channel.sharded and not channel.files():
            raise UserError(
                f"{channel} is ShardedByS3Key and has no file for this host: it must hold at least {hosts} files, one "
                "for each host, or its distribution must be FullyReplicated"
            )
