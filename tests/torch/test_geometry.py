"""Casts of block formats where other values than neighbours share a scale, bit for bit."""

import numpy as np
import pytest
import reference_formats as formats
import reference_geometry as geometry
import reference_random
import torch
from patterns import same_bits

import cpdcomm
from cpdcomm import Geometry

FORMATS = ["bfp2", "bfp8", "bfp24", "mxfp8e4m3", "mxfp4", "mxint8", "int4", "int8", "int24", "sign"]
SHAPES = [(5,), (1,), (6, 10), (3, 4, 5, 5), (2, 1, 33), (40, 3), (2, 0, 3)]
SEED = 99


def geometries(shape):
    """(the library's, the reference's index) of everything that fits a shape."""
    for block in (1, 3, 8, 64):
        yield Geometry.flat(block), geometry.flat(shape, block)
    yield Geometry.tensor(), geometry.tensor(shape)
    for axis in range(-len(shape), len(shape)):
        yield Geometry.axes(axis), geometry.axes(shape, axis)
    if len(shape) > 1:
        yield Geometry.axes(1, 0), geometry.axes(shape, 1, 0)
        yield Geometry.axes(*range(len(shape))), geometry.axes(shape, *range(len(shape)))
        for size in (1, 2, 4, 64):
            yield Geometry.tiles(size), geometry.tiles(shape, size)
        yield Geometry.tiles(3, (0, 1)), geometry.tiles(shape, 3, (0, 1))
        yield Geometry.tiles(3, (1, 0)), geometry.tiles(shape, 3, (1, 0))


def values(shape, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-9, 9, shape))
    return x.astype(np.float32)


def tensor(x):
    return torch.from_numpy(np.array(x, dtype=np.float32))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_values(name, shape):
    x = values(shape)
    for given, index in geometries(shape):
        got = cpdcomm.quantize(tensor(x), name, geometry=given).numpy()
        same_bits(got, formats.quantize(x, name, index=index), str(given))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FORMATS)
def test_stochastic_rounding_draws_the_word_of_the_flat_index(name, shape):
    x = values(shape)
    words = reference_random.words(x.size, SEED)
    for given, index in geometries(shape):
        got = cpdcomm.quantize(tensor(x), name, "stochastic", SEED, geometry=given).numpy()
        same_bits(got, formats.quantize(x, name, words=words, index=index), str(given))


@pytest.mark.parametrize("name", FORMATS)
def test_large_tensors(name):
    """Long enough for every thread."""
    shape = (3, 257, 131)
    x = values(shape)
    for given, index in [
        (Geometry.tensor(), geometry.tensor(shape)),
        (Geometry.axes(1), geometry.axes(shape, 1)),
        (Geometry.tiles(24), geometry.tiles(shape, 24)),
        (Geometry.tiles(16, (0, 2)), geometry.tiles(shape, 16, (0, 2))),
    ]:
        got = cpdcomm.quantize(tensor(x), name, geometry=given).numpy()
        same_bits(got, formats.quantize(x, name, index=index), str(given))


@pytest.mark.parametrize("name", FORMATS)
def test_the_wire_is_flat_blocks(name):
    x = values((3, 4, 50))
    block = formats.parse(name).block
    got = cpdcomm.quantize(tensor(x), name, geometry=Geometry.flat(block))
    assert torch.equal(got, cpdcomm.quantize(tensor(x), name))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("name", FORMATS)
def test_a_non_finite_value_spoils_its_block_alone(name, bad):
    x = values((6, 10))
    x[3, 4] = bad
    for given, index in geometries(x.shape):
        got = cpdcomm.quantize(tensor(x), name, geometry=given).numpy()
        same_bits(got, formats.quantize(x, name, index=index), str(given))
        assert np.array_equal(np.isnan(got), index == index[3, 4])


# --- scales that are given ------------------------------------------------------------------------


def scales(name, blocks, seed=1):
    """Powers of two, but for int and sign."""
    rng = np.random.default_rng(seed)
    power = np.exp2(rng.integers(-9, 6, blocks))
    if formats.parse(name).kind in ("int", "sign"):
        power = power * rng.uniform(1, 2, blocks)
    return power.astype(np.float32)


@pytest.mark.parametrize("shape", SHAPES[:-1])
@pytest.mark.parametrize("name", FORMATS)
def test_one_scale_per_block(name, shape):
    x = values(shape)
    words = reference_random.words(x.size, SEED)
    for given, index in geometries(shape):
        scale = scales(name, int(index.max()) + 1)
        options = {"geometry": given, "scale": torch.from_numpy(scale)}
        got = cpdcomm.quantize(tensor(x), name, **options).numpy()
        same_bits(got, formats.quantize(x, name, index=index, scale=scale), str(given))
        got = cpdcomm.quantize(tensor(x), name, "stochastic", SEED, **options).numpy()
        same_bits(got, formats.quantize(x, name, words=words, index=index, scale=scale), str(given))


@pytest.mark.parametrize("name", FORMATS)
def test_one_scale_for_all(name):
    x = values((3, 4, 5, 5))
    for given, index in geometries(x.shape):
        got = cpdcomm.quantize(tensor(x), name, geometry=given, scale=0.25).numpy()
        same_bits(got, formats.quantize(x, name, index=index, scale=0.25), str(given))


@pytest.mark.parametrize(
    ("name", "power"),
    [
        *((n, p) for n in ["bfp8", "bfp24", "int8"] for p in [-149, -127, -126, -100, 60, 100]),
        *((n, p) for n in ["mxfp8e4m3", "mxint8"] for p in [-127, -126, -100, 60, 100]),  # E8M0
    ],
)
def test_extreme_scales(name, power):
    x = values((6, 10)) * np.float32(2.0 ** max(-140, min(power, 90)))
    scale = np.float32(2.0**power)
    index = geometry.tensor(x.shape)
    got = cpdcomm.quantize(tensor(x), name, geometry=Geometry.tensor(), scale=float(scale)).numpy()
    same_bits(got, formats.quantize(x, name, index=index, scale=scale))


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["e4m3", "e4m3fn", "fp32"])
def test_floats_have_no_blocks(name):
    with pytest.raises(ValueError, match=name):
        cpdcomm.quantize(torch.ones(4, 4), name, geometry=Geometry.tensor())


@pytest.mark.parametrize(
    "wrong",
    [lambda: Geometry.axes(2), lambda: Geometry.axes(0, -2), lambda: Geometry.tiles(4, (1, 1))],
)
def test_dimensions_that_are_not_there(wrong):
    with pytest.raises(ValueError):
        cpdcomm.quantize(torch.ones(4, 4), "bfp8", geometry=wrong())


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan"), 3.0])
def test_scales_that_are_none(scale):
    with pytest.raises(ValueError):
        cpdcomm.quantize(torch.ones(4, 4), "bfp8", geometry=Geometry.tensor(), scale=scale)


@pytest.mark.parametrize("count", [0, 2, 5])
def test_a_wrong_number_of_scales(count):
    with pytest.raises(ValueError):
        cpdcomm.quantize(
            torch.ones(4, 4), "bfp8", geometry=Geometry.axes(0), scale=torch.ones(count)
        )
