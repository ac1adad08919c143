import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array

from lexicon.architectures.mlp import mlp
from lexicon.foundations.cross_entropy import CrossEntropy
from lexicon.sparsity import rigl
from lexicon.sparsity.rigl import rewire_by_gradient
from lexicon.sparsity.sparse_from_scratch import sparse_mlp
from lexicon.terminal.bench.claims import rigl_flops
from lexicon.training.momentum import Momentum


def row(network, sparsity, *, static=100.0, growth=20.0, dense=1000.0, formula=120.0):
    """Return a cell and what it measured: the formulas say 100, `formula` and 1000."""
    return (
        {"network": network, "sparsity": sparsity},
        {
            "formula": {"static": 100.0, "RigL": formula, "dense": 1000.0},
            "counted": {"static": static, "RigL": static + growth, "dense": dense},
            "of pictures": {"static": 20.0, "dense": 300.0},
        },
    )


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row("a", 0.9), row("b", 0.9, static=104.9)], "holds"),
        ([row("a", 0.9, static=94.9), row("b", 0.9, growth=27)], "does not hold"),
        ([row("a", 0.9, dense=1051)], "does not hold"),
        ([row("a", 0.9), row("b", 0.9, static=105.1)], "holds only at 90 % sparsity of a"),
        (
            [row("a", 0.9), row("a", 0.98), row("b", 0.9, static=106), row("b", 0.98)],
            "holds only at 90 and 98 % sparsity of a and at 98 % sparsity of b",
        ),
    ],
)
def test_verdicts(rows, verdict):
    assert rigl_flops.judge(rows).verdict == verdict


def test_ratios_and_shares():
    rows = [row("a", 0.8, static=200.0, growth=40.0), row("a", 0.95)]
    finding = rigl_flops.judge(rows)
    assert finding.table == [
        ("a", "80", "0", "0", "2.00", "2.00", "10"),
        ("a", "95", "0", "0", "1.00", "1.00", "20"),
    ]
    assert finding.result == (
        "A training step takes 1.00 to 2.00 times the multiplications and additions (FLOPs) of the "
        "formula with fixed connections, 1.00 to 2.00 times with RigL and 1.00 times if dense. "
        "Without full gradients, which layers with many connections compute because that is "
        "faster, RigL would take 1.00 to 1.17 times."  # (100 + 40) / 120
    )


class Counted(np.ndarray):
    """Adds up the FLOPs of the products it takes part in."""

    flops = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        result = getattr(ufunc, method)(*plain, **kwargs)
        if ufunc.__name__ == "matmul":
            Counted.flops += 2 * result.size * plain[0].shape[-1]
        return result.view(Counted) if isinstance(result, np.ndarray) else result


def step(network, x, labels):
    loss = CrossEntropy()
    loss.forward(network.forward(x), labels)
    network.backward(loss.backward())


# Gathered and full; blocked twice and full; gathered everywhere.
@pytest.mark.parametrize(("sizes", "sparsity"), [([60, 50, 10], 0.9), ([40, 30, 20, 10], 0.7)])
def test_what_is_counted_is_what_runs(monkeypatch, sizes, sparsity):
    cell = {"sizes": sizes, "sparsity": sparsity, "interval": 9, "seed": 3}
    found = rigl_flops.measure(cell)
    rng, samples = np.random.default_rng(3), 32
    mlp(sizes, rng=rng)  # draws first there, too
    network = sparse_mlp(sizes, density=1 - sparsity, rng=rng)
    x = rng.standard_normal((samples, sizes[0]), dtype=np.float32)
    labels = rng.integers(10, size=samples)

    for kind in (csr_array, csc_array):

        def product(self, other, multiply=kind.__matmul__):
            Counted.flops += 2 * self.nnz * other.shape[1]
            return multiply(self, other)

        monkeypatch.setattr(kind, "__matmul__", product)
    for name, ufunc in (("matmul", np.matmul), ("vecdot", np.vecdot)):

        def inner(a, b, out, multiply=ufunc):
            Counted.flops += 2 * out.size * a.shape[-1]
            return multiply(a, b, out=out)

        monkeypatch.setattr(np, name, inner)

    def growth(dy, x, *rest, grow=rigl.gradient_growth):
        return grow(dy.view(Counted), x.view(Counted), *rest).view(np.ndarray)

    monkeypatch.setattr(rigl, "gradient_growth", growth)
    monkeypatch.setattr(Counted, "flops", 0)
    step(network, x, labels)
    static = Counted.flops
    rewire_by_gradient(network, Momentum(network, learning_rate=0.1), x, labels, fraction=0.3)
    update = Counted.flops - static
    assert static == samples * found["counted"]["static"]
    assert (9 * static + update) / 10 == pytest.approx(samples * found["counted"]["RigL"])


def test_by_hand_and_the_first_layers_share():
    found = rigl_flops.measure({"sizes": [60, 50, 10], "sparsity": 0.9, "interval": 9, "seed": 3})
    assert found["counted"]["dense"] == found["formula"]["dense"] == 6 * (3000 + 500)
    # A tenth of 3,500 is 350, and Erdős–Rényi gives 110 to 60 of it.
    assert found["of pictures"] == {"static": 2 * 226, "dense": 2 * 3000}
    assert found["formula"]["static"] == 6 * 350
    assert found["formula"]["RigL"] == pytest.approx((9 * 2100 + 2 * 700 + 7000) / 10)
    # 226 of 3,000 are gathered, 124 of 500 multiplied in full.
    assert found["counted"]["static"] == 6 * 226 + 4 * 124 + 2 * 500
