"""The tensor functions as functions of tensors: any view, any type, any number of threads."""

import math

import numpy as np
import pytest
import torch

import cpdcomm
from cpdcomm import Geometry

HALVES = [torch.bfloat16, torch.float16]
BLOCKS = ["bfp8", "mxfp4", "int4", "sign"]
FORMATS = ["fp32", "e4m3", "e2m1fn", "bfp4:24", "mxfp8e4m3", "mxint8", *BLOCKS]
GEOMETRIES = {
    "own": None,
    "flat": Geometry.flat(24),
    "tensor": Geometry.tensor(),
    "channels": Geometry.axes(1),
    "samples": Geometry.axes(0),
    "last": Geometry.axes(-1),
    "tiles": Geometry.tiles(4),
    "other tiles": Geometry.tiles(3, dims=(0, 2)),
}
VIEWS = {
    "contiguous": lambda x: x,
    "transposed": lambda x: x.transpose(0, 2),
    "strided": lambda x: x[::2, 1::3, ::3],
    "expanded": lambda x: x[:, :1].expand(6, 9, 10),
    "offset": lambda x: x[1:],
    "channels last": lambda x: x.reshape(2, 3, 9, 10).to(memory_format=torch.channels_last),
}


def values(*shape, seed=0, dtype=torch.float32):
    """Of magnitudes between 2^-12 and 2^12, with zeros, in no format of the tests."""
    random = np.random.default_rng(seed)
    x = random.standard_normal(shape) * np.exp2(random.integers(-12, 12, shape))
    x[random.random(shape) < 0.02] = 0
    return torch.tensor(x, dtype=torch.float32).to(dtype)


def image(dtype=torch.float32):
    return values(6, 9, 10, seed=1, dtype=dtype)


def same(a, b):
    """Bit for bit, but for which NaN it is."""
    assert a.dtype == b.dtype and a.shape == b.shape
    nan = torch.isnan(a)
    assert torch.equal(nan, torch.isnan(b))
    integers = torch.int32 if a.dtype == torch.float32 else torch.int16
    assert torch.equal(a[~nan].view(integers), b[~nan].view(integers))


def block_axes(x, axis):
    """x with one row per index of an axis, and back."""
    rows = x.movedim(axis, 0)
    return rows.reshape(rows.shape[0], -1), lambda y: y.reshape(rows.shape).movedim(0, axis)


# --- geometry and scales --------------------------------------------------------------------------


@pytest.mark.parametrize("fmt", BLOCKS)
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_an_axis_is_its_rows_one_by_one(fmt, axis):
    x = image()
    rows, back = block_axes(x, axis)
    whole = Geometry.tensor()
    want = torch.stack([cpdcomm.quantize(row, fmt, geometry=whole) for row in rows])
    same(cpdcomm.quantize(x, fmt, geometry=Geometry.axes(axis)), back(want).contiguous())
    scales = torch.cat([cpdcomm.block_scales(row, fmt, whole) for row in rows])
    same(cpdcomm.block_scales(x, fmt, Geometry.axes(axis)), scales)


@pytest.mark.parametrize("fmt", BLOCKS)
@pytest.mark.parametrize("dims", [(-2, -1), (1, 0), (0, 2)])
def test_tiles_are_cast_one_by_one(fmt, dims):
    x = image()
    got = cpdcomm.quantize(x, fmt, geometry=Geometry.tiles(4, dims=dims))
    rows, columns = dims
    moved = x.movedim(dims, (-2, -1))
    want = torch.empty_like(moved)
    for leading in range(moved.shape[0]):
        for i in range(0, moved.shape[1], 4):
            for k in range(0, moved.shape[2], 4):
                tile = moved[leading, i : i + 4, k : k + 4]
                # In the order of the tensor, which the sum of a mean depends on.
                ordered = tile.T if rows % 3 > columns % 3 else tile
                cast = cpdcomm.quantize(ordered, fmt, geometry=Geometry.tensor())
                want[leading, i : i + 4, k : k + 4] = cast.T if ordered is not tile else cast
    same(got, want.movedim((-2, -1), dims).contiguous())


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("fmt", BLOCKS)
def test_derived_scales_given_back_change_nothing(fmt, geometry):
    x, geometry = image(), GEOMETRIES[geometry]
    scales = cpdcomm.block_scales(x, fmt, geometry)
    assert scales.dtype == torch.float32 and scales.dim() == 1 and (scales > 0).all()
    same(
        cpdcomm.quantize(x, fmt, geometry=geometry, scale=scales),
        cpdcomm.quantize(x, fmt, geometry=geometry),
    )


