from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy.optimize import brentq
from scipy.sparse import csr_array
from scipy.stats import entropy

from lexicon.architectures.mlp import mlp
from lexicon.data import load_digits
from lexicon.sparsity.magnitude_prune import magnitude_prune
from lexicon.sparsity.sparse_matrix import csr_bytes, stored_bytes, to_csr
from lexicon.sparsity.sparse_storage import (
    Bitmask,
    Gaps,
    bits_per_position,
    disk_bytes,
    pack_bitmask,
    pack_gaps,
    unpack_bitmask,
    unpack_gaps,
)
from lexicon.training.momentum import Momentum
from lexicon.training.training_loop import train

TYPES = [np.float16, np.float32, np.float64, np.int8, np.int64]
# Mostly zeros, and few distinct values, zero in both signs among them.
elements = st.sampled_from([0.0, 0.0, 0.0, -0.0, 1.0, -2.5, 3.0])


def the_worked_case():
    """Three nonzeros in 2 · 300, the last one far behind the second."""
    dense = np.zeros((2, 300), np.float32)
    dense[0, 1], dense[0, 4], dense[1, 115] = 3.5, 0.5, 1.5
    return dense


def random_sparse(rng, shape, density):
    values = rng.standard_normal(shape, dtype=np.float32)
    return np.where(rng.random(shape) < density, values, np.float32(0))


def test_by_hand_gaps():
    weight = csr_array(the_worked_case())
    packed = pack_gaps(weight)
    # Positions 1, 4 and 415. From 4 to 415 there are 410 zeros: 255 and the filler, then 154.
    assert isinstance(packed, Gaps)
    np.testing.assert_array_equal(packed.values, np.array([3.5, 0.5, 0.0, 1.5], np.float32))
    np.testing.assert_array_equal(packed.gaps, [1, 2, 255, 154])
    assert packed.values.dtype == np.float32
    assert packed.gaps.dtype == np.uint8
    assert packed.shape == (2, 300)
    assert stored_bytes(packed) == 4 * (4 + 1) == 20
    wide = pack_gaps(weight, gap_type=np.uint16)
    np.testing.assert_array_equal(wide.gaps, [1, 2, 410])
    assert stored_bytes(wide) == 3 * (4 + 2) == 18
    assert csr_bytes(3, 2) == 36
    for gaps in (packed, wide):
        np.testing.assert_array_equal(unpack_gaps(gaps).toarray(), the_worked_case())


def test_by_hand_bit_mask():
    packed = pack_bitmask(the_worked_case())
    assert isinstance(packed, Bitmask)
    np.testing.assert_array_equal(packed.values, np.array([3.5, 0.5, 1.5], np.float32))
    # Positions 1 and 4 of the first byte, the first one highest; 415 = 51 · 8 + 7.
    expected = np.zeros(75, np.uint8)
    expected[0], expected[51] = 0b01001000, 0b00000001
    np.testing.assert_array_equal(packed.bits, expected)
    assert stored_bytes(packed) == 3 * 4 + 75 == 87
    np.testing.assert_array_equal(unpack_bitmask(packed), the_worked_case())


def test_a_filler_stands_exactly_where_a_gap_does_not_fit():
    for zeros, expected in [
        (0, [0]),
        (255, [255]),
        (256, [255, 0]),
        (511, [255, 255]),
        (512, [255, 255, 0]),
    ]:
        dense = np.zeros((1, 600), np.float32)
        dense[0, zeros] = 7
        packed = pack_gaps(csr_array(dense))
        np.testing.assert_array_equal(packed.gaps, expected)
        np.testing.assert_array_equal(packed.values, [0] * (len(expected) - 1) + [7])
        np.testing.assert_array_equal(unpack_gaps(packed).toarray(), dense)


