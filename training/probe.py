"""Looks at the gradients of a few steps: how many does the cast lose, how wrong is the sum?"""

import re

import torch
import torch.distributed as dist

import cpdcomm
from training.configurations import Configuration


class GradientProbe:
    """Measures sampled steps of one run; all ranks take part in the same steps."""

    def __init__(self, configuration: Configuration, parts: int, every: int) -> None:
        self.configuration = configuration
        self.parts = parts  # W: how many gradients are summed over all ranks
        self.every = every
        self.step_parts: list[list[torch.Tensor]] = []  # of this rank's nodes, in this step
        self.non_zero = 0
        self.rounded_to_zero = 0
        self.squared_error = 0.0
        self.squared_norm = 0.0

    def takes(self, step: int) -> bool:
        """Is this step one of the sample?"""
        return step % self.every == 0

    def see_part(self, parameters: list[torch.Tensor]) -> None:
        """One node's gradients, before the emulator takes them."""
        self.step_parts.append([p.grad.detach().clone() for p in parameters])

    def see_sum(self, parameters: list[torch.Tensor]) -> None:
        """The summed gradients; closes the step."""
        tensors = [torch.stack(nodes) for nodes in zip(*self.step_parts, strict=True)]
        self.step_parts = []
        if self._casts_what_it_sees():
            self._count_zeros(tensors)
        if not self.configuration.votes:
            self._compare_sum([t.sum(dim=0) for t in tensors], [p.grad for p in parameters])

    def summary(self) -> dict[str, float | None]:
        """Shares between 0 and 1 over all sampled steps; None where nothing was sampled."""
        return {
            "rounded_to_zero": self.rounded_to_zero / self.non_zero if self.non_zero else None,
            "gradient_error": (
                (self.squared_error / self.squared_norm) ** 0.5 if self.squared_norm else None
            ),
        }

    def _casts_what_it_sees(self) -> bool:
        """Not aps:N, which has many exponents, nor where a residual is added before the cast."""
        configuration = self.configuration
        return configuration.scaling in ("none", "aps") and not configuration.error_feedback

    def _count_zeros(self, tensors: list[torch.Tensor]) -> None:
        """How many values that are not zero become zero in the cast, over all ranks."""
        non_zero = zeros = 0
        for values, shift in zip(tensors, self._shifts(tensors), strict=True):
            scaled = torch.ldexp(values.double(), torch.tensor(shift)).float()
            cast = cpdcomm.quantize(scaled, self.configuration.wire)
            non_zero += int((values != 0).sum())
            zeros += int(((values != 0) & (cast == 0)).sum())
        counts = torch.tensor([non_zero, zeros])
        dist.all_reduce(counts)
        self.non_zero += int(counts[0])
        self.rounded_to_zero += int(counts[1])

    def _shifts(self, tensors: list[torch.Tensor]) -> list[int]:
        """The power of two that APS scales each tensor by before the cast."""
        if not self.configuration.uses_aps:
            return [0] * len(tensors)
        largest = torch.stack([t.abs().max() for t in tensors])
        dist.all_reduce(largest, op=dist.ReduceOp.MAX)
        top = largest_exponent(self.configuration.wire)
        return [top - shared_exponent(value, self.parts) for value in largest.tolist()]

    def _compare_sum(self, exact: list[torch.Tensor], got: list[torch.Tensor]) -> None:
        """The distance of the sum from an FP32 sum of the same gradients, all parameters."""
        cpdcomm.all_reduce(exact, wire="fp32")
        for reference, result in zip(exact, got, strict=True):
            self.squared_error += float((result.double() - reference.double()).square().sum())
            self.squared_norm += float(reference.double().square().sum())


def shared_exponent(largest: float, parts: int) -> int:
    """APS's E = ceil(log2(largest * parts)), exactly; 0 for a zero tensor, where nothing is cast.

    `parts` gradients of at most this magnitude sum to at most 2^E.
    """
    if largest == 0 or not torch.isfinite(torch.tensor(largest)):
        return 0
    mantissa, exponent = torch.frexp(torch.tensor(largest, dtype=torch.float64) * parts)
    return int(exponent) - (1 if float(mantissa) == 0.5 else 0)


def largest_exponent(wire: str) -> int:
    """The exponent of the largest finite value of eXmY (3 for e3m0, 7 for e4m3), OCP's fn too."""
    aliases = {"bf16": "e8m7", "fp16": "e5m10"}
    match = re.fullmatch(r"e(\d)m\d+(fn)?", aliases.get(wire, wire))
    if match is None:
        raise ValueError(f"APS does not apply to wire format '{wire}'")
    bias = 2 ** (int(match[1]) - 1) - 1
    return bias + 1 if match[2] else bias
