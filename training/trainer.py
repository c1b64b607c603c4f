"""One training run: one configuration, one seed."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from training import gradient_sums, identity, model
from training.batches import Layout, epoch_batches
from training.configurations import Configuration
from training.data import Dataset
from training.probe import GradientProbe
from training.recipe import Recipe, learning_rate

EVALUATION_BATCH = 250

Record = dict[str, Any]


class Trainer:
    """Trains a fresh model; every rank calls the same methods in the same order."""

    def __init__(
        self,
        configuration: Configuration,
        seed: int,
        recipe: Recipe,
        layout: Layout,
        data: Dataset,
    ) -> None:
        self.configuration = configuration
        self.seed = seed
        self.recipe = recipe.for_votes() if configuration.votes else recipe
        self.layout = layout
        self.data = data
        _, channels, side, _ = data.train_images.shape
        self.model = model.build(channels, side, len(data.class_names), seed)
        self.sum = gradient_sums.make(self.model, configuration, layout)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=self.recipe.lr,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
        )
        self.steps_per_epoch = layout.steps_per_epoch(len(data.train_labels))
        self.total_steps = recipe.total_steps(self.steps_per_epoch)
        self.step = 0
        parts = layout.parts if configuration.emulated else layout.ranks
        self.probe = GradientProbe(configuration, parts, recipe.probe_every)

    def run(self, on_step: Callable[[int], None], on_epoch: Callable[[Record], None]) -> Record:
        """Trains to the end; raises RanksDiffer if the ranks did not stay the same."""
        record: Record = {}
        epoch = 0
        while self.step < self.total_steps:
            record = self._epoch(epoch, on_step)
            on_epoch(record)
            epoch += 1
        digests = identity.gather(identity.digest(self.model.parameters()))
        self.sum.close()
        return record | {"parameters_sha256": identity.require_same(digests)}

    def _epoch(self, epoch: int, on_step: Callable[[int], None]) -> Record:
        began = time.perf_counter()
        losses = []
        for micro_batches in epoch_batches(self.data, self.layout, self.seed, epoch):
            if self.step == self.total_steps:
                break
            losses.append(self._train_step(micro_batches))
            on_step(epoch)
        trained = time.perf_counter() - began
        train_loss = self._mean_over_ranks(torch.stack(losses).mean())
        test_loss, test_accuracy = self._evaluate()
        return {
            "configuration": self.configuration.name,
            "seed": self.seed,
            "epoch": epoch + 1,
            "step": self.step,
            "lr": self.optimizer.param_groups[0]["lr"],
            "train_loss": train_loss,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
            "train_seconds": trained,
            "seconds": time.perf_counter() - began,
            **self.sum.traffic.summary(self.layout.ranks),
            **self.probe.summary(),
        }

    def _train_step(self, micro_batches: list) -> torch.Tensor:
        """One update of the parameters; the mean loss of this rank's images."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step, self.total_steps)
        self.optimizer.zero_grad()
        probe = self.probe if self.probe.takes(self.step) else None
        loss = self.sum.backward(micro_batches, probe)
        self.optimizer.step()
        self.step += 1
        return loss

    def _mean_over_ranks(self, value: torch.Tensor) -> float:
        value = value.reshape(1).clone()
        dist.all_reduce(value)
        return float(value) / self.layout.ranks

    @torch.no_grad()
    def _evaluate(self) -> tuple[float, float]:
        """Loss and accuracy on the test images, of which each rank takes its share."""
        images = self.data.test_images[self.layout.rank :: self.layout.ranks]
        labels = self.data.test_labels[self.layout.rank :: self.layout.ranks]
        loss, correct = _score(self.model, self.data, images, labels)
        dist.all_reduce(loss)
        dist.all_reduce(correct)
        count = len(self.data.test_labels)
        return float(loss) / count, int(correct) / count


def _score(
    network: nn.Module, data: Dataset, images: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The summed loss and the number of right answers."""
    loss = torch.zeros(1)
    correct = torch.zeros(1, dtype=torch.int64)
    for some, answers in zip(
        images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True
    ):
        outputs = network(data.normalise(some))
        loss += cross_entropy(outputs, answers, reduction="sum")
        correct += (outputs.argmax(dim=1) == answers).sum()
    return loss, correct