@given(arrays(np.float64, array_shapes(min_dims=0, max_dims=4, min_side=0), elements=elements))
def test_bit_mask_round_trip(dense):
    for dtype in TYPES:
        typed = dense.astype(dtype)
        kept = typed.copy()
        packed = pack_bitmask(typed)
        again = unpack_bitmask(packed)
        np.testing.assert_array_equal(again, typed, strict=True)
        np.testing.assert_array_equal(typed, kept, strict=True)
        nnz = np.count_nonzero(typed)
        assert stored_bytes(packed) == nnz * typed.itemsize + -(-typed.size // 8)


@given(
    st.integers(1, 7),
    st.integers(1, 700),
    st.floats(0, 0.02),
    st.sampled_from([np.uint8, np.uint16, np.uint32]),
    st.integers(0, 99),
)
def test_gaps_round_trip(rows, columns, density, gap_type, seed):
    dense = random_sparse(np.random.default_rng(seed), (rows, columns), density)
    for dtype in (np.float32, np.float64):
        weight = csr_array(dense.astype(dtype))
        before = weight.copy()
        packed = pack_gaps(weight, gap_type=gap_type)
        again = unpack_gaps(packed)
        again.check_format(full_check=True)
        assert again.has_canonical_format
        assert packed.gaps.dtype == gap_type
        for part in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(again, part), getattr(weight, part), strict=True)
            np.testing.assert_array_equal(getattr(weight, part), getattr(before, part), strict=True)
        assert again.shape == weight.shape
        fillers = int((packed.values == 0).sum())
        assert (packed.gaps[packed.values == 0] == np.iinfo(gap_type).max).all()
        assert len(packed.gaps) == weight.nnz + fillers
        assert stored_bytes(packed) == len(packed.gaps) * (
            weight.data.itemsize + packed.gaps.itemsize
        )


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 600), (600, 1), (3, 300)])
def test_no_values_no_gaps(shape):
    packed = pack_gaps(csr_array(shape, dtype=np.float32))
    assert stored_bytes(packed) == 0  # what follows the last value is not written
    again = unpack_gaps(packed)
    assert (again.shape, again.nnz, again.dtype) == (shape, 0, np.float32)


def test_gaps_across_empty_rows_in_one_column():
    dense = np.zeros((6, 1), np.float32)
    dense[[1, 5], 0] = 2, np.nan
    packed = pack_gaps(csr_array(dense))
    np.testing.assert_array_equal(packed.gaps, [1, 3])
    np.testing.assert_array_equal(unpack_gaps(packed).toarray(), dense)


def test_nan_and_infinity_are_values_like_any_other():
    dense = np.array([[np.nan, 0, np.inf], [0, -np.inf, 0]], np.float32)
    np.testing.assert_array_equal(unpack_bitmask(pack_bitmask(dense)), dense)
    np.testing.assert_array_equal(unpack_gaps(pack_gaps(csr_array(dense))).toarray(), dense)


def test_positions_beyond_32_bits():
    columns = np.array([3, 2**33], np.int64)
    weight = csr_array((np.ones(2, np.float32), columns, np.array([0, 1, 2])), (2, 2**33 + 1))
    packed = pack_gaps(weight, gap_type=np.uint32)
    again = unpack_gaps(packed)
    np.testing.assert_array_equal(again.indices, columns)
    np.testing.assert_array_equal(again.indptr, [0, 1, 2])
    assert again.indices.dtype == np.int64
    # 2³³ + 1 - 3 - 1 positions remain of row 0, then 2³³ zeros in row 1.
    assert packed.gaps.astype(np.int64).sum() + len(packed.gaps) == 2**33 + 1 + 2**33 + 1
    side = np.int32(100_000)  # squared, that is beyond 32 bits
    far = csr_array((np.ones(1, np.float32), ([side - 1], [side - 1])), (side, side))
    assert unpack_gaps(pack_gaps(far, gap_type=np.uint32))[side - 1, side - 1] == 1


@pytest.mark.parametrize("density", [1.0, 0.5, 0.1, 0.03125, 0.01, 1e-3, 1e-9])
def test_closed_forms(density):
    bits = bits_per_position(density)
    assert list(bits) == ["dense", "CSR", "gaps", "bit mask", "floor"]
    assert bits["dense"] == 32
    assert bits["CSR"] == pytest.approx(64 * density, rel=1e-12)
    assert bits["bit mask"] == pytest.approx(32 * density + 1, rel=1e-12)
    # scipy's entropy of a coin is an oracle for that of a position.
    coin = entropy([density, 1 - density], base=2)
    assert bits["floor"] == pytest.approx(32 * density + coin, rel=1e-9)
    q = (1 - density) ** 256
    assert bits["gaps"] == pytest.approx(40 * density / (1 - q), rel=1e-6)
    small = bits_per_position(density, value_bits=8, index_bits=16, gap_bits=4)
    assert small["dense"] == 8
    assert small["CSR"] == pytest.approx(24 * density, rel=1e-12)
    assert small["bit mask"] == pytest.approx(8 * density + 1, rel=1e-12)
    assert small["gaps"] == pytest.approx(12 * density / (1 - (1 - density) ** 16), rel=1e-6)
    assert small["floor"] == pytest.approx(8 * density + coin, rel=1e-9)