def test_a_given_scale():
    x = torch.tensor([0.6, -1.4, 9.0, -1000.0, 0.0])
    assert cpdcomm.quantize(x, "int4", scale=1.0).tolist() == [1, -1, 7, -7, 0]
    assert cpdcomm.quantize(x, "bfp4", scale=0.5).tolist() == [0.5, -1.5, 3.5, -3.5, 0]
    assert cpdcomm.quantize(x, "sign", scale=3).tolist() == [3, -3, 3, -3, 3]
    scales = torch.tensor([1.0, 2.0], dtype=torch.float16)
    pair = torch.tensor([[0.6, 9.0], [0.6, 9.0]])
    got = cpdcomm.quantize(pair, "int4", geometry=Geometry.axes(0), scale=scales)
    assert got.tolist() == [[1, 7], [0, 8]]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("scale", [None, 0.5])
@pytest.mark.parametrize("fmt", BLOCKS)
def test_a_block_with_a_non_finite_value_is_nan(fmt, scale, bad):
    x = image()
    x[2, 3, 4] = bad
    got = cpdcomm.quantize(x, fmt, geometry=Geometry.axes(1), scale=scale)
    nan = torch.zeros_like(x, dtype=torch.bool)
    nan[:, 3] = True
    assert torch.equal(torch.isnan(got), nan)
    scales = cpdcomm.block_scales(x, fmt, Geometry.axes(1))
    assert torch.isnan(scales).nonzero().tolist() == [[3]]


@pytest.mark.parametrize("fmt", BLOCKS)
@pytest.mark.parametrize("bad", [None, math.nan, 0.0])
def test_one_block_that_several_threads_share(fmt, bad):
    """The same as on one thread, which sees it as a whole."""
    x = values(100, 1001, seed=2)
    if bad is not None:
        x[77, 7] = bad
    if bad == 0.0:
        x.zero_()
    threads = torch.get_num_threads()
    got = []
    for count in (1, 3, 8):
        torch.set_num_threads(count)
        got.append(cpdcomm.quantize(x, fmt, geometry=Geometry.tensor()))
    torch.set_num_threads(threads)
    # A channel of one tensor is the same block, without the way for one block.
    channel = torch.stack([x, x])
    want = cpdcomm.quantize(channel, fmt, geometry=Geometry.axes(0))[0]
    for result in got:
        same(result, want)


# --- tensors --------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_views(view, geometry):
    x, geometry = VIEWS[view](image()), GEOMETRIES[geometry]
    plain = x.clone(memory_format=torch.contiguous_format)
    for rounding, seed in (("nearest_even", None), ("stochastic", 5)):
        got = cpdcomm.quantize(x, "int8", rounding, seed, geometry=geometry)
        assert got.is_contiguous()
        same(got, cpdcomm.quantize(plain, "int8", rounding, seed, geometry=geometry))
    same(cpdcomm.block_scales(x, "int8", geometry), cpdcomm.block_scales(plain, "int8", geometry))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(
    ("fmt", "geometry"),
    [(fmt, None) for fmt in FORMATS]
    + [(fmt, geometry) for fmt in BLOCKS for geometry in GEOMETRIES.values()],
)
def test_half_types_are_cast_from_fp32_and_rounded_back(dtype, fmt, geometry):
    x = image(dtype)
    for rounding, seed in (("nearest_even", None), ("stochastic", 6)):
        want = cpdcomm.quantize(x.float(), fmt, rounding, seed, geometry=geometry)
        same(cpdcomm.quantize(x, fmt, rounding, seed, geometry=geometry), want.to(dtype))


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("fmt", [*FORMATS, "int8:65536", "e3m1"])
def test_long_half_tensors(dtype, fmt):
    """Longer than a tile, than a piece of a thread, and than the largest block."""
    x = values(150_001, seed=3, dtype=dtype)
    wide = x.float()
    same(cpdcomm.quantize(x, fmt), cpdcomm.quantize(wide, fmt).to(dtype))
    for rounding, seed in (("nearest_even", None), ("stochastic", 7)):
        got = cpdcomm.encode(x, fmt, rounding=rounding, seed=seed)
        assert torch.equal(got, cpdcomm.encode(wide, fmt, rounding=rounding, seed=seed))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("fmt", ["e4m3", "int8", "mxfp4"])
