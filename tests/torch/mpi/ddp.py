"""DistributedDataParallel over backend cpd."""

import harness
import numpy as np
import torch
import torch.distributed as dist
from expected import Call, all_reduce
from harness import check
from patterns import same_bits
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

import cpdcomm

STEPS = 12
BATCH = 24  # of all ranks together: a multiple of 2, 3 and 4


def blobs():
    """Ten classes that a small network learns in a few steps."""
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((10, 64))
    labels = rng.integers(0, 10, STEPS * BATCH)
    inputs = centres[labels] + 0.3 * rng.standard_normal((STEPS * BATCH, 64))
    return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(labels)


def network(width=64):
    torch.manual_seed(11)
    return torch.nn.Sequential(
        torch.nn.Linear(64, width), torch.nn.ReLU(), torch.nn.Linear(width, width), torch.nn.ReLU(),
        torch.nn.Linear(width, 10),
    )  # fmt: skip


def share(ranks, batch):
    """This rank's rows of a batch, every world-size-th."""
    return batch[ranks.rank :: ranks.size]


def trained(ranks, model, step=None):
    """The loss of every step; `step(forward, i)` may do the backward pass its own way."""
    inputs, labels = blobs()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for i in range(STEPS):
        rows = slice(i * BATCH, (i + 1) * BATCH)
        x, y = share(ranks, inputs[rows]), share(ranks, labels[rows])
        optimizer.zero_grad()
        if step:
            step(model, x, y)
        else:
            loss = cross_entropy(model(x), y)
            loss.backward()
            losses.append(loss.item())
        optimizer.step()
    return losses


def flat(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()]).numpy()


def wrapped(group, model=None, **arguments):
    return DistributedDataParallel(model or network(), process_group=group, **arguments)


@check
def fp32_is_as_good_as_gloo(ranks):
    ours = wrapped(ranks.group)
    trained(ranks, ours)
    ranks.agree([flat(ours)])
    theirs = wrapped(dist.new_group(backend="gloo"))
    trained(ranks, theirs)
    assert np.abs(flat(ours) - flat(theirs)).max() < 1e-6


@check
def fp32_is_as_good_as_one_process(ranks):
    ours = wrapped(ranks.group)
    trained(ranks, ours)
    alone = network()
    inputs, labels = blobs()
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1, momentum=0.9)
    for i in range(STEPS):
        rows = slice(i * BATCH, (i + 1) * BATCH)
        optimizer.zero_grad()
        cross_entropy(alone(inputs[rows]), labels[rows]).backward()
        optimizer.step()
    assert np.abs(flat(ours) - flat(alone)).max() < 1e-6


@check
def e4m3_trains_on_a_quarter_of_the_bytes(ranks):
    sent = {}
    for wire in ("fp32", "e4m3"):
        group = harness.new_group(wire=wire)
        model = wrapped(group, network(256))
        losses = trained(ranks, model)
        ranks.agree([flat(model)])
        assert np.isfinite(losses).all()
        assert np.mean(losses[-3:]) < 0.5 * losses[0], f"{wire}: {losses}"
        sent[wire] = cpdcomm.stats(group)
    assert sent["e4m3"].logical_bytes == sent["fp32"].logical_bytes
    assert sent["e4m3"].calls == sent["fp32"].calls >= STEPS
    assert 0.245 < sent["e4m3"].wire_bytes / sent["fp32"].wire_bytes < 0.27


@check
def stochastic_rounding_trains(ranks):
    """And torch.manual_seed, which `network` calls, makes it repeatable."""
    results = []
    for rounding in ("stochastic", "stochastic", "nearest_even"):
        model = wrapped(harness.new_group(wire="e4m3", rounding=rounding))
        losses = trained(ranks, model)
        ranks.agree([flat(model)])
        assert np.mean(losses[-3:]) < 0.5 * losses[0], f"{rounding}: {losses}"
        results.append(flat(model))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


@check
def bucket_views_change_nothing(ranks):
    results = []
    for views in (False, True):
        for megabytes in (25, 0.01):  # one bucket, or many
            model = wrapped(ranks.group, gradient_as_bucket_view=views, bucket_cap_mb=megabytes)
            trained(ranks, model)
            results.append(flat(model))
    for result in results[1:]:
        assert np.array_equal(result, results[0])


