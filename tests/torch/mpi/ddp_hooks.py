"""The communication hooks of cpdcomm.ddp, on DistributedDataParallel."""

import copy

import harness
import numpy as np
import torch
import torch.distributed as dist
from ddp import BATCH, STEPS, blobs, flat, network, share, trained, wrapped
from harness import check
from torch.nn.functional import cross_entropy

import cpdcomm
from cpdcomm import ddp


def hooked(ranks, hook=ddp.allreduce_hook, model=None, group=None, buckets=25, **options):
    """A network whose buckets go through a hook, and the hook's state."""
    group = group or ranks.group
    model = wrapped(group, model or network(), bucket_cap_mb=buckets)
    state = ddp.HookState(model, group=group, **options)
    model.register_comm_hook(state, hook)
    return model, state


@check
def fp32_gives_the_bits_of_no_hook(ranks):
    plain = wrapped(harness.new_group(algorithm="direct"))
    trained(ranks, plain)
    model, _ = hooked(ranks, wire="fp32", algorithm="direct")
    trained(ranks, model)
    # Without a hook torch divides first, which is exact by powers of two alone.
    if ranks.size & (ranks.size - 1) == 0:
        assert np.array_equal(flat(plain), flat(model))
    assert np.allclose(flat(plain), flat(model), rtol=1e-5, atol=1e-7)


@check
def low_precision_trains(ranks):
    for options in ({"wire": "e4m3"}, {"wire": "int4", "error_feedback": True}):
        model, state = hooked(ranks, **options)
        losses = trained(ranks, model)
        ranks.agree([flat(model)])
        assert state.steps == STEPS
        assert losses[-1] < 0.5 * losses[0], f"{options}: {losses}"


@check
def every_bucket_size_gives_the_same_bits(ranks):
    found = []
    for megabytes in (1e-3, 1, 25, 1000):
        model, _ = hooked(ranks, buckets=megabytes, wire="e3m0", algorithm="direct")
        trained(ranks, model)
        found.append(flat(model))
    for other in found[1:]:
        assert np.array_equal(found[0], other)


@check
def exempt_parameters_stay_exact(ranks):
    model, _ = hooked(ranks, wire="e3m0", exempt=ddp.is_one_dimensional, algorithm="direct")
    exact, _ = hooked(ranks, wire="fp32", algorithm="direct")
    inputs, labels = blobs()
    x, y = share(ranks, inputs[:BATCH]), share(ranks, labels[:BATCH])
    for each in (model, exact):
        cross_entropy(each(x), y).backward()
    for (name, low), full in zip(model.named_parameters(), exact.parameters(), strict=True):
        same = torch.equal(low.grad, full.grad)
        assert same == (low.dim() == 1), name


@check
def warm_up_steps_are_exact(ranks):
    model, state = hooked(ranks, wire="e3m0", warmup_steps=STEPS, algorithm="direct")
    trained(ranks, model)
    assert not state.warming_up
    exact, _ = hooked(ranks, wire="fp32", algorithm="direct")
    trained(ranks, exact)
    assert np.array_equal(flat(model), flat(exact))


@check
def warm_up_steps_are_exact_inside_a_host(ranks):
    """Where the group would send fewer bits there, too."""
    group = harness.new_group(wire="e4m3", algorithm="hierarchical", inner="e4m3")
    model, _ = hooked(ranks, wire="e4m3", group=group, warmup_steps=STEPS)
    trained(ranks, model)
    exact, _ = hooked(ranks, wire="fp32", algorithm="direct")
    trained(ranks, exact)
    assert np.abs(flat(model) - flat(exact)).max() < 1e-5 * np.abs(flat(exact)).max()


