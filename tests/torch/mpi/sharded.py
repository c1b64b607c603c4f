"""FSDP2 and HSDP over backend cpd, with the entry points of cpdcomm.fsdp."""

import copy

import harness
import torch
import torch.distributed as dist
from harness import check
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.functional import mse_loss

import cpdcomm
from cpdcomm import fsdp

STEPS = 6


def network():
    """Rows that the ranks do not divide, and gradients of very different sizes."""
    torch.manual_seed(5)
    model = torch.nn.Sequential(
        torch.nn.Linear(13, 17), torch.nn.Tanh(), torch.nn.Linear(17, 10, bias=False)
    )
    with torch.no_grad():
        model[2].weight *= 1e-3
    return model


def sharded(mesh, **policy):
    model = network()
    for layer in (model[0], model[2]):
        fully_shard(layer, mesh=mesh, **policy)
    return fully_shard(model, mesh=mesh, **policy)


def batch(rank, step):
    generator = torch.Generator().manual_seed(100 * step + rank)
    return torch.randn(8, 13, generator=generator), torch.randn(8, 10, generator=generator)


def trained(ranks, model):
    """The loss on all ranks' first batch, before and after."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        x, y = batch(ranks.rank, step)
        loss = mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def whole(model):
    """All parameters, collected."""
    return [parameter.full_tensor().detach().clone() for parameter in model.parameters()]


def alone(ranks):
    """What one process gets that averages all ranks' gradients itself."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for step in range(STEPS):
        optimizer.zero_grad()
        sum(
            mse_loss(model(x), y) for x, y in (batch(rank, step) for rank in range(ranks.size))
        ).div(ranks.size).backward()
        optimizer.step()
    return [parameter.detach() for parameter in model.parameters()]


