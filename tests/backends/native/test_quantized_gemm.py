"""Products with quantized weights against the formula in float64, at the edges of the integers too."""

import numpy as np
import pytest

from gradus.backends.native import _native
from gradus.quantization.rtn import GROUP_SIZES, QuantizedMatrix, quantize
from tests.backends.native.harness import Tensor, make_executor, rows_step, run

EPSILON = 2.0**-24
WIDTHS = ("int8", "int4", "int4_symmetric", "int4_g128")
SHAPES = [(1, 32), (17, 3), (16, 64), (50, 37), (130, 257), (70, 416), (33, 1000)]


def pack_quantized(executor, width, *matrices, bias=None):
    weight = _native.Weight(width, [len(m.codes) for m in matrices], matrices[0].inputs)
    for i, m in enumerate(matrices):
        centres = None if m.centres is None else m.centres.view(np.uint16)
        weight.pack_quantized(i, m.codes.view(np.uint8), m.scales.view(np.uint16), centres, executor)
    if bias is not None:
        weight.set_bias(0, bias)
    return weight


ACTIVATION_GROUP = np.dtype(
    [
        ("codes", np.int8, 32),
        ("scale", np.float32),
        ("sum", np.float32),
        ("int8_start", np.int32),
        ("int4_start", np.int16, 2),
    ]
)
ACTIVATION_QUAD = np.dtype([("codes", np.int8, 128), ("start", np.int32), ("shift", np.int32)])
MOST_SHIFT = 13


def quantized(executor, x, in_quads):
    rows, k = x.shape
    out = Tensor(rows, _native.quantized_width(k, in_quads))
    run(executor, rows_step(rows), _native.quantize(Tensor.of(x).view, in_quads, out.view))
    return out


def quantize_rows(executor, x):
    """The instruction's result, and its codes and scales, one for 32."""
    out = quantized(executor, x, in_quads=False)
    groups = np.ascontiguousarray(out.array).view(ACTIVATION_GROUP)
    code_sums = groups["codes"].sum(axis=-1, dtype=np.int32)
    assert (groups["sum"] == code_sums).all()
    assert (groups["int8_start"] == -128 * code_sums).all()
    assert (groups["int4_start"] == -4 * code_sums[..., None]).all()
    return out, groups["codes"].reshape(len(x), -1), groups["scale"]


def quantize_rows_in_quads(executor, x):
    """The instruction's result, its codes, and the scales of 128 that the row's and the shifts give."""
    out = quantized(executor, x, in_quads=True)
    quads = np.ascontiguousarray(out.array[:, :-1]).view(ACTIVATION_QUAD)
    assert (quads["start"] == -8 * quads["codes"].sum(axis=-1, dtype=np.int32)).all()
    assert ((quads["shift"] >= 0) & (quads["shift"] <= MOST_SHIFT)).all()
    return out, quads["codes"].reshape(len(x), -1), out.array[:, -1:] * 2.0 ** quads["shift"]