@pytest.mark.parametrize("density", [0.5, 0.1, 0.03, 0.01, 0.003])
def test_closed_forms_against_real_arrays(rng, density):
    shape = (1000, 1000)
    dense = random_sparse(rng, shape, density)
    nnz, bits = np.count_nonzero(dense), bits_per_position(np.count_nonzero(dense) / dense.size)
    assert stored_bytes(pack_bitmask(dense)) * 8 == pytest.approx(bits["bit mask"] * dense.size)
    csr = stored_bytes(to_csr(dense))
    assert csr == csr_bytes(nnz, 1000)
    assert (csr - 1001 * 4) * 8 == pytest.approx(bits["CSR"] * dense.size)
    gaps = stored_bytes(pack_gaps(csr_array(dense)))
    assert gaps * 8 == pytest.approx(bits["gaps"] * dense.size, rel=0.01)


def test_where_each_format_wins():
    def crossing(a, b, low, high):
        def difference(density):
            bits = bits_per_position(density)
            return bits[a] - bits[b]

        return brentq(difference, low, high)

    assert crossing("bit mask", "CSR", 1e-3, 1) == pytest.approx(1 / 32)
    assert crossing("bit mask", "gaps", 1e-3, 1) == pytest.approx(1 / 8)
    assert crossing("bit mask", "dense", 1e-3, 1) == pytest.approx(31 / 32)
    assert crossing("gaps", "dense", 1e-3, 1) == pytest.approx(4 / 5)
    assert crossing("CSR", "dense", 1e-3, 1) == pytest.approx(1 / 2)
    # Where 16 bits beat 8: 40 d / (1 - q) = 48 d, so q = 1/6. The page's 0.70 %.
    assert round(1 - (1 / 6) ** (1 / 256), 4) == 0.007
    wide = [bits_per_position(d, gap_bits=16)["gaps"] for d in (0.0069, 0.0071)]
    narrow = [bits_per_position(d)["gaps"] for d in (0.0069, 0.0071)]
    assert wide[0] < narrow[0]
    assert wide[1] > narrow[1]
    # The page's 0.38 %: (1 - d)²⁵⁶ = 3/8.
    exact = 1 - (3 / 8) ** (1 / 256)
    assert round(exact, 4) == 0.0038
    assert crossing("CSR", "gaps", 1e-3, 0.02) == pytest.approx(exact)
    # The limit of no values at all: nothing but fillers, 40 / 256 of a bit a position.
    assert bits_per_position(1e-9)["gaps"] == pytest.approx(40 / 256, rel=1e-5)


def test_what_a_position_is_worth():
    half = bits_per_position(0.5)
    # A fair coin is worth its whole bit.
    assert half["floor"] == pytest.approx(half["bit mask"], rel=1e-12)
    assert round(bits_per_position(0.01)["floor"] - 0.32, 2) == 0.08


@given(st.floats(1e-9, 1))
def test_nothing_is_below_the_floor(density):
    bits = bits_per_position(density)
    floor = bits.pop("floor")
    assert floor <= min(bits.values()) * (1 + 1e-12)


def test_a_file_is_what_numpy_would_write_and_reads_back(rng):
    dense = random_sparse(rng, (40, 50), 0.2)
    packed = pack_bitmask(dense)
    for compressed, save in ((False, np.savez), (True, np.savez_compressed)):
        buffer = BytesIO()
        save(buffer, **packed._asdict())
        assert disk_bytes(packed._asdict(), compressed=compressed) == len(buffer.getvalue())
        buffer.seek(0)
        with np.load(buffer) as file:
            again = unpack_bitmask(Bitmask(file["values"], file["bits"], tuple(file["shape"])))
        np.testing.assert_array_equal(again, dense, strict=True)
    plain = disk_bytes(packed._asdict(), compressed=False)
    assert stored_bytes(packed) + 3 * 200 < plain < stored_bytes(packed) + 3 * 300
    more = zipped({"a": np.zeros(0), "b": np.zeros(0)}) - zipped({"a": np.zeros(0)})
    assert 150 < more < 250  # the page's 200 for each array


# What is zipped below is held to bounds, not to bytes: zlib and zlib-ng, from level 4 to 9, differ
# by up to 5 %, and by 15 % where most of the array is zeros of either sign.
def zipped(arrays):
    return disk_bytes(arrays, compressed=True)


def trained_layer():
    rng = np.random.default_rng(0)
    network = mlp([64, 512, 10], rng=rng)
    optimizer = Momentum(network, learning_rate=0.05)
    train(network, optimizer, *load_digits(), epochs=3, batch_size=64, rng=rng)
    return network.layers[0]