def test_no_values_and_one(fmt, dtype):
    for shape in ((0,), (3, 0), ()):
        x = torch.full(shape, 1.0, dtype=dtype)
        same(cpdcomm.quantize(x, fmt), x)
        data = cpdcomm.encode(x, fmt)
        assert cpdcomm.decode(data, fmt, x.numel()).tolist() == [1.0] * x.numel()
        assert data.numel() == 0 or x.numel() == 1
        if fmt != "e4m3":
            same(cpdcomm.quantize(x, fmt, geometry=Geometry.tensor()), x)
            assert cpdcomm.block_scales(x, fmt).numel() == x.numel()
            assert cpdcomm.block_scales(x, fmt, Geometry.tensor()).numel() == x.numel()
    with pytest.raises(ValueError, match="bytes"):
        cpdcomm.decode(torch.zeros(1, dtype=torch.uint8), fmt, 0)


@pytest.mark.parametrize("fmt", FORMATS)
def test_quantize_is_decode_of_encode(fmt):
    x = values(3, 1001, seed=4)
    for rounding, seed in (("nearest_even", None), ("stochastic", 8)):
        data = cpdcomm.encode(x, fmt, rounding=rounding, seed=seed)
        back = cpdcomm.decode(data, fmt, x.numel()).view_as(x)
        same(back, cpdcomm.quantize(x, fmt, rounding, seed))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES])
@pytest.mark.parametrize("geometry", [None, Geometry.tiles(4), Geometry.tensor()])
def test_out(dtype, geometry):
    x = image(dtype)
    want = cpdcomm.quantize(x, "bfp4", geometry=geometry)
    out = torch.full_like(x, 7)
    assert cpdcomm.quantize(x, "bfp4", geometry=geometry, out=out) is out
    same(out, want)
    strided = torch.full((6, 9, 20), 7, dtype=dtype)
    cpdcomm.quantize(x, "bfp4", geometry=geometry, out=strided[:, :, ::2])
    same(strided[:, :, ::2].contiguous(), want)
    assert (strided[:, :, 1::2] == 7).all()
    version = x._version
    assert cpdcomm.quantize(x, "bfp4", geometry=geometry, out=x) is x
    same(x, want)
    assert x._version > version


def test_out_that_is_not_allowed():
    x = image()
    with pytest.raises(ValueError, match=r"\[6\]"):
        cpdcomm.quantize(x, "e4m3", out=torch.empty(6))
    with pytest.raises(TypeError, match="bfloat16"):
        cpdcomm.quantize(x, "e4m3", out=image(torch.bfloat16))
    with pytest.raises(TypeError, match="list"):
        cpdcomm.quantize(x, "e4m3", out=[0.0])
    with pytest.raises(RuntimeError, match="single memory location"):
        cpdcomm.quantize(x, "e4m3", out=torch.empty(1).expand(6, 9, 10))
    flat = x.view(-1)
    with pytest.raises(RuntimeError, match="clone"):
        cpdcomm.quantize(flat[1:], "e4m3", out=flat[:-1])
    with pytest.raises(RuntimeError, match="requires grad"):
        cpdcomm.quantize(x, "e4m3", out=torch.empty(6, 9, 10, requires_grad=True))


# --- threads --------------------------------------------------------------------------------------


@pytest.fixture(params=[3, 8])
def alone_and_together(request):
    """Calls a function on one thread and on several."""
    before = torch.get_num_threads()

    def both(function):
        torch.set_num_threads(1)
        alone = function()
        torch.set_num_threads(request.param)
        return alone, function()

    yield both
    torch.set_num_threads(before)


@pytest.mark.parametrize("rounding", ["nearest_even", "stochastic"])
@pytest.mark.parametrize("fmt", ["e4m3", "e3m1", "bfp5", "int3:24", "mxfp4", "sign"])
def test_threads_change_no_bit(fmt, rounding, alone_and_together):
    x = values(300_007, seed=5)
    seed = 9 if rounding == "stochastic" else None
    same(*alone_and_together(lambda: cpdcomm.quantize(x, fmt, rounding, seed)))
    one, many = alone_and_together(lambda: cpdcomm.encode(x, fmt, rounding=rounding, seed=seed))
    assert torch.equal(one, many)
    same(*alone_and_together(lambda: cpdcomm.decode(one, fmt, x.numel())))