@check
def no_sync_adds_up_on_the_rank(ranks):
    """Two micro-batches, one all-reduce."""

    def step(model, x, y):
        with model.no_sync():
            (cross_entropy(model(x[::2]), y[::2]) / 2).backward()
        (cross_entropy(model(x[1::2]), y[1::2]) / 2).backward()

    if (BATCH // ranks.size) % 2:
        return
    group = harness.new_group()
    halves, whole = wrapped(group), wrapped(ranks.group)
    before = cpdcomm.stats(group).calls
    trained(ranks, halves, step)
    trained(ranks, whole)
    ranks.agree([flat(halves)])
    assert np.abs(flat(halves) - flat(whole)).max() < 1e-6
    assert cpdcomm.stats(group).calls - before == STEPS


@check
def unused_parameters(ranks):
    """DDP asks with integers which parameters took part: exact, whatever the wire."""

    class Branches(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(2)
            self.branches = torch.nn.ModuleList(torch.nn.Linear(5, 3) for _ in range(3))

        def forward(self, x, branch):
            return self.branches[branch](x)

    group = harness.new_group(wire="e4m3", min_bytes=0)
    model = wrapped(group, Branches(), find_unused_parameters=True)
    for branch in range(2):
        model.zero_grad()
        model(torch.ones(2, 5), branch if ranks.rank == 0 else 0).sum().backward()
        touched = [0, branch]
        for i, linear in enumerate(model.module.branches):
            grads = [p.grad for p in linear.parameters()]
            assert all((g is not None and g.any()) == (i in touched) for g in grads), i
    ranks.agree([p.grad.numpy() for p in model.parameters() if p.grad is not None])


@check
def parameters_and_buffers_of_rank_0_win(ranks):
    torch.manual_seed(ranks.rank)
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)
    )
    model[1].running_mean.fill_(ranks.rank)
    model = wrapped(harness.new_group(wire="e3m0", min_bytes=0), model)
    ranks.agree([t.numpy() for t in model.state_dict().values()])
    assert (model.module[1].running_mean == 0).all()
    for _ in range(3):
        model(torch.randn(8, 6)).sum().backward()
    model(torch.randn(8, 6))
    state = ranks.everybody(int(model.module[1].num_batches_tracked))
    assert state == [4] * ranks.size


@check
def communication_hooks(ranks):
    for hook, limit in [
        (default_hooks.allreduce_hook, 1e-6),
        (default_hooks.fp16_compress_hook, 0.02),
    ]:
        plain, hooked = wrapped(ranks.group), wrapped(ranks.group)
        hooked.register_comm_hook(ranks.group, hook)
        trained(ranks, plain)
        trained(ranks, hooked)
        ranks.agree([flat(hooked)])
        assert np.abs(flat(plain) - flat(hooked)).max() < limit, hook


@check
def a_hook_that_scales_each_parameter(ranks):
    """A bucket is a flat buffer with boundaries: the bits are those of separate tensors."""

    def hook(group, bucket):
        ends = np.cumsum([g.numel() for g in bucket.gradients()]).tolist()
        cpdcomm.all_reduce(bucket.buffer(), "e4m3", op="avg", boundaries=ends, group=group)
        done = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    x = torch.randn(8, 64, generator=torch.Generator().manual_seed(ranks.rank))
    model, alone = wrapped(ranks.group), network()
    model.register_comm_hook(ranks.group, hook)
    model(x).square().mean().backward()
    alone(x).square().mean().backward()
    parts = ranks.everybody([p.grad.numpy() for p in alone.parameters()])
    want = all_reduce([[part] for part in parts], Call("e4m3", "aps", op="avg"))
    for p, w in zip(model.parameters(), want, strict=True):
        same_bits(p.grad.numpy(), w)


@check
def two_models_in_one_group(ranks):
    group = harness.new_group(wire="e4m3")
    a, b = wrapped(group), wrapped(group, network(32))
    for i in range(3):
        x = torch.randn(4, 64, generator=torch.Generator().manual_seed(10 * i + ranks.rank))
        (a(x).square().mean() + b(x).square().mean()).backward()
    ranks.agree([p.grad.numpy() for model in (a, b) for p in model.parameters()])


@check
def half_precision_models(ranks):
    for dtype in (torch.bfloat16, torch.float16):
        model = wrapped(harness.new_group(wire="e4m3"), network().to(dtype))
        x = torch.randn(4, 64, generator=torch.Generator().manual_seed(ranks.rank)).to(dtype)
        model(x).float().square().mean().backward()
        grads = [p.grad for p in model.parameters()]
        assert all(g.dtype == dtype and torch.isfinite(g).all() for g in grads)
        ranks.agree([g.view(torch.int16).numpy() for g in grads])


@check
def workers_that_load_data(ranks):
    """Forked while the group is up; their end is not the group's."""
    inputs, labels = blobs()
    data = torch.utils.data.TensorDataset(share(ranks, inputs), share(ranks, labels))
    model = wrapped(ranks.group)
    for _ in range(2):
        for x, y in torch.utils.data.DataLoader(data, batch_size=24, num_workers=1):
            cross_entropy(model(x), y).backward()
    ranks.agree([p.grad.numpy() for p in model.parameters()])


if __name__ == "__main__":
    harness.main()