def test_claim_sparse_models_are_smaller_in_memory_and_on_disk():
    # It holds where the packed form takes fewer bytes than the dense array, plain or zipped.
    layer = trained_layer()
    memory, files = {}, {}
    for sparsity in (0.0, 0.1, 0.3, 0.5, 0.9, 0.95, 0.98, 0.99, 0.998):
        sparse = magnitude_prune(layer, sparsity).weight
        dense = sparse.toarray()
        packed = {"CSR": to_csr(dense), "bit mask": pack_bitmask(dense), "gaps": pack_gaps(sparse)}
        memory[sparsity] = {name: stored_bytes(p) / dense.nbytes for name, p in packed.items()}
        alone = zipped({"weight": dense})
        files[sparsity] = {name: zipped(p._asdict()) / alone for name, p in packed.items()}
    smaller = {
        name: [s for s, size in memory.items() if size[name] < 1]
        for name in ("CSR", "bit mask", "gaps")
    }
    assert smaller["CSR"] == [0.9, 0.95, 0.98, 0.99, 0.998]
    assert smaller["gaps"] == [0.3, 0.5, 0.9, 0.95, 0.98, 0.99, 0.998]
    assert smaller["bit mask"] == [0.1, 0.3, 0.5, 0.9, 0.95, 0.98, 0.99, 0.998]
    best = {s: min(size, key=size.get) for s, size in memory.items()}
    assert best[0.5] == "bit mask"
    assert {best[s] for s in (0.9, 0.95, 0.98, 0.99, 0.998)} == {"gaps"}
    assert memory[0.98]["bit mask"] < memory[0.98]["CSR"]
    assert memory[0.99]["CSR"] < memory[0.99]["bit mask"]
    # A tenth of the values: an eighth of the bytes at best, a fifth in CSR.
    assert 0.12 < memory[0.9]["gaps"] < 0.13
    assert 0.2 < memory[0.9]["CSR"] < 0.22
    # Against a zipped dense array the gain is smaller, and headers end it.
    assert 0.75 < files[0.9]["gaps"] < 0.88
    assert 0.75 < files[0.95]["gaps"] < 0.88
    assert min(files[0.998].values()) > 1.1


def test_pitfall_zipped_zeros_come_back_and_mantissas_stay(rng):
    dense = random_sparse(rng, (500, 500), 0.05)
    file = zipped({"weight": dense})
    assert 12 < dense.nbytes / file < 15  # not 20, and as gaps it is 18
    assert 16.5 < dense.nbytes / zipped(pack_gaps(csr_array(dense))._asdict()) < 19.5
    assert unpack_bitmask(pack_bitmask(dense)).nbytes == dense.nbytes == 10**6
    full = rng.standard_normal((500, 500), dtype=np.float32)
    assert 0.88 < zipped({"weight": full}) / full.nbytes < 0.98
    # Sixteen values instead of a million are another matter: 4 bits each, and DEFLATE finds them.
    step = 2.001 * np.abs(full).max() / 16
    shared = (np.floor(full / step) + 0.5) * step
    assert len(np.unique(shared)) == 16
    assert zipped({"weight": shared.astype(np.float32)}) < 0.22 * full.nbytes


def test_pitfall_a_product_with_the_mask_leaves_negative_zeros(rng):
    values, mask = rng.standard_normal((500, 500), dtype=np.float32), rng.random((500, 500)) < 0.05
    product = values * mask
    assert np.signbit(product[product == 0]).mean() == pytest.approx(0.5, abs=0.01)
    clean = product + np.float32(0)
    np.testing.assert_array_equal(clean, product)
    assert not np.signbit(clean[clean == 0]).any()
    assert 1.4 < zipped({"weight": product}) / zipped({"weight": clean}) < 2.2
    np.testing.assert_array_equal(pack_bitmask(product).bits, pack_bitmask(clean).bits)
    assert not np.signbit(unpack_bitmask(pack_bitmask(np.array([-0.0, 1.0])))[0])


def test_zipping_does_not_stop_at_the_floor_for_incompressible_values(rng):
    # The floor takes 32 bits for a value; DEFLATE finds that exponents repeat.
    dense = random_sparse(rng, (500, 500), 0.05)
    floor = bits_per_position(np.count_nonzero(dense) / dense.size)["floor"] * dense.size / 8
    assert floor < stored_bytes(pack_gaps(csr_array(dense)))
    assert zipped(pack_gaps(csr_array(dense))._asdict()) < floor


