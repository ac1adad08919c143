"""The page *Measured*: every sentence on it holds for the rows beside it.

What holds of the page *Criteria compared* stands in `test_criteria`.
"""

import json
import re
from pathlib import Path

import pytest

from lexicon.terminal.bench import plot, tables
from lexicon.terminal.bench.accuracy import summarise

DOCS = Path(__file__).parent.parent / "docs"
NAMES = ("steps", "gradient", "structures", "activations", "attention", "scale", "accuracy")
PAGES = {"measured.md": NAMES, "criteria.md": ("criteria",)}


def rows(name):
    return json.loads((DOCS / "measured" / f"{name}.json").read_text(encoding="utf-8"))


def test_the_pages_show_every_measurement_and_no_other():
    for name, measurements in PAGES.items():
        page = (DOCS / name).read_text(encoding="utf-8")
        assert tuple(re.findall(r"<!-- measured: (\w+) \|", page)) == measurements
    assert {path.name for path in (DOCS / "measured").iterdir() if path.is_file()} == {
        *(f"{name}.json" for measurements in PAGES.values() for name in measurements),
        "accuracy-fashion-mnist.jsonl",
        "criteria.jsonl",
    }


@pytest.mark.parametrize("name", [name for names in PAGES.values() for name in names])
def test_every_row_says_where_and_how_it_was_made(name):
    for row in rows(name):
        assert row["command"].startswith("lexicon bench")
        assert re.fullmatch(r".+, \d+ cores, \w+", row["machine"])
        assert re.fullmatch(r"Python .+, NumPy .+, SciPy .+, .*blas.*", row["versions"])
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", row["date"])
    assert len({row["command"] for row in rows(name)}) == 1
    assert plot.svg(name, rows(name)).startswith("<svg")
    assert tables.markdown(name, rows(name)).count("\n") > 3


def test_steps_as_the_page_says():
    steps = [row for row in rows("steps") if row["phase"] == "step"]
    assert {(r["width"], r["batch"], r["threads"]) for r in steps} == {(1000, 128, 1)}
    assert steps[0]["rounds"] >= 5
    dense = steps[0]
    by = {(row["contestant"], row["sparsity"]): row for row in steps}
    sparsities = sorted({row["sparsity"] for row in steps} - {0.0})
    assert {0.8, 0.9, 0.95, 0.98, 0.99} <= set(sparsities)
    crossing = tables.crossings(rows("steps"))
    for sparsity in sparsities:
        masked, csr, equal = (by[name, sparsity] for name in ("masked", "csr", "csr, equal rows"))
        assert masked["speedup_vs_dense"] < 1  # a mask saves nothing
        assert masked["weight_bytes"] > dense["weight_bytes"]
        # FLOPs and bytes pay before seconds do; equal rows are no slower.
        assert csr["flops_per_step"] < dense["flops_per_step"]
        assert csr["weight_bytes"] < dense["weight_bytes"]
        assert equal["speedup_vs_dense"] > 0.97 * csr["speedup_vs_dense"]
        flops = dense["flops_per_step"] / csr["flops_per_step"]
        assert csr["speedup_vs_dense"] < flops
    for verdict in crossing.values():
        assert re.fullmatch(r"faster than dense from [789]\d\.\d % sparsity on", verdict)
    assert by["csr", 0.8]["flops_per_step"] > 0.4 * dense["flops_per_step"]  # not 20 %
    assert 99 < dense["flops_per_step"] / by["csr", 0.99]["flops_per_step"] < 101
    assert 7.5 < by["csr", 0.99]["speedup_vs_dense"] < 9
    assert 9 < by["csr, equal rows", 0.99]["speedup_vs_dense"] < 11
    speedups = [by["csr", sparsity]["speedup_vs_dense"] for sparsity in sparsities]
    assert speedups == sorted(speedups)


def test_the_rule_takes_the_faster_way_on_both_sides():
    gradient = rows("gradient")
    for one, two in zip(gradient[::2], gradient[1::2], strict=True):
        chosen, other = (one, two) if one["chosen"] else (two, one)
        # Near the crossing the two are as good; elsewhere the chosen one is the faster.
        assert chosen["median_s"] < 1.15 * other["median_s"]
    for pattern in ("random", "equal rows"):
        chosen = [r["contestant"] for r in gradient if r["pattern"] == pattern and r["chosen"]]
        assert (chosen[0], chosen[-1]) == ("gathered", "blocked")


def test_storages_as_the_page_says():
    forward = [row for row in rows("structures") if row["phase"] == "forward"]
    assert {(r["width"], r["batch"], r["threads"]) for r in forward} == {(1024, 128, 1)}
    dense = forward[0]
    by = {(row["contestant"], row["sparsity"]): row for row in forward}
    speed = {key: row["speedup_vs_dense"] for key, row in by.items()}
    shares = sorted({row["sparsity"] for row in forward} - {0.0})
    assert shares == [0.5, 0.75, 0.875, 0.9375, 0.96875]
    for sparsity in shares:
        smaller = speed["smaller dense", sparsity]
        assert smaller == pytest.approx(1 / (1 - sparsity), rel=0.1)
        assert 1 < speed["blocks 16 × 16", sparsity] < smaller
        tiles = speed["blocks 4 × 4", sparsity] / speed["csr", sparsity]
        assert (tiles > 1.1, 0.95 < tiles < 1.05, tiles < 0.7) == (
            sparsity in (0.5, 0.75),
            sparsity == 0.875,
            sparsity > 0.9,
        )
        own = {name: value for (name, share), value in speed.items() if share == sparsity}
        assert ":" in min(own, key=own.get)
    assert 4.5 < 1 / speed["2:4", 0.5] < 5
    assert 0.5 < by["2:4", 0.5]["weight_bytes"] / dense["weight_bytes"] < 0.55


