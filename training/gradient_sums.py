"""The ways to a summed gradient: emulated nodes, one gradient per rank, or plain DDP."""

from typing import Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import cpdcomm
from training.batches import Layout, MicroBatch, joined
from training.configurations import Configuration
from training.probe import GradientProbe
from training.traffic import Traffic

# Named, because `automatic` may decline to compress; `direct` is also the one whose rounded and
# kahan sums are those of the CPD paper, part by part in rank order.
ALGORITHM = "direct"


class GradientSum(Protocol):
    """Fills the .grad of a model with the gradient of the global batch's mean loss."""

    traffic: Traffic

    def backward(
        self, micro_batches: list[MicroBatch], probe: GradientProbe | None = None
    ) -> torch.Tensor:
        """Runs the model on this rank's micro-batches, sums over the ranks; the mean loss here."""

    def close(self) -> None:
        """Releases what the sum holds of the process group; called on every rank."""


class EmulatedNodes:
    """Each micro-batch stands for a node of its own: ranks x nodes gradients are summed."""

    def __init__(self, model: nn.Module, configuration: Configuration, layout: Layout) -> None:
        self.layout = layout
        self.traffic = Traffic()
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.ddp = DistributedDataParallel(model)  # makes the parameters equal on all ranks
        self.emulator = cpdcomm.NodeEmulator(
            model,
            layout.nodes,
            wire=configuration.wire,
            scaling=configuration.scaling,
            accumulate=configuration.accumulate,
            algorithm=ALGORITHM,
        )

    def backward(
        self, micro_batches: list[MicroBatch], probe: GradientProbe | None = None
    ) -> torch.Tensor:
        total = torch.zeros(())
        for inputs, labels in micro_batches:
            with self.ddp.no_sync():  # DDP leaves the gradients alone: the emulator sums them
                # Each of the W = ranks x nodes parts is divided by W before the sum, not after it:
                # data-parallel frameworks do so to keep the sum from overflowing. It makes the
                # parts, which are what is cast, W times smaller, and this is why they underflow.
                loss = cross_entropy(self.ddp(inputs), labels) / self.layout.parts
                loss.backward()
            total += loss.detach()
            if probe is not None:
                probe.see_part(self.parameters)
            self.emulator.add()
        self.traffic.add_report(self.emulator.reduce())
        if probe is not None:
            probe.see_sum(self.parameters)
        return total * self.layout.ranks

    def close(self) -> None:
        pass


class OnePerRank:
    """One batch a rank; its gradients are summed by one call, with error feedback if asked for."""

    def __init__(self, model: nn.Module, configuration: Configuration, layout: Layout) -> None:
        self.configuration = configuration
        self.layout = layout
        self.traffic = Traffic()
        self.names, self.parameters = zip(*model.named_parameters(), strict=True)
        self.ddp = DistributedDataParallel(model)  # makes the parameters equal on all ranks
        self.memory = {}
        if configuration.error_feedback:
            self.memory = {"error_feedback": cpdcomm.ErrorFeedback(), "keys": self.names}

    def backward(
        self, micro_batches: list[MicroBatch], probe: GradientProbe | None = None
    ) -> torch.Tensor:
        inputs, labels = joined(micro_batches)
        with self.ddp.no_sync():
            loss = cross_entropy(self.ddp(inputs), labels) / self.layout.ranks
            loss.backward()
        if probe is not None:
            probe.see_part(self.parameters)
        report = cpdcomm.all_reduce(
            [p.grad for p in self.parameters],
            wire=self.configuration.wire,
            scaling=self.configuration.scaling,
            accumulate=self.configuration.accumulate,
            algorithm=ALGORITHM,
            **self.memory,
        )
        self.traffic.add_report(report)
        if probe is not None:
            probe.see_sum(self.parameters)
        return loss.detach() * self.layout.ranks

    def close(self) -> None:
        pass


class PlainDDP:
    """One batch a rank; DDP sums while backward runs, through a group with its own options."""

    def __init__(self, model: nn.Module, configuration: Configuration) -> None:
        options = None
        if configuration.wire != "fp32":
            options = cpdcomm.Options(
                wire=configuration.wire,
                scaling=configuration.scaling,
                accumulate=configuration.accumulate,
                algorithm=ALGORITHM,
            )
        self.group = dist.new_group(backend="cpd", pg_options=options)
        self.ddp = DistributedDataParallel(model, process_group=self.group)
        self.traffic = Traffic(cpdcomm.stats(self.group))

    def backward(
        self, micro_batches: list[MicroBatch], probe: GradientProbe | None = None
    ) -> torch.Tensor:
        inputs, labels = joined(micro_batches)
        loss = cross_entropy(self.ddp(inputs), labels)  # DDP divides by the number of ranks
        loss.backward()
        self.traffic.add_totals(cpdcomm.stats(self.group))
        return loss.detach()

    def close(self) -> None:
        del self.ddp
        dist.destroy_process_group(self.group)


def make(model: nn.Module, configuration: Configuration, layout: Layout) -> GradientSum:
    """The way that the configuration asks for."""
    if configuration.emulated:
        return EmulatedNodes(model, configuration, layout)
    if configuration.way == "ranks":
        return OnePerRank(model, configuration, layout)
    return PlainDDP(model, configuration)