def test_pitfall_a_lost_filler_shifts_all_that_follows():
    packed = pack_gaps(csr_array(the_worked_case()))
    there = packed.values != 0
    lost = Gaps(packed.values[there], packed.gaps[there], packed.shape)
    assert unpack_gaps(lost).toarray()[0, 159] == 1.5  # 256 positions too early
    assert unpack_gaps(packed).toarray()[1, 115] == 1.5
    # The same happens when the position is cast to the small type.
    positions = np.flatnonzero(the_worked_case())
    cast = np.diff(positions, prepend=-1).astype(np.int64) - 1
    np.testing.assert_array_equal(cast.astype(np.uint8), lost.gaps)


def test_pitfall_counting_values_only():
    # 90 % of the weights gone, "ten times smaller": not in any of the formats.
    bits = bits_per_position(0.1)
    ratio = {name: round(32 / b, 1) for name, b in bits.items()}
    assert ratio == {"dense": 1.0, "CSR": 5.0, "gaps": 8.0, "bit mask": 7.6, "floor": 8.7}
    # The smaller the values, the more the positions weigh: int8 gains a factor of 2 to 5.
    small = bits_per_position(0.1, value_bits=8)
    ratio = {name: round(8 / b, 1) for name, b in small.items()}
    assert ratio == {"dense": 1.0, "CSR": 2.0, "gaps": 5.0, "bit mask": 4.4, "floor": 6.3}


def test_bad_input():
    for dense in (np.ones((2, 2), bool), np.array([["a"]]), np.array([None])):
        with pytest.raises(TypeError, match="dense must hold numbers, got"):
            pack_bitmask(dense)
    packed = pack_bitmask(np.array([[1.0, 0, 2.0, 0, 3.0]]))
    for bits in (packed.bits[:0], np.zeros(2, np.uint8), packed.bits[None]):
        with pytest.raises(ValueError, match="packed must have 1 bytes of bits"):
            unpack_bitmask(packed._replace(bits=bits))
    for values in (packed.values[:2], np.ones(4), packed.values[None]):
        with pytest.raises(ValueError, match="packed must have 3 values"):
            unpack_bitmask(packed._replace(values=values))

    weight = csr_array(the_worked_case())
    with pytest.raises(TypeError, match="weight must be a csr_array, got ndarray"):
        pack_gaps(weight.toarray())
    for gap_type in (np.int8, np.uint64, np.float32):
        with pytest.raises(TypeError, match="gap_type must be uint8, uint16 or uint32, got"):
            pack_gaps(weight, gap_type=gap_type)
    with pytest.raises(ValueError, match="weight must be a canonical matrix"):
        pack_gaps(csr_array(np.ones(3)))
    twice = csr_array((np.ones(2), np.array([1, 1]), np.array([0, 2])), (1, 3))
    unsorted = csr_array((np.ones(2), np.array([2, 1]), np.array([0, 2])), (1, 3))
    for wrong in (twice, unsorted):
        with pytest.raises(ValueError, match="weight must be a canonical matrix"):
            pack_gaps(wrong)
    zero = csr_array((np.array([1.0, 0.0]), np.array([0, 2]), np.array([0, 2])), (1, 3))
    with pytest.raises(ValueError, match="weight must not store zeros"):
        pack_gaps(zero)
    assert zero.nnz == 2
    # Position 2⁶⁴ + 5 would come back as 5.
    far = csr_array((np.ones(1), np.array([5]), np.array([0, 0, 0, 0, 0, 1])), (5, 2**62))
    with pytest.raises(ValueError, match="weight must have fewer than 2⁶³ positions, got"):
        pack_gaps(far)

    gaps = pack_gaps(weight)
    with pytest.raises(ValueError, match=r"packed must have as many gaps as values, got \(3,\)"):
        unpack_gaps(gaps._replace(gaps=gaps.gaps[:3]))
    with pytest.raises(ValueError, match="packed must have as many gaps as values"):
        unpack_gaps(gaps._replace(values=gaps.values[None], gaps=gaps.gaps[None]))
    with pytest.raises(ValueError, match="packed must end before position 415, got 415"):
        unpack_gaps(gaps._replace(shape=(5, 83)))
    assert unpack_gaps(gaps._replace(shape=(2, 208))).nnz == 3  # 416 positions: the last one fits

    for density in (0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"density must be in \(0, 1\]"):
            bits_per_position(density)
    for name in ("value_bits", "index_bits", "gap_bits"):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            bits_per_position(0.5, **{name: 0})
    with pytest.raises(ValueError, match="arrays must hold at least one array"):
        disk_bytes({}, compressed=True)
    for name in ("file", "allow_pickle"):  # numpy would lose the second without a word
        with pytest.raises(ValueError, match="none called file or allow_pickle, got"):
            disk_bytes({name: np.ones(3)}, compressed=False)