def test_activations_as_the_page_says():
    found = {(r["batch"], r["active"], r["contestant"]): r for r in rows("activations")}
    assert {(r["width"], r["threads"]) for r in found.values()} == {(1000, 1)}
    for (batch, share, way), row in found.items():
        seconds, dense = row["median_s"], found[batch, share, "dense"]["median_s"]
        if way == "csr":
            assert (seconds < 0.9 * dense) == (batch == 128 and share <= 0.1)
        if batch == 1 and way == "finding":
            assert seconds > 0.75 * dense
        if way == "choosing":
            assert 0.25 < seconds / dense < 0.5


def test_attention_as_the_page_says():
    found = {(r["contestant"], r["tokens"]): r for r in rows("attention")}
    about = {(r["features"], r["window"], r["threads"], r["limit_bytes"]) for r in found.values()}
    assert about == {(64, 64, 1, 3e9)}
    lengths = sorted({tokens for _, tokens in found})
    assert lengths == [256 * 2**n for n in range(8)]
    for tokens in lengths:
        dense, near, strided = (
            found[name, tokens] for name in ("dense", "local", "local + strided")
        )
        if tokens == lengths[-1]:
            assert dense["peak_bytes"] is None
            continue
        assert (near["median_s"] < dense["median_s"]) == (tokens >= 512)
        assert near["median_s"] < strided["median_s"] < 4 * near["median_s"]
        if tokens >= 2048:  # the next, of twice the text
            longer = {name: found[name, 2 * tokens] for name in ("local", "local + strided")}
            assert 1.9 < longer["local"]["peak_bytes"] / near["peak_bytes"] < 2.1
            assert longer["local + strided"]["peak_bytes"] / strided["peak_bytes"] < 2.5
            if 2 * tokens < lengths[-1]:
                more = found["dense", 2 * tokens]["peak_bytes"] / dense["peak_bytes"]
                assert 3.8 < more < 4.1
    first, last = ((found["dense", n], found["local", n]) for n in (256, 16_384))
    assert first[0]["peak_bytes"] == pytest.approx(first[1]["peak_bytes"], rel=0.1)
    assert 1.9 < first[1]["median_s"] / first[0]["median_s"] < 2.1
    assert 20 < last[0]["median_s"] / last[1]["median_s"] < 25
    assert 30 < last[0]["peak_bytes"] / last[1]["peak_bytes"] < 40


def test_cost_grows_with_connections():
    scale = sorted(rows("scale"), key=lambda row: row["connections"])
    assert scale[0]["neurons"] <= 10_000
    assert scale[-1]["neurons"] > 1_000_000
    first, last = scale[0], scale[-1]
    for key in ("setup_s", "step_s", "rewire_s"):
        growth = (last[key] / first[key]) / (last["connections"] / first["connections"])
        assert 0.2 < growth < 5, key
    for row in scale:
        assert row["batch"] == 128
        # The same memory after the last rewiring as after the first, up to what a system rounds.
        assert abs(row["rewired_mb"][1] - row["rewired_mb"][0]) < 0.1 * row["peak_mb"]


def test_accuracy_is_that_of_the_trainings_beside_it():
    kept = DOCS / "measured" / "accuracy-fashion-mnist.jsonl"
    lines = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]
    trainings = [line["cell"] | line["result"] for line in lines]
    summary = {(r["contestant"], r["sparsity"]): r for r in rows("accuracy")}
    found = {(r["contestant"], r["sparsity"]): r for r in summarise(trainings, 0.88)}
    assert found.keys() == summary.keys()
    for key, row in found.items():
        assert row["accuracy"] == pytest.approx(summary[key]["accuracy"], abs=1e-12)
        assert row["accuracy_std"] == pytest.approx(summary[key]["accuracy_std"], abs=1e-12)
        assert row["seeds"] >= 3
    assert {t["data"] for t in trainings} == {"fashion-mnist"}
    assert len({t["epochs"] for t in trainings}) == 1
    dense = summary["dense", 0.0]
    leads = []
    for sparsity in (0.9, 0.955, 0.98, 0.99):
        static, rewired = summary["static", sparsity], summary["rewired", sparsity]
        leads.append(rewired["accuracy"] - static["accuracy"])
        for sparse in (static, rewired):
            assert dense["accuracy"] - 0.04 < sparse["accuracy"] < dense["accuracy"]
            assert sparse["seconds"] < dense["seconds"]
        if sparsity > 0.9:
            assert static["weight_bytes"] < 0.1 * dense["weight_bytes"]
    assert 0 < leads[0] < leads[-1]
    rewired = summary["rewired", 0.955]
    assert rewired["accuracy"] >= 0.89
    assert rewired["connections"] == round(0.045 * 2_794_000)