@pytest.mark.parametrize("geometry", ["flat", "tensor", "channels", "samples", "tiles"])
@pytest.mark.parametrize("fmt", ["bfp5", "sign"])
def test_threads_change_no_bit_of_a_geometry(fmt, geometry, alone_and_together):
    x, geometry = values(8, 300, 130, seed=6), GEOMETRIES[geometry]
    call = dict(rounding="stochastic", seed=10, geometry=geometry)
    same(*alone_and_together(lambda: cpdcomm.quantize(x, fmt, **call)))
    same(*alone_and_together(lambda: cpdcomm.quantize(x, fmt, scale=4.0, **call)))
    same(*alone_and_together(lambda: cpdcomm.block_scales(x, fmt, geometry)))


# --- stochastic rounding --------------------------------------------------------------------------


def test_the_seed_decides():
    x = values(4096, seed=7)

    def stochastic(seed=None):
        return cpdcomm.quantize(x, "e4m3", "stochastic", seed)

    same(stochastic(1), stochastic(1))
    assert not torch.equal(stochastic(1), stochastic(2))
    assert not torch.equal(stochastic(1), stochastic((1 << 32) - 1))
    assert not torch.equal(stochastic(), stochastic())


def test_torchs_generator_governs_what_has_no_seed():
    x = values(4096, seed=7)
    casts = [
        lambda: cpdcomm.quantize(x, "e4m3", "stochastic"),
        lambda: cpdcomm.encode(x, "e4m3", rounding="stochastic").float(),
        lambda: cpdcomm.fake_quantize(x, "e4m3", rounding="stochastic"),
    ]
    for cast in casts:
        torch.manual_seed(3)
        first, second = cast(), cast()
        torch.manual_seed(3)
        assert torch.equal(cast(), first) and torch.equal(cast(), second)
        assert not torch.equal(first, second)
        torch.manual_seed(4)
        assert not torch.equal(cast(), first)


def test_nearest_even_draws_nothing():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    cpdcomm.quantize(image(), "e4m3")
    assert torch.equal(torch.get_rng_state(), before)


# --- finfo ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fmt", "dtype"),
    [
        ("fp16", torch.float16),
        ("bf16", torch.bfloat16),
        ("fp32", torch.float32),
        ("e4m3fn", torch.float8_e4m3fn),
        ("e5m2", torch.float8_e5m2),
    ],
)
def test_finfo_equals_torchs(fmt, dtype):
    ours, theirs = cpdcomm.finfo(fmt), torch.finfo(dtype)
    assert ours.bits == theirs.bits == ours.bits_with_scales
    assert ours.largest == theirs.max
    assert ours.smallest_normal == theirs.smallest_normal
    assert ours.epsilon == theirs.eps


def test_finfo():
    assert cpdcomm.finfo("e4m3").largest == 240  # not e4m3fn, which has 448
    assert cpdcomm.finfo("e4m3").smallest == 2.0**-9
    assert cpdcomm.finfo("bf16").name == cpdcomm.finfo("e8m7").name
    about = cpdcomm.finfo("int8:64")
    assert (about.bits, about.bits_with_scales, about.largest) == (8, 8.5, 127)
    with pytest.raises(AttributeError):
        about.bits = 9
    with pytest.raises(ValueError, match="e9m1"):
        cpdcomm.finfo("e9m1")


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [-1, 1 << 32, 1 << 70])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=f"{seed}.*2\\*\\*32"):
        cpdcomm.quantize(torch.ones(4), "e4m3", "stochastic", seed)


def test_seed_of_another_type():
    with pytest.raises(TypeError, match="float"):
        cpdcomm.quantize(torch.ones(4), "e4m3", "stochastic", 1.0)


@pytest.mark.parametrize("cast", [cpdcomm.quantize, cpdcomm.encode, cpdcomm.fake_quantize])
def test_rounding_that_is_not_allowed(cast):
    with pytest.raises(ValueError, match="3.*stochastic"):
        cast(torch.ones(4), "e4m3", seed=3, rounding="nearest_even")
    with pytest.raises(ValueError, match="up.*nearest_even, stochastic"):
        cast(torch.ones(4), "e4m3", rounding="up")


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        (Geometry.axes(2), "dimension 2.*2"),
        (Geometry.axes(-3), "dimension -3"),
        (Geometry.axes(0, -2), "twice"),
        (Geometry.axes(1 << 40), "dimension"),
        (Geometry.tiles(4, dims=(1, 1)), "twice"),
        (Geometry.tiles(4, dims=(0, 5)), "dimension 5"),
    ],
)
def test_dimensions_that_are_not_there(geometry, message):
    for x in (torch.ones(3, 4), torch.ones(300, 400)):
        with pytest.raises(ValueError, match=message):
            cpdcomm.quantize(x, "int8", geometry=geometry)
        with pytest.raises(ValueError, match=message):
            cpdcomm.block_scales(x, "int8", geometry)


