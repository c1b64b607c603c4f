"""torch.compile traces the tensor functions, and finds the same bits."""

import shutil

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.library import opcheck

import cpdcomm
from cpdcomm import Geometry

OPS = torch.ops.cpdcomm
SEED = torch.tensor(5)
TILES = ("tiles", [4, -2, -1])


def image(requires_grad=False):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 9, 10, generator=generator).requires_grad_(requires_grad)


SAMPLES = {
    "quantize": (OPS.quantize, lambda x: (x, "e4m3")),
    "quantize in tiles": (OPS.quantize, lambda x: (x, "int8", SEED, False, *TILES)),
    "quantize on scales": (
        OPS.quantize,
        lambda x: (x, "bfp8", None, True, "axes", [1], torch.full((9,), 0.5)),
    ),
    "float_quantize": (OPS.float_quantize, lambda x: (x, 4, 3)),
    "scales of samples": (OPS.block_scales, lambda x: (x, "int8", "axes", [2, 0])),
    "scales of tiles": (OPS.block_scales, lambda x: (x, "sign", *TILES)),
    "scales of other tiles": (OPS.block_scales, lambda x: (x, "sign", "tiles", [4, 2, 0])),
    "scales of blocks": (OPS.block_scales, lambda x: (x, "mxfp4")),
    "scales of a flat tensor": (OPS.block_scales, lambda x: (x, "bfp3", "flat", [7])),
    "scale of a tensor": (OPS.block_scales, lambda x: (x, "bfp3", "tensor")),
    "encode": (OPS.encode, lambda x: (x, "e3m1", SEED)),
    "encode blocks": (OPS.encode, lambda x: (x, "bfp5")),
}


@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_operators_are_what_torch_wants(sample, requires_grad):
    operator, arguments = SAMPLES[sample]
    opcheck(operator.default, arguments(image(requires_grad)))


def test_operators_with_an_output():
    arguments = (image(), "int8", SEED, False, *TILES, None, torch.empty(6, 9, 10))
    opcheck(OPS.quantize_out.default, arguments)
    data = cpdcomm.encode(image(), "e3m2")
    opcheck(OPS.decode.default, (data, "e3m2", 540))


def round_trip(x):
    return cpdcomm.decode(cpdcomm.encode(x * 2, "int8:64"), "int8:64", x.numel()).view_as(x) + 1


def in_place(x):
    y = x * 2
    cpdcomm.fake_quantize(y, "e4m3", "e2m1", inplace=True)
    return y.sin()


FUNCTIONS = {
    "quantize": lambda x: cpdcomm.quantize(x + 1, "e4m3") * 2,
    "float_quantize": lambda x: cpdcomm.float_quantize(x + 1, 4, 3) * 2,
    "stochastic": lambda x: cpdcomm.quantize(x, "e4m3", "stochastic", seed=3) * 2,
    "geometry": lambda x: cpdcomm.quantize(x, "int8", geometry=Geometry.tiles(4)).sum(0),
    "scale": lambda x: cpdcomm.quantize(x, "int8", scale=0.5) + x,
    "out": lambda x: cpdcomm.quantize(x, "e4m3", out=torch.empty_like(x)) + 1,
    "block_scales": lambda x: cpdcomm.block_scales(x, "bfp8", Geometry.axes(0)) * 2,
    "round_trip": round_trip,
    "fake_quantize": lambda x: cpdcomm.fake_quantize(x * 2, "bfp8", "e5m2").sin(),
    "backward alone": lambda x: cpdcomm.fake_quantize(x * 2, None, "e5m2").sin(),
    "in_place": in_place,
}
DIFFERENTIABLE = ["fake_quantize", "backward alone", "in_place"]


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_compiled(name, dynamic):
    function = FUNCTIONS[name]
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for x in (image(), image()[:4, :8].contiguous()):
        assert torch.equal(compiled(x), function(x))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_compiled_gradients(name):
    function = FUNCTIONS[name]
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    gradients = []
    for call in (function, compiled):
        x = image(requires_grad=True)
        call(x).sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def stochastic_layer(x):
    return cpdcomm.fake_quantize(x, "e4m3", "e5m2", rounding="stochastic").sin()


def test_compiled_draws_from_torchs_generator():
    compiled = torch.compile(stochastic_layer, fullgraph=True, backend="aot_eager")
    results = []
    for call in (stochastic_layer, compiled, compiled):
        x = image(requires_grad=True)
        torch.manual_seed(3)
        y = call(x)
        y.sum().backward()
        results.append(torch.stack([y.detach(), x.grad]))
    assert torch.equal(results[0], results[1]) and torch.equal(results[1], results[2])
    assert not torch.equal(compiled(image()), compiled(image()))


def test_new_seeds_and_scales_need_no_new_graph():
    def cast(x, seed, scale):
        return cpdcomm.quantize(x, "int4", "stochastic", seed, scale=scale)

    # With fullgraph, torch raises after eight graphs of one function.
    compiled = torch.compile(cast, fullgraph=True, backend="aot_eager")
    for seed in range(2, 20):
        scale = torch.tensor(0.1 * seed)
        assert torch.equal(compiled(image(), seed, scale), cast(image(), seed, scale))


def test_an_unknown_format_is_told_while_tracing():
    compiled = torch.compile(
        lambda x: cpdcomm.quantize(x, "e4q"), fullgraph=True, backend="aot_eager"
    )
    with pytest.raises(Exception, match="e4q"):
        compiled(image())


@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor compiles C++")
def test_inductor():
    """One graph with all of it, because each is a run of the compiler."""

    def step(x):
        y = cpdcomm.fake_quantize(x * 2, "bfp8", "e5m2", geometry=Geometry.tiles(4))
        return y + round_trip(y)

    gradients = []
    for call in (step, torch.compile(step, fullgraph=True)):
        x = image(requires_grad=True)
        y = call(x)
        y.sum().backward()
        gradients.append(torch.stack([y.detach(), x.grad]))
    assert torch.equal(*gradients)


def test_meta_tensors():
    x = torch.empty(100, 100, device="meta")
    assert cpdcomm.quantize(x, "e4m3").shape == (100, 100)
    assert cpdcomm.encode(x, "bfp8:64").shape == (10_000 + 157,)
    assert cpdcomm.block_scales(x, "int8", Geometry.tiles(64)).shape == (4,)


def test_fake_tensors_and_graphs_outside_of_compile():
    with torch._subclasses.FakeTensorMode():
        x = torch.empty(100, 100)
        assert cpdcomm.quantize(x, "e4m3", "stochastic").shape == (100, 100)
        assert cpdcomm.decode(cpdcomm.encode(x, "bfp8"), "bfp8", 10_000).shape == (10_000,)
    graph = make_fx(round_trip)(image())
    called = {node.target for node in graph.graph.nodes}
    assert {OPS.encode.default, OPS.decode.default} <= called
    other = image() * 3
    assert torch.equal(graph(other), round_trip(other))


def test_torchs_export():
    class Layer(torch.nn.Module):
        def forward(self, x):
            return cpdcomm.quantize(x, "int8", geometry=Geometry.axes(0)) * 2

    program = torch.export.export(Layer(), (image(),))
    assert torch.equal(program.module()(image()), Layer()(image()))
