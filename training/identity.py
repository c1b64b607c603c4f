"""Are the parameters the same on every rank, bit for bit?"""

import hashlib
from collections.abc import Iterable

import torch
import torch.distributed as dist


class RanksDiffer(Exception):
    """The ranks ended with different parameters: their sums were not the same bits."""


def digest(parameters: Iterable[torch.Tensor]) -> bytes:
    """SHA-256 over the parameters' bytes."""
    sha = hashlib.sha256()
    for parameter in parameters:
        sha.update(parameter.detach().contiguous().view(torch.uint8).numpy().tobytes())
    return sha.digest()


def gather(mine: bytes) -> list[bytes]:
    """The digests of all ranks, in rank order."""
    sent = torch.frombuffer(bytearray(mine), dtype=torch.uint8)
    received = [torch.empty_like(sent) for _ in range(dist.get_world_size())]
    dist.all_gather(received, sent)
    return [bytes(digest.tolist()) for digest in received]


def require_same(digests: list[bytes]) -> str:
    """The digest that all ranks have, as hexadecimal text; raises RanksDiffer."""
    odd = [rank for rank, value in enumerate(digests) if value != digests[0]]
    if odd:
        raise RanksDiffer(f"the parameters of ranks {odd} are not those of rank 0")
    return digests[0].hex()
