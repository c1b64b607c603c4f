"""Everything that decides how a model is trained, except how its gradients are summed."""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Recipe:
    """The same for every configuration of a comparison."""

    epochs: int
    nodes: int  # emulated on each rank
    micro_batch: int  # images of one emulated node in one step
    lr: float  # the highest, after the warm-up
    vote_lr: float  # the same where the update is a sign
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_share: float = 0.1  # of all steps
    max_steps: int | None = None  # ends a run early; the schedule knows
    probe_every: int = 10  # steps between two looks at the gradients

    def total_steps(self, steps_per_epoch: int) -> int:
        steps = self.epochs * steps_per_epoch
        return steps if self.max_steps is None else min(steps, self.max_steps)

    def for_votes(self) -> "Recipe":
        """signSGD as in its paper (Bernstein et al., ICLR 2019): no momentum on the vote."""
        return replace(self, lr=self.vote_lr, momentum=0.0)


# Chosen so that FP32 trains well; nothing was tuned for a wire format. A sign moves every parameter
# by the learning rate itself, whatever the gradient: hence one of its own.
DIGITS = Recipe(epochs=20, nodes=8, micro_batch=4, lr=0.05, vote_lr=0.003)
CIFAR = Recipe(epochs=10, nodes=8, micro_batch=8, lr=0.02, vote_lr=0.001)


def learning_rate(recipe: Recipe, step: int, total_steps: int) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warmup = max(1, round(recipe.warmup_share * total_steps))
    if step < warmup:
        return recipe.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))
