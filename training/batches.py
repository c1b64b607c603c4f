"""Who trains on which image: the same order for every configuration and any number of ranks."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from training.data import CIFAR_PADDING, Dataset

MicroBatch = tuple[torch.Tensor, torch.Tensor]  # inputs and labels


@dataclass(frozen=True)
class Layout:
    """How a global batch is shared out: ranks x emulated nodes x micro-batch."""

    rank: int
    ranks: int
    nodes: int
    micro_batch: int

    @property
    def parts(self) -> int:
        """The number of gradients that are summed; W in the documentation of APS."""
        return self.ranks * self.nodes

    @property
    def global_batch(self) -> int:
        return self.parts * self.micro_batch

    def steps_per_epoch(self, images: int) -> int:
        """Full global batches only: the images left over differ from epoch to epoch."""
        return images // self.global_batch


def epoch_batches(
    data: Dataset, layout: Layout, seed: int, epoch: int
) -> Iterator[list[MicroBatch]]:
    """For each step of an epoch, this rank's micro-batches, one for each emulated node."""
    generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
    order = torch.randperm(len(data.train_labels), generator=generator)
    for step in range(layout.steps_per_epoch(len(order))):
        chosen = order[step * layout.global_batch : (step + 1) * layout.global_batch]
        # Drawn for the whole global batch, so that it does not depend on the number of ranks.
        shifts = torch.randint(0, 2 * CIFAR_PADDING + 1, (len(chosen), 2), generator=generator)
        mirrored = torch.rand(len(chosen), generator=generator) < 0.5
        mine = torch.arange(len(chosen)).view(layout.ranks, layout.nodes, -1)[layout.rank]
        yield [
            (
                _inputs(data, chosen[part], shifts[part], mirrored[part]),
                data.train_labels[chosen[part]],
            )
            for part in mine
        ]


def joined(micro_batches: list[MicroBatch]) -> MicroBatch:
    """The same images as one larger batch."""
    inputs, labels = zip(*micro_batches, strict=True)
    return torch.cat(inputs), torch.cat(labels)


def _inputs(
    data: Dataset, indices: torch.Tensor, shifts: torch.Tensor, mirrored: torch.Tensor
) -> torch.Tensor:
    inputs = data.normalise(data.train_images[indices])
    return _augment(inputs, shifts, mirrored) if data.augmented else inputs


def _augment(inputs: torch.Tensor, shifts: torch.Tensor, mirrored: torch.Tensor) -> torch.Tensor:
    """Shifts each image by up to CIFAR_PADDING pixels (grey comes in) and mirrors every other."""
    height, width = inputs.shape[-2:]
    padded = torch.nn.functional.pad(inputs, [CIFAR_PADDING] * 4)
    images = [
        image[:, top : top + height, left : left + width]
        for image, (top, left) in zip(padded, shifts.tolist(), strict=True)
    ]
    moved = torch.stack(images)
    return torch.where(mirrored.view(-1, 1, 1, 1), moved.flip(-1), moved)