def uneven_rows(random, rows, k):
    """Every 128 of a row of another size, so that its scales differ."""
    sizes = 10.0 ** random.uniform(-5, 0, (rows, -(-k // 128))).repeat(128, axis=1)[:, :k]
    return (random.normal(size=(rows, k)) * sizes).astype(np.float32)


def product(executor, x, weight, num_outputs, activations):
    y = Tensor(len(x), num_outputs)
    if activations == "int8":
        rows = quantized(executor, x, weight.takes_quads).view
    else:
        rows = Tensor.of(x).view
    linear = _native.linear(rows, weight, 0, 1, y.view, activations == "int8")
    run(executor, rows_step(len(x)), linear)
    return y.array.copy()


def dequantized_rows(executor, x, in_quads):
    _, codes, scales = (quantize_rows_in_quads if in_quads else quantize_rows)(executor, x)
    groups = codes.reshape(*scales.shape, -1).astype(np.float64) * scales[..., None]
    return groups.reshape(len(x), -1)[:, : x.shape[1]]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activations", ["int8", "f32"])
@pytest.mark.parametrize(("n", "k"), SHAPES)
def test_agrees_with_float64(cpu_variant, width, activations, n, k):
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(n * k)
    matrix = quantize(random.normal(size=(n, k)).astype(np.float32), width)
    bias = random.normal(size=n).astype(np.float32)
    weight = pack_quantized(executor, width, matrix, bias=bias)
    exact = matrix.dequantize().astype(np.float64)
    centres = 0 if matrix.centres is None else np.abs(matrix.centres.astype(np.float64)).max()
    for m in (1, 2, 3, 4, 5, 6, 7, 8, 11, 13, 31, 70):
        x = uneven_rows(random, m, k)
        used = (
            dequantized_rows(executor, x, weight.takes_quads)
            if activations == "int8"
            else x.astype(np.float64)
        )
        expected = used @ exact.T + bias
        # A code's share and the centre's may cancel; both are rounded.
        sizes = np.abs(used) @ (np.abs(exact) + 2 * centres).T + np.abs(bias)
        found = product(executor, x, weight, n, activations)
        assert (np.abs(found - expected) <= (k + 4) * EPSILON * sizes).all(), m


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("activations", ["int8", "f32"])
def test_a_row_is_the_same_alone_and_among_others(cpu_variant, width, activations):
    random = np.random.default_rng(0)
    matrix = quantize(random.normal(size=(150, 600)).astype(np.float32), width)
    x = uneven_rows(random, 70, 600)
    executors = [make_executor(cpu_variant, num_threads=threads) for threads in (1, 2, 3)]
    weight = pack_quantized(executors[0], width, matrix)
    alone = np.concatenate(
        [product(executors[0], x[i : i + 1], weight, 150, activations) for i in range(len(x))]
    )
    for executor in executors:
        for m in (2, 3, 4, 5, 6, 7, 8, 13, 25, 70):
            assert np.array_equal(product(executor, x[:m], weight, 150, activations), alone[:m]), m


@pytest.mark.parametrize("width", WIDTHS)
def test_many_rows_are_what_few_are(cpu_variant, width):
    """From 256 rows on threads share rows out, not only panels; a panel is 8 to 17 KB, 70 are two sweeps."""
    random = np.random.default_rng(2)
    n, k = 1112, 1000
    executors = [make_executor(cpu_variant, num_threads=threads) for threads in (1, 2, 3)]
    matrix = quantize(random.normal(size=(n, k)).astype(np.float32), width)
    weight = pack_quantized(executors[0], width, matrix, bias=random.normal(size=n).astype(np.float32))
    x = uneven_rows(random, 301, k)
    few = np.concatenate([product(executors[0], x[i : i + 43], weight, n, "int8") for i in range(0, 301, 43)])
    for executor in executors:
        for m in (256, 259, 301):
            assert np.array_equal(product(executor, x[:m], weight, n, "int8"), few[:m]), m


@pytest.mark.parametrize("width", WIDTHS)
def test_more_panels_than_the_cache_holds_at_once(cpu_variant, width):
    """A panel is 135 to 278 KB here: a piece of four is swept in two to four parts."""
    executor = make_executor(cpu_variant, num_threads=1)
    random = np.random.default_rng(5)
    n, k = 64, 16384
    codes = random.integers(-127, 128, (n, k)).astype(np.int8) if width == "int8" else None
    if codes is None:
        codes = random.integers(0, 16, (n, k)).astype(np.uint8)
    scales = np.ones((n, k // GROUP_SIZES[width]), np.float16)
    matrix = QuantizedMatrix(codes, scales, scales * 2 if width == "int4" else None, k)
    weight = pack_quantized(executor, width, matrix)
    x = random.integers(-1, 2, (17, k)).astype(np.float32)
    x[:, ::128] = 127  # scales of one, and sums below 2^24: every result is exact
    expected = x.astype(np.float64) @ matrix.dequantize().T.astype(np.float64)
    assert np.abs(expected).max() < 2**24
    assert np.array_equal(product(executor, x, weight, n, "int8"), expected)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("signs", [(1, 1), (1, -1), (-1, 1), (-1, -1)])
def test_nothing_saturates(cpu_variant, width, signs):
    """Every code at its end, where 16-bit sums of 8-bit products would overflow."""
    executor = make_executor(cpu_variant)
    n, k = 33, 224
    size = GROUP_SIZES[width]
    one = np.ones((n, -(-k // size)), np.float16)
    k_stored = one.shape[1] * size
    if width == "int8":
        codes = np.full((n, k_stored), signs[0] * 127, np.int8)
        matrix = QuantizedMatrix(codes, one, None, k)
    else:
        code = 15 if signs[0] > 0 else 0
        centres = one * 0 if width == "int4" else None
        matrix = QuantizedMatrix(np.full((n, k_stored), code, np.uint8), one, centres, k)
    weight = pack_quantized(executor, width, matrix)
    for m in (1, 2, 3, 4, 9):
        x = np.full((m, k), signs[1] * 127, np.float32)  # scale 1, codes 127
        assert (product(executor, x, weight, n, "int8") == x @ matrix.dequantize().T).all()


def test_integer_sums_are_exact(cpu_variant):
    """Scales of one: the result is a whole number, whatever the codes."""
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(3)
    n, k = 48, 384
    x = random.integers(-127, 128, (7, k)).astype(np.float32)
    x[:, ::32] = 127  # so that every group's scale is one
    scales, centres = np.ones((n, 12), np.float16), random.integers(-9, 9, (n, 12)).astype(np.float16)
    int8 = QuantizedMatrix(random.integers(-127, 128, (n, k)).astype(np.int8), scales, None, k)
    int4 = QuantizedMatrix(random.integers(0, 16, (n, k)).astype(np.uint8), scales, centres, k)
    symmetric = QuantizedMatrix(int4.codes, scales, None, k)
    large = QuantizedMatrix(int4.codes, scales[:, :3], None, k)
    for width, matrix in zip(WIDTHS, (int8, int4, symmetric, large), strict=True):
        found = product(executor, x, pack_quantized(executor, width, matrix), n, "int8")
        assert np.array_equal(found, x.astype(np.float64) @ matrix.dequantize().T.astype(np.float64))


@pytest.mark.parametrize("k", [1, 16, 31, 32, 33, 48, 100, 128, 129, 300])
def test_rows_are_quantized_to_the_nearest_code(cpu_variant, k):
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(k)
    x = (random.normal(size=(9, k)) * 10.0 ** random.integers(-20, 20, (9, 1))).astype(np.float32)
    x[3] = 0
    _, codes, scales = quantize_rows(executor, x)
    padded = np.zeros((9, -(-k // 128) * 128))
    padded[:, :k] = x
    largest = np.abs(padded.reshape(9, -1, 128)).max(-1).repeat(4, axis=1)[:, : scales.shape[1]]
    assert np.allclose(scales, largest / 127, rtol=1e-6, atol=0)
    groups = padded[:, : codes.shape[1]].reshape(9, -1, 32)
    codes = codes.reshape(groups.shape).astype(np.float64)
    assert (np.abs(codes) <= 127).all()
    assert (np.abs(groups - codes * scales[..., None]) <= 0.501 * scales[..., None]).all()


@pytest.mark.parametrize("k", [1, 16, 33, 100, 128, 129, 300, 1000])
def test_rows_in_quads_are_quantized_to_the_nearest_code_of_a_scale_near_the_best(cpu_variant, k):
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(k)
    num_quads = -(-k // 128)
    sizes = 10.0 ** random.integers(-20, 20, (9, 1)) * 2.0 ** random.integers(-16, 1, (9, num_quads))
    x = (random.normal(size=(9, k)) * sizes.repeat(128, axis=1)[:, :k]).astype(np.float32)
    x[3] = 0
    x[4, 128:256] = 0
    _, codes, scales = quantize_rows_in_quads(executor, x)
    padded = np.zeros((9, num_quads * 128))
    padded[:, :k] = x
    quads = padded.reshape(9, -1, 128)
    largest = np.abs(quads).max(-1)
    least = largest.max(axis=1, keepdims=True) / 127 * 2.0**-MOST_SHIFT
    assert np.allclose(scales.max(axis=1), largest.max(axis=1) / 127, rtol=1e-6, atol=0)
    assert (scales <= np.maximum(2 * largest / 127, least) * (1 + 1e-6)).all()
    codes = codes.reshape(quads.shape).astype(np.float64)
    assert (np.abs(codes) <= 127).all()
    assert (np.abs(quads - codes * scales[..., None]) <= 0.501 * scales[..., None]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_not_finite_stays_visible_in_its_row_alone(cpu_variant, width, bad):
    executor = make_executor(cpu_variant)
    matrix = quantize(np.random.default_rng(0).normal(size=(20, 64)).astype(np.float32), width)
    x = np.ones((3, 64), np.float32)
    x[1, 40] = bad
    found = product(executor, x, pack_quantized(executor, width, matrix), 20, "int8")
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_seen_at_every_place_of_its_groups(cpu_variant, bad):
    executor = make_executor(cpu_variant)
    x = np.random.default_rng(1).normal(size=(128, 256)).astype(np.float32) * np.float32(1e30)
    x[np.arange(128), np.arange(128)] = bad
    _, codes, scales = quantize_rows(executor, x)
    assert np.isnan(scales[:, :4]).all()
    assert np.isfinite(scales[:, 4:]).all()
    assert (codes >= -127).all()
    _, codes, scales = quantize_rows_in_quads(executor, x)
    assert np.isnan(scales).all()
    assert (codes >= -127).all()


@pytest.mark.parametrize("width", WIDTHS)
def test_embedding_rows_are_the_dequantized_ones(cpu_variant, width):
    executor = make_executor(cpu_variant)
    matrix = quantize(np.random.default_rng(0).normal(size=(53, 70)).astype(np.float32), width)
    out = Tensor(53, 70)
    embed = _native.embed(pack_quantized(executor, width, matrix), out.view)
    run(executor, rows_step(53, token_ids=np.arange(53)), embed)
    assert np.array_equal(out.array, matrix.dequantize())


@pytest.mark.parametrize("width", WIDTHS)
def test_several_matrices_side_by_side_give_what_each_gives(cpu_variant, width):
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(1)
    matrices = [quantize(random.normal(size=(n, 48)).astype(np.float32), width) for n in (24, 9, 40)]
    together = pack_quantized(executor, width, *matrices)
    x = random.normal(size=(9, 48)).astype(np.float32)
    y = Tensor(9, 32 + 16 + 48)
    rows = quantized(executor, x, together.takes_quads)
    run(executor, rows_step(9), _native.linear(rows.view, together, 0, 3, y.view, True))
    for matrix, begin in zip(matrices, (0, 32, 48), strict=True):
        n = len(matrix.codes)
        single = product(executor, x, pack_quantized(executor, width, matrix), n, "int8")
        assert np.array_equal(y.array[:, begin : begin + n], single)


def test_groups_of_128_have_a_scale_each(cpu_variant):
    """Also the last one, which is shorter."""
    executor = make_executor(cpu_variant)
    random = np.random.default_rng(7)
    for k in (96, 128, 130, 161, 230, 300, 896):
        num_groups = -(-k // 128)
        codes = random.integers(0, 16, (40, num_groups * 128)).astype(np.uint8)
        codes[:, k:] = 0
        scales = (2.0 ** random.integers(-9, 9, (40, num_groups))).astype(np.float16)
        weight = pack_quantized(executor, "int4_g128", QuantizedMatrix(codes, scales, None, k))
        assert weight.bytes == 48 * (-(-k // 32) * 16 + num_groups * 2)
        values = (codes - 8.0)[:, :k] * scales.astype(np.float64).repeat(128, axis=1)[:, :k]
        one_input = np.eye(k, dtype=np.float32) * 127  # one code of 127, and a scale of one
        for activations in ("int8", "f32"):
            found = product(executor, one_input[:600], weight, 40, activations)
            assert np.array_equal(found, 127 * values.T[:600])


def test_what_does_not_fit_is_refused(cpu_variant):
    executor = make_executor(cpu_variant)
    weight = _native.Weight("int4", [16], 32)
    good = quantize(np.ones((16, 32), np.float32), "int4")
    scales, centres = good.scales.view(np.uint16), good.centres.view(np.uint16)
    large = _native.Weight("int4_g128", [16], 32)
    with pytest.raises(_native.SetupError, match="another shape"):
        large.pack_quantized(0, good.codes, scales, None, executor)
    for codes, scale, centre, message in [
        (good.codes[:9], scales, centres, "another shape"),
        (good.codes, scales[:9], centres, "scales"),
        (good.codes, scales, None, "centres"),
        (good.codes + 16, scales, centres, "four bits"),
    ]:
        with pytest.raises(_native.SetupError, match=message):
            weight.pack_quantized(0, codes, scale, centre, executor)
    with pytest.raises(_native.SetupError, match="packed from their codes"):
        weight.pack(0, np.ones((16, 32), np.float32), "int8", executor)
    plain = _native.Weight("f32", [16], 32)
    with pytest.raises(_native.SetupError, match="only quantized weights"):
        _native.linear(Tensor(1, 10).view, plain, 0, 1, Tensor(1, 16).view, True)