def test_geometries_that_cannot_be():
    with pytest.raises(ValueError, match="0"):
        Geometry.flat(0)
    with pytest.raises(ValueError, match="-4"):
        Geometry.tiles(-4)
    with pytest.raises(ValueError, match=r"\(1,\)"):
        Geometry.tiles(4, dims=(1,))
    with pytest.raises(TypeError, match="str"):
        cpdcomm.quantize(torch.ones(4), "int8", geometry="tensor")


@pytest.mark.parametrize("fmt", ["fp32", "e4m3", "e2m1fn"])
def test_float_formats_have_no_blocks(fmt):
    x = torch.ones(4)
    for call in (
        lambda: cpdcomm.quantize(x, fmt, geometry=Geometry.tensor()),
        lambda: cpdcomm.quantize(x, fmt, scale=1.0),
        lambda: cpdcomm.block_scales(x, fmt),
    ):
        with pytest.raises(ValueError, match=cpdcomm.finfo(fmt).name):
            call()


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan, 1e50])
@pytest.mark.parametrize("fmt", BLOCKS)
def test_scales_that_are_not_allowed(fmt, scale):
    for count in (4, 100_000):
        with pytest.raises(ValueError, match="positive and finite"):
            cpdcomm.quantize(torch.ones(count), fmt, scale=scale, geometry=Geometry.tensor())


def test_scales_that_do_not_fit():
    x = torch.ones(3, 4)
    with pytest.raises(ValueError, match="3 is not allowed.*powers of two"):
        cpdcomm.quantize(x, "bfp8", scale=3.0)
    for count in 12, 100_000:
        with pytest.raises(ValueError, match="3 scales"):
            cpdcomm.quantize(
                torch.linspace(-1, 1, count),
                "int8",
                geometry=Geometry.tensor(),
                scale=torch.tensor([0.5, 0.25, 0.125]),
            )
    with pytest.raises(ValueError, match="2 scales.*3 blocks"):
        cpdcomm.quantize(x, "int8", geometry=Geometry.axes(0), scale=torch.ones(2))
    with pytest.raises(ValueError, match="no values"):
        cpdcomm.quantize(x, "int8", scale=torch.ones(0))
    with pytest.raises(TypeError, match="int64"):
        cpdcomm.quantize(x, "int8", scale=torch.ones(1, dtype=torch.int64))


def test_other_layouts_are_refused():
    with pytest.raises(ValueError, match="Sparse"):
        cpdcomm.quantize(torch.eye(3).to_sparse(), "e4m3")


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this CPU cannot flush subnormals")
@pytest.mark.parametrize("fmt", BLOCKS)
@pytest.mark.parametrize("geometry", [None, Geometry.tensor(), Geometry.axes(1)])
def test_a_caller_that_flushes_subnormals_changes_nothing(fmt, geometry):
    x = values(100, 1001, seed=8) * 2.0**-134
    want = cpdcomm.quantize(x, fmt, geometry=geometry)
    integers = want.view(torch.int32).clone()
    torch.set_flush_denormal(True)
    try:
        got = cpdcomm.quantize(x, fmt, geometry=geometry).view(torch.int32)
    finally:
        torch.set_flush_denormal(False)
    assert torch.equal(got, integers) and integers.any()


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this CPU cannot flush subnormals")
def test_what_a_caller_that_flushes_subnormals_says_of_scales_and_formats():
    zeros = torch.zeros(4)
    tensor = Geometry.tensor()
    smallest = cpdcomm.finfo("bf16").smallest
    torch.set_flush_denormal(True)
    try:
        assert torch.equal(
            cpdcomm.quantize(zeros, "mxfp4", geometry=tensor, scale=2.0**-127), zeros
        )
        with pytest.raises(ValueError, match="2\\^-127"):
            cpdcomm.quantize(zeros, "mxfp4", geometry=tensor, scale=2.0**-128)
        assert cpdcomm.finfo("bf16").smallest == smallest > 0
    finally:
        torch.set_flush_denormal(False)


def test_geometries_of_other_types_are_refused():
    for make in (
        lambda: Geometry.flat(1.5),
        lambda: Geometry.axes(1.5),
        lambda: Geometry.tiles("8"),
    ):
        with pytest.raises(TypeError, match="is an int"):
            make()
    with pytest.raises(ValueError, match="2\\*\\*62"):
        Geometry.flat(1 << 70)
