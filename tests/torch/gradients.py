"""Gradients of a real model on real data: what the sums are for."""

import functools

import numpy as np
import torch

PARTS = 32  # micro-batches: at most 4 ranks of 8 nodes
BATCH = 16
STEPS = 40  # of training before, so that small gradients are among them


def _model():
    torch.manual_seed(7)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 6, 3),
        torch.nn.ReLU(),
        torch.nn.Conv2d(6, 9, 3),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(144, 21),
        torch.nn.Tanh(),
        torch.nn.Linear(21, 10),
    )


def _digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    images = torch.from_numpy(digits.images[order]).to(torch.float32) / 16
    return images.unsqueeze(1), torch.from_numpy(digits.target[order])


@functools.cache
def of_digits():
    """Per part a list of FP32 arrays, one for each parameter of a small convolutional network."""
    model = _model()
    images, labels = _digits()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    parts = []
    for step in range(STEPS + PARTS):
        batch = slice(step * BATCH, (step + 1) * BATCH)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images[batch]), labels[batch]).backward()
        if step < STEPS:
            optimizer.step()
        else:
            parts.append([p.grad.numpy().copy() for p in model.parameters()])
    return parts


def save(path):
    """Writes them where `load` finds them."""
    parts = of_digits()
    np.savez(path, **{f"{i}/{t}": g for i, part in enumerate(parts) for t, g in enumerate(part)})


def load(path):
    """The same as of_digits(), without the training."""
    with np.load(path) as arrays:
        count = 1 + max(int(name.split("/")[1]) for name in arrays)
        return [[arrays[f"{i}/{t}"] for t in range(count)] for i in range(PARTS)]
