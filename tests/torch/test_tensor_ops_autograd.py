"""fake_quantize: a cast with a gradient."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import cpdcomm
from cpdcomm import Geometry


def values(*shape, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(shape, generator=generator) * 3).requires_grad_(**options)


def gradient_of(x, gradient, **call):
    """What arrives at x."""
    (got,) = torch.autograd.grad(cpdcomm.fake_quantize(x, **call), x, gradient)
    return got


@pytest.mark.parametrize("fmt", ["e4m3", "e2m1fn", "bfp4", "mxfp4", "int4", "sign"])
@pytest.mark.parametrize("requires_grad", [False, True])
def test_forward_is_quantize(fmt, requires_grad):
    x = values(5, 70, requires_grad=requires_grad)
    got = cpdcomm.fake_quantize(x, fmt)
    assert got.requires_grad == requires_grad
    assert torch.equal(got, cpdcomm.quantize(x, fmt))
    assert not cpdcomm.quantize(x, fmt).requires_grad


def test_all_of_quantizes_arguments():
    x = values(5, 70)
    call = dict(rounding="stochastic", seed=3, geometry=Geometry.axes(0), scale=0.25)
    want = cpdcomm.quantize(x, "int4", saturate=True, **call)
    assert torch.equal(cpdcomm.fake_quantize(x, "int4", saturate=True, **call), want)
    big = torch.tensor([1e6, -1e6], requires_grad=True)
    assert cpdcomm.fake_quantize(big, "e4m3", saturate=True).tolist() == [240, -240]


def test_the_gradient_goes_straight_through():
    x = values(5, 70)
    gradient = values(5, 70, seed=1, requires_grad=False)
    assert torch.equal(gradient_of(x, gradient, forward="e2m1"), gradient)
    assert torch.equal(gradient_of(x, gradient), gradient)


@pytest.mark.parametrize("forward", [None, "e4m3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_gradient_is_cast(forward, dtype):
    x = values(5, 70, requires_grad=False).to(dtype).requires_grad_()
    gradient = values(5, 70, seed=1, requires_grad=False).to(dtype)
    got = gradient_of(x, gradient, forward=forward, backward="e5m2")
    assert torch.equal(got, cpdcomm.quantize(gradient, "e5m2"))
    tiles = Geometry.tiles(4)
    got = gradient_of(x, gradient, forward=forward, backward="bfp4", backward_geometry=tiles)
    assert torch.equal(got, cpdcomm.quantize(gradient, "bfp4", geometry=tiles))


def test_the_gradient_has_a_seed_of_its_own():
    x = values(4096)
    gradient = x.detach()
    call = dict(forward="e4m3", backward="e4m3", rounding="stochastic")
    forward = cpdcomm.fake_quantize(x, seed=3, **call)
    got = gradient_of(x, gradient, seed=3, **call)
    assert torch.equal(forward, cpdcomm.quantize(x, "e4m3", "stochastic", 3))
    assert torch.equal(got, cpdcomm.quantize(gradient, "e4m3", "stochastic", 3 ^ 0x9E3779B9))
    assert not torch.equal(got, forward)


def test_manual_seed_governs_the_gradient():
    x, gradient = values(4096), values(4096, seed=1, requires_grad=False)

    def once(seed):
        torch.manual_seed(seed)
        return gradient_of(x, gradient, backward="e4m3", rounding="stochastic")

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))


def test_a_checkpointed_layer_draws_the_same():
    w = values(4096)

    def layer(w):
        return cpdcomm.fake_quantize(w * 2, "e4m3", "e5m2", rounding="stochastic").sin()

    def once(call):
        torch.manual_seed(3)
        (gradient,) = torch.autograd.grad(call(w).sum(), w)
        return gradient

    assert torch.equal(once(layer), once(lambda w: checkpoint(layer, w, use_reentrant=False)))


def test_gradients_of_a_layer():
    """Against the chain rule by hand: the weights and the gradient are cast, and nothing else."""
    x, w = values(8, 32, seed=1, requires_grad=False), values(32, 16, seed=2)
    tiles = Geometry.tiles(8)
    y = x @ cpdcomm.fake_quantize(w, "bfp8", "e5m2", geometry=tiles)
    y.pow(2).sum().backward()
    output = x @ cpdcomm.quantize(w, "bfp8", geometry=tiles)
    assert torch.equal(y, output)
    assert torch.equal(w.grad, cpdcomm.quantize(x.T @ (2 * output), "e5m2"))


def test_second_derivatives_go_straight_through():
    x = torch.tensor([0.3, 1.7, -2.2], requires_grad=True)
    cast = cpdcomm.quantize(x, "e4m3")
    (first,) = torch.autograd.grad(
        cpdcomm.fake_quantize(x, "e4m3", "e5m2").pow(3).sum(), x, create_graph=True
    )
    assert torch.equal(first, cpdcomm.quantize(3 * cast**2, "e5m2"))
    (second,) = torch.autograd.grad(first.sum(), x)
    # It comes through the gradient's cast untouched, and then through the cast of x.
    assert torch.equal(second, cpdcomm.quantize(6 * cast, "e5m2"))
    assert not torch.equal(second, 6 * cast)


def test_gradcheck_where_the_cast_changes_nothing():
    x = values(7).detach().double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: cpdcomm.fake_quantize(x.float(), "fp32", "fp32"), x, eps=1e-1, atol=1e-2
    )


def test_func_grad():
    x = values(9, requires_grad=False)
    got = torch.func.grad(lambda x: cpdcomm.fake_quantize(x, "e4m3", "e2m1").pow(2).sum())(x)
    assert torch.equal(got, cpdcomm.quantize(2 * cpdcomm.quantize(x, "e4m3"), "e2m1"))


def test_no_format_is_x_itself():
    x = values(3)
    same = cpdcomm.fake_quantize(x)
    assert same.data_ptr() == x.data_ptr() and same.requires_grad


def test_nothing_is_recorded_without_grad_mode():
    x = values(3)
    with torch.no_grad():
        assert not cpdcomm.fake_quantize(x, "e4m3", "e5m2").requires_grad
    with torch.inference_mode():
        assert cpdcomm.fake_quantize(x, "e4m3").is_inference()


def test_the_input_may_change_before_the_backward_pass():
    """The cast saves nothing of x."""
    x = values(3)
    y = cpdcomm.fake_quantize(x, "e4m3")
    with torch.no_grad():
        x.zero_()
    y.sum().backward()
    assert x.grad.tolist() == [1, 1, 1]


# --- where the result goes ------------------------------------------------------------------------


@pytest.mark.parametrize("forward", [None, "bfp4"])
def test_in_place_without_autograd(forward):
    x = values(5, 70, requires_grad=False)
    want = x.clone() if forward is None else cpdcomm.quantize(x, forward)
    assert cpdcomm.fake_quantize(x, forward, inplace=True) is x
    assert torch.equal(x, want)


def test_in_place_with_autograd():
    x = values(5, 70)
    y = x * 2
    got = cpdcomm.fake_quantize(y, "e4m3", "e2m1", inplace=True)
    assert got is y
    assert torch.equal(y, cpdcomm.quantize(x * 2, "e4m3"))
    y.pow(2).sum().backward()
    assert torch.equal(x.grad, 2 * cpdcomm.quantize(2 * y, "e2m1"))


def test_in_place_on_a_leaf_is_refused_as_torch_does():
    x = values(3)
    before = x.detach().clone()
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        cpdcomm.fake_quantize(x, "e2m1", inplace=True)
    assert torch.equal(x, before)
    with torch.no_grad():
        cpdcomm.fake_quantize(x, "e2m1", inplace=True)
    assert torch.equal(x, cpdcomm.quantize(before, "e2m1"))


def test_in_place_on_what_autograd_saved_is_noticed():
    x, w = values(3, requires_grad=False), values(3)
    y = x * w
    cpdcomm.fake_quantize(x, "e2m1", inplace=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_out():
    x = values(5, 70, requires_grad=False)
    out = torch.empty_like(x)
    assert cpdcomm.fake_quantize(x, "e4m3", out=out) is out
    assert torch.equal(out, cpdcomm.quantize(x, "e4m3"))
    assert torch.equal(cpdcomm.fake_quantize(x, out=out), x)
    for recorded, target in ((values(5, 70), out), (x, values(5, 70))):
        with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
            cpdcomm.fake_quantize(recorded, "e4m3", out=target)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (dict(forward="e4q"), "e4q"),
        (dict(backward="e4m3", backward_geometry=Geometry.tensor()), "e4m3"),
        (dict(geometry=Geometry.tensor()), "forward is None"),
        (dict(scale=2.0), "forward is None"),
        (dict(forward="e4m3", backward_geometry=Geometry.tensor()), "backward is None"),
        (dict(forward="e4m3", seed=3), "stochastic"),
        (dict(forward="e4m3", inplace=True, out=torch.empty(3)), "out and inplace"),
    ],
)
def test_arguments_that_are_not_allowed(call, message):
    x = values(3)
    with pytest.raises(ValueError, match=message):
        cpdcomm.fake_quantize(x, **call).sum().backward()


def test_types_that_are_not_allowed():
    with pytest.raises(TypeError, match="list"):
        cpdcomm.fake_quantize([1.0], "e4m3")
    with pytest.raises(TypeError, match="int"):
        cpdcomm.fake_quantize(torch.ones(3), 8)
    with pytest.raises(TypeError, match="float64"):
        cpdcomm.fake_quantize(torch.ones(3, dtype=torch.float64), "e4m3")