def close(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        error = (a - b).norm() / b.norm()
        assert error <= tolerance, error


def mesh_of(ranks):
    return init_device_mesh("cpu", (ranks.size,))


@check
def fp32_is_as_good_as_one_process(ranks):
    model = sharded(mesh_of(ranks))
    trained(ranks, model)
    close(whole(model), alone(ranks), 1e-5)


class Waves(torch.nn.Module):
    """Complex parameters, and a loss that is real."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.layer = torch.nn.Linear(13, 10, dtype=torch.complex64)

    def forward(self, x):
        return self.layer(x.to(torch.complex64)).abs()


@check
def complex_parameters(ranks):
    """They are reduced as they are, also where floats would be compressed."""
    wanted = Waves()
    sum(
        mse_loss(wanted(x), y) for x, y in (batch(rank, 0) for rank in range(ranks.size))
    ).div(ranks.size).backward()  # fmt: skip
    for options in ({}, {"wire": "e3m0", "min_bytes": 0, "collectives": ["reduce_scatter"]}):
        model = fully_shard(Waves(), mesh=mesh_of(ranks))
        x, y = batch(ranks.rank, 0)
        with cpdcomm.options(**options):
            mse_loss(model(x), y).backward()
        for low, exact in zip(model.parameters(), wanted.parameters(), strict=True):
            assert torch.allclose(low.grad.full_tensor(), exact.grad, rtol=1e-4, atol=1e-6)


@check
def the_state_of_a_small_model_is_exact(ranks):
    """Its parts are collected by torch's own all-gather."""
    model = sharded(mesh_of(ranks))
    with cpdcomm.options(wire="e4m3", algorithm="direct", collectives="all_reduce,all_gather"):
        found = whole(model)
    for a, b in zip(found, network().parameters(), strict=True):
        assert torch.equal(a, b.detach())


@check
def the_wire_format_is_taken(ranks):
    mesh = mesh_of(ranks)
    before = cpdcomm.stats(mesh.get_group()).by_operation["reduce_scatter"].calls if (
        "reduce_scatter" in cpdcomm.stats(mesh.get_group()).by_operation) else 0  # fmt: skip
    model = sharded(mesh)
    fsdp.compress(model, wire="e5m7")
    trained(ranks, model)
    close(whole(model), alone(ranks), 2e-2)
    found = cpdcomm.stats(mesh.get_group()).by_operation["reduce_scatter"]
    assert found.calls - before == found.compressed == 2 * STEPS, found


@check
def gradients_in_half_precision(ranks):
    """FSDP reduces in another type than it computes in."""
    for dtype in (torch.bfloat16, torch.float16):
        policy = MixedPrecisionPolicy(reduce_dtype=dtype)
        model = sharded(mesh_of(ranks), mp_policy=policy)
        fsdp.compress(model, wire="e5m7")
        trained(ranks, model)
        close(whole(model), alone(ranks), 3e-2)


class Adapted(torch.nn.Module):
    """Sums of layers that matter more and less, as adapters beside frozen weights do."""

    FACTORS = {"first": 1.0, "small": 1e-4, "frozen": 1.0, "unused": 1.0, "last": 1e-6}

    def __init__(self, dtype):
        super().__init__()
        torch.manual_seed(1)
        for name in self.FACTORS:
            self.register_module(name, torch.nn.Linear(13, 10, dtype=dtype))
        self.frozen.requires_grad_(False)

    def forward(self, x):
        return sum(self.FACTORS[name] * layer(x) for name, layer in self.used())

    def used(self):
        return [(name, layer) for name, layer in self.named_children() if name != "unused"]


def gradients_of(ranks, mesh, prepare, dtype=torch.float32):
    """By name, collected, after one step."""
    model = fully_shard(Adapted(dtype), mesh=mesh)
    prepare(model)
    generator = torch.Generator().manual_seed(ranks.rank)
    model(torch.randn(4, 13, dtype=dtype, generator=generator)).abs().sum().backward()
    touched = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    found = {name: gradient.full_tensor() for name, gradient in touched.items()}
    assert {name.split(".")[0] for name in found} == {"first", "small", "last"}
    return found


def each_keeps_its_own(low, exact, casts):
    """A cast to e4m3 is off by a sixteenth at most; with one exponent for all it is a third."""
    for name, wanted in exact.items():
        error = (low[name] - wanted).norm() / wanted.norm()
        assert error < casts / 16, (name, error)
        lost = (low[name] == 0) & (wanted != 0)
        assert lost.float().mean() < 0.05, name


@check
def each_parameter_has_its_exponent(ranks):
    """Beside frozen and unused ones, too: with one for a layer e4m3 would lose the small ones."""
    mesh = mesh_of(ranks)
    for dtype in (torch.float32, torch.complex64):
        low, exact = (
            gradients_of(ranks, mesh, lambda model, w=wire: fsdp.compress(model, w), dtype)
            for wire in ("e4m3", "fp32")
        )
        each_keeps_its_own(low, exact, casts=1)


def replicated_mesh(ranks):
    """Two replicas, of two shards or one."""
    names = ("replicate", "shard")
    return init_device_mesh("cpu", (2, ranks.size // 2), mesh_dim_names=names)


@check
def each_parameter_has_its_exponent_between_replicas(ranks):
    """Of HSDP by the group's options, and of replicas that torch does not know; alone, too."""
    mesh = replicated_mesh(ranks)
    replicas = mesh.get_group("replicate")

    feedback = cpdcomm.ErrorFeedback()

    def by_compress(model):
        fsdp.compress(model, "e4m3", replicas=replicas)

    def by_hook(model):
        hook = fsdp.all_reduce_hook(replicas, "e4m3", error_feedback=feedback)
        fsdp.compress(model, "fp32")  # of gradients that are complex torch scatters none
        model.set_all_reduce_hook(hook)

    for dtype in (torch.float32, torch.complex64):
        exact = gradients_of(ranks, mesh, fsdp.compress, dtype)
        before = cpdcomm.stats(replicas).by_operation["all_reduce"].compressed
        with cpdcomm.options(wire="e4m3", min_bytes=0):
            low = gradients_of(ranks, mesh, fsdp.compress, dtype)
        assert cpdcomm.stats(replicas).by_operation["all_reduce"].compressed == before + 1
        each_keeps_its_own(low, exact, casts=3)
        for prepare in (by_compress, by_hook):
            low = gradients_of(ranks, mesh["shard"], prepare, dtype)
            each_keeps_its_own(low, exact, casts=3)
        assert set(feedback.keys()) == set(exact)
        feedback.reset()


@check
def float64_is_summed_as_it_is(ranks):
    mesh = replicated_mesh(ranks)

    def low(model):
        fsdp.compress(model, "e4m3", replicas=mesh.get_group("replicate"))

    exact = gradients_of(ranks, mesh, lambda model: None, torch.float64)
    found = gradients_of(ranks, mesh["shard"], low, torch.float64)
    for name, wanted in exact.items():
        assert torch.allclose(found[name], wanted, rtol=1e-12), name


@check
def a_buffer_that_fsdp_has_not_laid_out(ranks):
    """Of what is not known the exponents are for 512 values."""
    model = fully_shard(Adapted(torch.float32), mesh=mesh_of(ranks))
    sizes = torch.logspace(0, -12, 4).repeat_interleave(512)
    values = sizes.repeat(ranks.size)
    share = torch.empty(len(sizes))
    comm = fsdp.ReduceScatter(model, "e4m3")
    comm(share, values.clone(), ranks.group, dist.ReduceOp.AVG)
    assert torch.allclose(share, sizes, rtol=0.07)
    fsdp.all_reduce_hook(ranks.group, "e4m3")(share)
    assert torch.allclose(share, sizes, rtol=0.14)


@check
def hooks_that_cannot_be(ranks):
    for named, error in (({"op": "max"}, ValueError), ({"keys": ["a"]}, TypeError)):
        try:
            fsdp.all_reduce_hook(ranks.group, "e4m3", **named)
        except error as found:
            assert next(iter(named)) in str(found), found
        else:
            raise AssertionError(named)


@check
def hybrid_sharding(ranks):
    """Two replicas of shards; between them the group's own options hold."""
    if ranks.size != 4:
        return
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    model = sharded(mesh)
    fsdp.compress(model, wire="e5m7")
    with cpdcomm.options(wire="e5m7", min_bytes=0):
        trained(ranks, model)
    close(whole(model), alone(ranks), 3e-2)
    found = cpdcomm.stats(mesh.get_group("replicate")).by_operation["all_reduce"]
    assert found.compressed == 2 * STEPS, found


@check
def replicas_that_torch_does_not_know(ranks):
    """One-dimensional sharding over half of the ranks, and a hook that averages the halves."""
    if ranks.size != 4:
        return
    halves = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))
    model = sharded(halves["shard"])
    fsdp.compress(model, wire="e5m7", replicas=halves.get_group("replicate"))
    trained(ranks, model)
    close(whole(model), alone(ranks), 3e-2)


@check
def factors_that_divide(ranks):
    """A factor of one's own: FSDP divides by itself when only sums are asked for."""
    mesh = mesh_of(ranks)

    def gradient(prepare):
        model = sharded(mesh)
        fsdp.compress(model, wire="fp32")
        prepare(model)
        x, y = batch(ranks.rank, 0)
        mse_loss(model(x), y).backward()
        return [p.grad.full_tensor() for p in model.parameters()]

    def by_eight(model):
        for module in (model[0], model[2], model):
            module.set_gradient_divide_factor(8.0)
            module.set_force_sum_reduction_for_comms(True)

    mean, eighth = gradient(lambda model: None), gradient(by_eight)
    for a, b in zip(mean, eighth, strict=True):
        assert torch.allclose(a * ranks.size, b * 8.0, rtol=1e-5)


@check
def a_model_that_is_not_sharded(ranks):
    try:
        fsdp.compress(copy.deepcopy(network()))
    except ValueError as error:
        assert "fully_shard" in str(error)
    else:
        raise AssertionError("nothing was said")


@check
def over_gloo_it_is_said(ranks):
    mesh = dist.device_mesh.DeviceMesh.from_group(dist.new_group(backend="gloo"), "cpu")
    model = sharded(mesh)
    fsdp.compress(model, wire="e4m3")
    x, y = batch(ranks.rank, 0)
    try:
        mse_loss(model(x), y).backward()
    except Exception as error:
        assert "backend cpd is needed" in str(error), error
    else:
        raise AssertionError("gloo summed in low precision")


if __name__ == "__main__":
    harness.main()