@check
def a_state_goes_on_from_a_checkpoint(ranks):
    """Half of the steps, a checkpoint of all, and the other half: the bits of all at once."""
    options = {"wire": "int4", "error_feedback": True, "warmup_steps": 2, "algorithm": "direct"}
    inputs, labels = blobs()

    def steps(model, some):
        for i in some:
            rows = slice(i * BATCH, (i + 1) * BATCH)
            model.zero_grad()
            cross_entropy(model(share(ranks, inputs[rows])), share(ranks, labels[rows])).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.1 * parameter.grad

    whole, _ = hooked(ranks, **options)
    steps(whole, range(STEPS))
    first, state = hooked(ranks, **options)
    steps(first, range(STEPS // 2))
    kept = copy.deepcopy(state.state_dict())
    assert kept["steps"] == STEPS // 2 and kept["error_feedback"]["residuals"]
    second, again = hooked(ranks, model=copy.deepcopy(first.module), **options)
    again.load_state_dict(kept)
    steps(second, range(STEPS // 2, STEPS))
    assert np.array_equal(flat(whole), flat(second))


@check
def gradients_are_accumulated(ranks):
    """With no_sync the hook sees the sum of both halves of a batch."""
    inputs, labels = blobs()
    x, y = share(ranks, inputs[:BATCH]), share(ranks, labels[:BATCH])
    half = len(x) // 2
    model, state = hooked(ranks, wire="fp32", algorithm="direct")
    with model.no_sync():
        cross_entropy(model(x[:half]), y[:half], reduction="sum").backward()
    cross_entropy(model(x[half:]), y[half:], reduction="sum").backward()
    assert state.steps == 1
    whole, _ = hooked(ranks, wire="fp32", algorithm="direct")
    cross_entropy(whole(x), y, reduction="sum").backward()
    for a, b in zip(model.parameters(), whole.parameters(), strict=True):
        assert torch.allclose(a.grad, b.grad, rtol=1e-5, atol=1e-7)


@check
def delayed_exponents_are_kept(ranks):
    model, state = hooked(ranks, wire="e4m3", scaling="delayed")
    losses = trained(ranks, model)
    ranks.agree([flat(model)])
    assert losses[-1] < 0.5 * losses[0], losses
    names = {name for name, _ in model.module.named_parameters()}
    assert set(state.scale_memory.keys()) == names


@check
def the_portable_hook_gives_the_same_bits_over_gloo(ranks):
    gloo = dist.new_group(backend="gloo")
    exempt = {"exempt": ddp.is_one_dimensional, "warmup_steps": 3}
    for wire, options in [
        ("e4m3", {}),
        ("e5m2", {}),
        ("e3m0", {}),
        ("e4m3fn", {}),
        ("e4m3", exempt),
    ]:
        ours, _ = hooked(ranks, wire=wire, algorithm="direct", **options)
        trained(ranks, ours)
        theirs, _ = hooked(ranks, ddp.portable_hook, group=gloo, wire=wire, **options)
        trained(ranks, theirs)
        assert np.array_equal(flat(ours), flat(theirs)), (wire, options)


@check
def the_portable_hook_refuses_what_it_cannot_do(ranks):
    for options in ({"wire": "int4"}, {"wire": "e4m3", "error_feedback": True},
                    {"wire": "e4m3", "accumulate": "kahan"}):  # fmt: skip
        model, _ = hooked(ranks, ddp.portable_hook, **options)
        inputs, labels = blobs()
        try:
            cross_entropy(model(inputs[:4]), labels[:4]).backward()
        except Exception as error:
            assert "portable hook" in str(error), error
        else:
            raise AssertionError(options)


@check
def a_mistake_in_a_hook_reaches_everybody(ranks):
    """One rank asks for another format."""
    wire = "e5m2" if ranks.rank == 1 else "e4m3"
    model, _ = hooked(ranks, wire=wire)
    inputs, labels = blobs()
    error = raised_in_backward(model, inputs[:4], labels[:4])
    assert "MismatchError" in error and "allreduce" in error, error


@check
def one_ranks_own_mistake(ranks):
    """It is not left alone with it."""

    def exempt(name, parameter):
        if ranks.rank == 1:
            raise KeyError("never heard of it")
        return False

    model, _ = hooked(ranks, wire="e4m3", exempt=exempt)
    inputs, labels = blobs()
    error = raised_in_backward(model, inputs[:4], labels[:4])
    assert "never heard of it" in error, error
    assert ("MismatchError" in error) == (ranks.rank != 1), error


class Mixed(torch.nn.Module):
    """A layer of each kind of number, and so a bucket of each."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.wave = torch.nn.Linear(5, 7, dtype=torch.complex64)
        self.plain = torch.nn.Linear(7, 6)
        self.fine = torch.nn.Linear(6, 4, dtype=torch.float64)

    def forward(self, x):
        return self.fine(self.plain(self.wave(x).abs()).double())


def mixed_input(ranks, step=0):
    generator = torch.Generator().manual_seed(10 * step + ranks.rank)
    return torch.randn(3, 5, dtype=torch.complex64, generator=generator)


def means(ranks, model, x):
    """The ranks' gradients of a model without a hook, averaged by hand."""
    alone = copy.deepcopy(model)
    alone.zero_grad()
    alone(x).square().sum().backward()
    parts = ranks.everybody([p.grad for p in alone.parameters()])
    return [sum(part) / ranks.size for part in zip(*parts, strict=True)]


def both_hooks(ranks, *more_for_ours):
    """Hooks, groups and options, each with how far a float32 gradient may be off."""
    gloo = dist.new_group(backend="gloo")
    asked = [
        ({"wire": "fp32"}, 1e-6),
        ({"wire": "e5m7"}, 2e-2),
        ({"wire": "e3m0", "warmup_steps": 2}, 1e-6),
        ({"wire": "e3m0", "exempt": lambda name, parameter: True}, 1e-6),
    ]
    ours = [(ddp.allreduce_hook, ranks.group, *each) for each in (*asked, *more_for_ours)]
    return ours + [(ddp.portable_hook, gloo, *each) for each in asked]


@check
def every_kind_of_number_is_averaged(ranks):
    """torch gives complex gradients as real ones, and only the first half of them."""
    kept = [
        ({"wire": "e5m7", "error_feedback": True}, 2e-2),
        ({"wire": "e5m7", "scaling": "delayed"}, 2e-2),
    ]
    for hook, group, options, tolerance in both_hooks(ranks, *kept):
        model, _ = hooked(ranks, hook, Mixed(), group, **options)
        for step in range(2):
            x = mixed_input(ranks, step)
            wanted = means(ranks, model.module, x)
            model.zero_grad()
            model(x).square().sum().backward()
            for (name, p), mean in zip(model.module.named_parameters(), wanted, strict=True):
                allowed = 1e-12 if p.dtype == torch.float64 else tolerance
                error = (p.grad - mean).abs().max() / mean.abs().max()
                assert error <= allowed, (hook.__name__, options, step, name, error)
            ranks.agree([torch.view_as_real(p.grad).numpy() if p.is_complex() else p.grad.numpy()
                         for p in model.parameters()])  # fmt: skip


@check
def float64_travels_as_it_is_beside_others(ranks):
    group = harness.new_group()
    model, state = hooked(ranks, model=Mixed(), group=group, wire="e4m3", error_feedback=True)
    model(mixed_input(ranks)).square().sum().backward()
    found = cpdcomm.stats(group).by_operation["all_reduce"]
    assert (found.calls, found.compressed) == (3, 2), found
    kept = {key: len(state.error_feedback[key]) for key in state.error_feedback.keys()}
    assert kept == {"wave.weight": 70, "wave.bias": 14, "plain.weight": 42, "plain.bias": 6}


class Bucket:
    """One that torch did not make: of one parameter, which may have less than the buffer."""

    def __init__(self, parameter, buffer):
        self._parameter = parameter
        self._buffer = buffer

    def buffer(self):
        return self._buffer

    def gradients(self):
        return [self._buffer[: self._parameter.numel()]]

    def parameters(self):
        return [self._parameter]

    def is_last(self):
        return True


@check
def what_the_gradients_do_not_cover_is_refused(ranks):
    model = torch.nn.Linear(3, 1, bias=False)
    state = ddp.HookState(model, wire="e4m3", group=ranks.group)
    for hook in (ddp.allreduce_hook, ddp.portable_hook):
        try:
            hook(state, Bucket(model.weight, torch.ones(5)))
        except cpdcomm.UnsupportedError as error:
            assert "3 of the 5 values" in str(error), error
        else:
            raise AssertionError(f"{hook.__name__} left two values as they were")
    assert state.steps == 0


@check
def one_dtype_or_another_on_a_rank(ranks):
    """Sums in float64 and compressed ones of as many values are told apart."""
    model = torch.nn.Linear(3, 1, bias=False)
    dtype = torch.float64 if ranks.rank == 1 else torch.float32
    bucket = Bucket(model.weight, torch.ones(3, dtype=dtype))
    try:
        ddp.allreduce_hook(ddp.HookState(model, "e4m3", group=ranks.group), bucket).wait()
    except Exception as error:
        assert "ismatch" in f"{type(error).__name__}: {error}", error
    else:
        raise AssertionError("different types were summed")


@check
def torchs_default_device_is_not_asked(ranks):
    model = torch.nn.Linear(3, 1, bias=False)
    ours = {"wire": "int4", "error_feedback": True}
    for hook, options in ((ddp.allreduce_hook, ours), (ddp.portable_hook, {"wire": "e4m3"})):
        found = []
        for device in ("cpu", "meta"):
            state = ddp.HookState(model, group=ranks.group, **options)
            bucket = Bucket(model.weight, torch.tensor([1.0, 0.3, -7e-3]) * (1 + ranks.rank))
            with torch.device(device):
                hook(state, bucket).wait()
            found.append(bucket.buffer())
        assert torch.equal(*found), (options, found)


@check
def sparse_gradients_are_refused(ranks):
    for hook, group in ((ddp.allreduce_hook, ranks.group), (ddp.portable_hook, ranks.group)):
        for warmup_steps in (0, 5):
            bare = torch.nn.Embedding(10, 4, sparse=True)
            options = {"wire": "e4m3", "warmup_steps": warmup_steps}
            model, _ = hooked(ranks, hook, bare, group, **options)
            error = raised_in_backward(model, torch.arange(4))
            assert "sparse" in error, error


@check
def the_group_is_that_of_the_model(ranks):
    group = harness.new_group()
    model = wrapped(group)
    state = ddp.HookState(model, "e4m3")
    model.register_comm_hook(state, ddp.allreduce_hook)
    trained(ranks, model)
    assert cpdcomm.stats(group).by_operation["all_reduce"].compressed == STEPS


@check
def the_groups_format_and_scaling_hold(ranks):
    group = harness.new_group(wire="e4m3", scaling="none", algorithm="direct")
    named, _ = hooked(ranks, wire="e4m3", scaling="none", algorithm="direct")
    model, _ = hooked(ranks, group=group)
    trained(ranks, named)
    trained(ranks, model)
    assert np.array_equal(flat(named), flat(model))


def raised_in_backward(model, *batch):
    """What backward raises: of an operation torch makes a RuntimeError with its text."""
    try:
        found = model(batch[0])
        loss = cross_entropy(found, batch[1]) if len(batch) > 1 else found.sum()
        loss.backward()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    raise AssertionError("nobody noticed")


@check
def parameters_of_another_model(ranks):
    model = wrapped(ranks.group)
    model.register_comm_hook(ddp.HookState(network(), group=ranks.group), ddp.allreduce_hook)
    inputs, labels = blobs()
    try:
        cross_entropy(model(inputs[:4]), labels[:4]).backward()
    except Exception as error:
        assert "HookState does not have" in str(error), error
    else:
        raise AssertionError("a stranger's parameters were taken")


@check
def wrong_states_are_refused(ranks):
    for options, text in (
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"wire": "e9m9"}, "e9m9"),
        ({"scaling": "apps"}, "apps"),
        ({"wire": "e9m9", "scaling": "delayed"}, "e9m9"),
        ({"scaling": "delayed", "error_feedback": True}, "delayed"),
        ({"wire": "sign", "accumulate": "majority"}, "vote"),
    ):
        try:
            ddp.HookState(network(), **options)
        except ValueError as error:
            assert text in str(error), error
        else:
            raise AssertionError(options)
    state = ddp.HookState(network(), wire="e4m3")
    kept = ddp.HookState(network(), wire="e4m3", error_feedback=True).state_dict()
    negative = state.state_dict() | {"steps": -1}
    for wrong in (kept, {}, None, negative):
        try:
            state.load_state_dict(wrong)
        except ValueError:
            continue
        raise AssertionError(wrong)
    fed = ddp.HookState(network(), wire="int4", error_feedback=True)
    stranger = fed.state_dict() | {"error_feedback": {"residuals": {"_orig_mod.0": torch.ones(1)}}}
    try:
        fed.load_state_dict(stranger)
    except ValueError as error:
        assert "_orig_mod.0" in str(error), error
    else:
        raise AssertionError("a stranger's residuals were taken")


if __name__ == "__main__":
    harness.main()
