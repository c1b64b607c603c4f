"""Ways in which people train: compiled, with workers that load data, in sub-groups."""

import itertools

import harness
import numpy as np
import torch
import torch.distributed as dist
from ddp import BATCH, STEPS, blobs, flat, network, share, trained, wrapped
from harness import check
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

import cpdcomm
from cpdcomm import ddp


@check
def fp32_gives_the_bits_of_gloo(ranks):
    """Two parts have one sum, whoever adds them; of more the order differs."""
    ours = wrapped(ranks.group)
    trained(ranks, ours)
    theirs = wrapped(dist.new_group(backend="gloo"))
    trained(ranks, theirs)
    ranks.agree([flat(ours)])
    if ranks.size == 2:
        assert np.array_equal(flat(ours), flat(theirs))
    else:
        assert np.abs(flat(ours) - flat(theirs)).max() < 1e-6 * np.abs(flat(theirs)).max()


@check
def compiled_models(ranks):
    for options in ({}, {"wire": "e4m3"}):
        group = harness.new_group(algorithm="direct", **options)
        plain, compiled = wrapped(group), wrapped(group)
        trained(ranks, plain)
        trained(ranks, torch.compile(compiled, backend="aot_eager"))
        ranks.agree([flat(compiled)])
        assert np.abs(flat(plain) - flat(compiled)).max() < 1e-3


def compiled(function):
    """The function under torch.compile, and how many operators each of its graphs has."""
    sizes = []

    def backend(graph, _):
        sizes.append(sum(node.op.startswith("call") for node in graph.graph.nodes))
        return graph.forward

    torch._dynamo.reset()
    return torch.compile(function, backend=backend), sizes


@check
def collectives_between_graphs(ranks):
    """A graph ends at a call that sums, and what follows it is in another one."""
    group, feedback = ranks.group, cpdcomm.ErrorFeedback()

    def in_place(x):
        y = x * 2
        report = cpdcomm.all_reduce([y], "e4m3", group=group)
        return y + report.logical_bytes

    def with_residuals(x):
        y = x * 2
        cpdcomm.all_reduce(y, "e4m3", group=group, error_feedback=feedback, keys=[len(x)])
        return y + 1

    def in_halves(x):
        y = torch.zeros(len(x) // ranks.size)
        cpdcomm.reduce_scatter(y, x * 2, "e4m3", group=group)
        return y + 1

    def meanwhile(x):
        y = x * 2
        pending = cpdcomm.all_reduce(y, "e4m3", group=group, async_op=True)
        z = x + 1
        pending.wait()
        return y + z

    def counted(x):
        return x * 2 + (cpdcomm.stats(group).calls > 0)

    for function in (in_place, with_residuals, in_halves, meanwhile, counted):
        between_graphs, sizes = compiled(function)
        for count in (1, 2):
            x = torch.ones(count * ranks.size)
            assert torch.equal(between_graphs(x), function(x)), function.__name__
        assert len(sizes) >= 2 and min(sizes) >= 1, (function.__name__, sizes)


@check
def emulated_nodes_between_graphs(ranks):
    parameter = torch.nn.Parameter(torch.ones(3))

    def step(x):
        emulator = cpdcomm.NodeEmulator([parameter], 2, wire="e4m3", group=ranks.group)
        for factor in (1.0, 2.0):
            (parameter * x * factor).sum().backward()
            emulator.add()
        emulator.reduce()
        return parameter.grad * 2

    assert compiled(step)[0](torch.ones(3)).tolist() == [6.0 * ranks.size] * 3


@check
def whole_steps_that_are_compiled(ranks):
    """With backward in the compiled function the hooks run inside of it, too."""
    for hook in (ddp.allreduce_hook, ddp.portable_hook):
        found = []
        for wrap in (lambda step: step, lambda step: compiled(step)[0]):
            model = wrapped(ranks.group)
            model.register_comm_hook(ddp.HookState(model, "e4m3"), hook)

            def step(model, x, y):
                cross_entropy(model(x), y).backward()

            trained(ranks, model, wrap(step))
            ranks.agree([flat(model)])
            found.append(flat(model))
        assert np.abs(found[0] - found[1]).max() < 1e-3, hook.__name__


@check
def hooks_of_torchs_own(ranks):
    """Those that start operations in callbacks of others, too."""
    state = powerSGD_hook.PowerSGDState(ranks.group, start_powerSGD_iter=2)
    hooks = [
        (ranks.group, default_hooks.allreduce_hook),
        (ranks.group, default_hooks.fp16_compress_hook),
        (state, powerSGD_hook.powerSGD_hook),
    ]
    for kept, hook in hooks:
        model = wrapped(ranks.group)
        model.register_comm_hook(kept, hook)
        losses = trained(ranks, model)
        ranks.agree([flat(model)])
        # PowerSGD of rank 1 sees little of a gradient.
        part = 0.9 if hook is powerSGD_hook.powerSGD_hook else 0.6
        assert sum(losses[-3:]) < 3 * part * losses[0], f"{hook.__name__}: {losses}"


@check
def workers_that_are_forked(ranks):
    """A worker is a copy of a process with a group: neither it nor its end touches the group."""
    inputs, labels = blobs()
    rows = slice(ranks.rank * 48, ranks.rank * 48 + 48)
    data = TensorDataset(inputs[rows], labels[rows])
    model = wrapped(ranks.group)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        loader = DataLoader(data, batch_size=8, num_workers=2, multiprocessing_context="fork")
        for x, y in loader:
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    ranks.agree([flat(model)])
    ranks.still_sums()


@check
def both_halves_at_the_same_time(ranks):
    """Two models, each in half of the ranks, with formats of their own."""
    members = [[r for r in range(ranks.size) if r % 2 == odd] for odd in (0, 1)]
    options = [cpdcomm.Options(wire="e5m2"), cpdcomm.Options(wire="bfp8")]
    groups = [
        dist.new_group(some, backend="cpd", pg_options=asked)
        for some, asked in zip(members, options, strict=True)
    ]
    own = ranks.rank % 2
    model = wrapped(groups[own], network())
    inputs, labels = blobs()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for i in range(STEPS):
        rows = slice(i * BATCH, (i + 1) * BATCH)
        optimizer.zero_grad()
        cross_entropy(model(share(ranks, inputs[rows])), share(ranks, labels[rows])).backward()
        optimizer.step()
    found = ranks.everybody(flat(model).tobytes())
    for a, b in itertools.combinations(range(ranks.size), 2):
        assert (found[a] == found[b]) == (a % 2 == b % 2), (a, b)


@check
def accumulated_gradients(ranks):
    """no_sync over three micro-batches sends as much as one batch."""
    inputs, labels = blobs()
    group = harness.new_group(wire="e4m3")
    model = wrapped(group)
    parts = torch.arange(BATCH).view(3, -1)
    for i, rows in enumerate(parts):
        x, y = share(ranks, inputs[rows]), share(ranks, labels[rows])
        if i < 2:
            with model.no_sync():
                cross_entropy(model(x), y).backward()
        else:
            cross_entropy(model(x), y).backward()
    stats = cpdcomm.stats(group).by_operation["all_reduce"]
    assert stats.calls == stats.compressed == 1, stats
    ranks.agree([torch.cat([p.grad.reshape(-1) for p in model.parameters()]).numpy()])


if __name__ == "__main__":
    harness.main()
