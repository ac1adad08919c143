"""`lexicon bench` and the sweeps behind it: what they report, refuse, keep and continue."""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import psutil
import pytest

from lexicon.sparsity.csr_layer import CSRLinear
from lexicon.sparsity.global_prune import layer_masks
from lexicon.sparsity.optimal_brain_surgeon import obd_scores
from lexicon.sparsity.sparse_attention import SparseAttention, blocks
from lexicon.terminal.bench import (
    accuracy,
    activations,
    attention,
    criteria,
    gradient,
    machine,
    plot,
    scale,
    steps,
    structures,
    sweep,
    tables,
    turns,
)

WAIT = 120


def lexicon(*arguments, exit_code=0, cwd=None):
    environment = {**os.environ, "COLUMNS": "80"}
    command = [sys.executable, "-c", "from lexicon.terminal.commands import main; main()"]
    done = subprocess.run(
        [*command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=WAIT,
        env=environment,
        cwd=cwd,
        check=False,
    )
    assert done.returncode == exit_code, done.stderr
    return done


@pytest.fixture(scope="module")
def step_rows():
    return steps.measure_steps(
        [0.8, 0.98], width=60, batch=8, threads=1, rounds=3, after_round=lambda: None
    )


def test_steps_name_every_contestant_sparsity_and_phase(step_rows):
    contestants = [("dense", 0.0)]
    for sparsity in (0.8, 0.98):
        contestants += [(name, sparsity) for name in ("masked", "csr", "csr, equal rows")]
    assert [(row["contestant"], row["sparsity"], row["phase"]) for row in step_rows] == [
        (*contestant, phase)
        for contestant in contestants
        for phase in ("step", "forward", "backward", "update")
    ]
    for row in step_rows:
        assert 0 < row["min_s"] <= row["median_s"] <= row["max_s"]
        assert (row["threads"], row["width"], row["batch"], row["rounds"]) == (1, 60, 8, 3)
        assert row["machine"]
        assert "NumPy" in row["versions"]
        dense = next(r for r in step_rows if r["phase"] == row["phase"])
        assert row["speedup_vs_dense"] == dense["median_s"] / row["median_s"]
    for phases in zip(*[iter(step_rows)] * 4, strict=True):
        step, *parts = (row["min_s"] for row in phases)
        assert step >= sum(parts) * 0.999  # a step is its three phases, and nothing else


def test_bytes_and_flops_of_the_steps_are_counted(step_rows):
    weights, biases = 784 * 60 + 2 * 60 * 60 + 60 * 10, 3 * 60 + 10
    found = {(r["contestant"], r["sparsity"]): r for r in step_rows if r["phase"] == "step"}
    assert found["dense", 0.0]["weight_bytes"] == 4 * (weights + biases)
    assert found["dense", 0.0]["flops_per_step"] == 8 * 6 * weights
    assert found["masked", 0.8]["weight_bytes"] == 5 * weights + 4 * biases
    assert found["masked", 0.8]["flops_per_step"] == 8 * 6 * weights
    connections = 47040 // 5 + 2 * 720 + 120
    indptr = 4 * (3 * 61 + 11)
    assert found["csr", 0.8]["weight_bytes"] == 8 * connections + 4 * biases + indptr
    # At 20 % density the gradient is multiplied in blocks, in full.
    assert found["csr", 0.8]["flops_per_step"] == 8 * (4 * connections + 2 * weights)
    sparse = round(0.02 * 47040) + 2 * 72 + 12
    assert found["csr", 0.98]["flops_per_step"] == 8 * 6 * sparse


def test_contestants_have_the_connections_they_say():
    rng = np.random.default_rng(0)
    for name, layer in steps._LAYERS.items():
        built = layer((40, 50), 0.9, 2, rng)
        if name == "masked":
            assert built.mask.sum() == 200
            np.testing.assert_array_equal(built.params["weight"] != 0, built.mask)
        else:
            assert built.weight.nnz == 200
            assert built.threads == 2
        if name == "csr, equal rows":
            assert (np.diff(built.weight.indptr) == 5).all()


def test_contestants_are_timed_in_turns(monkeypatch):
    calls = []

    def step(network, *_):
        calls.append(network)
        return 1.0, 0.5, 0.3, 0.2

    monkeypatch.setattr(steps, "_step", step)
    rounds = []
    steps.measure_steps(
        [0.9], width=20, batch=2, threads=1, rounds=3, after_round=lambda: rounds.append(len(calls))
    )
    turn = calls[:8:2]
    assert len(set(map(id, turn))) == 4
    # Each turn is two steps; two rounds warm up, three count.
    assert calls == [network for network in turn for _ in range(2)] * 5
    assert rounds == [8, 16, 24, 32, 40]


def test_warming_up_does_not_count(monkeypatch):
    times = iter([9.0] * 16 + [9.0, 1.0, 9.0, 4.0, 9.0, 2.0, 9.0, 8.0] * 3)
    monkeypatch.setattr(steps, "_step", lambda *_: (next(times),) * 4)
    rows = steps.measure_steps(
        [0.9], width=20, batch=2, threads=1, rounds=3, after_round=lambda: None
    )
    assert [row["median_s"] for row in rows[::4]] == [1, 4, 2, 8]
    assert [row["speedup_vs_dense"] for row in rows[::4]] == [1, 0.25, 0.5, 0.125]
    assert max(row["max_s"] for row in rows) == 8


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_reach_blas_and_the_layers(threads, monkeypatch):
    seen = []

    def step(network, *_):
        from threadpoolctl import threadpool_info

        seen.append({pool["num_threads"] for pool in threadpool_info()})
        seen.append({layer.threads for layer in network.layers if isinstance(layer, CSRLinear)})
        return 1.0, 1.0, 1.0, 1.0

    monkeypatch.setattr(steps, "_step", step)
    steps.measure_steps(
        [0.9], width=20, batch=2, threads=threads, rounds=1, after_round=lambda: None
    )
    assert all(found <= {threads} for found in seen)
    assert {threads} in seen[1::2]


def test_a_width_that_would_not_fit_is_refused_and_one_that_would_is_named(monkeypatch):
    free = 4 * 10**9
    memory = type("Memory", (), {"available": free})
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
    with pytest.raises(
        machine.TooLargeError, match=r"width 100,000 needs about [\d,.]+ GB and 4.0 GB are free"
    ) as refusal:
        steps.measure_steps(
            [0.9], width=100_000, batch=128, threads=1, rounds=1, after_round=lambda: None
        )
    width = int(str(refusal.value).split("width ")[-1].split()[0].replace(",", ""))
    # 12 bytes a weight for the dense network, 13 for the masked one and some for two sparse ones.
    assert 0.7 * free < 28 * 2 * width**2 < free
    with pytest.raises(machine.TooLargeError, match="a network of 10,000,000 neurons needs about"):
        scale.measure_scale(10_000_000, epsilon=5, batch=128, threads=1, rounds=1, rewirings=1)
    with pytest.raises(
        machine.TooLargeError, match=r"30 trainings at once needs about .* GB .*; 6 would fit"
    ):
        accuracy.measure_accuracy(
            "fashion-mnist", contestants=[], sparsities=[], seeds=1, epochs=1, jobs=30,
            cluster=None, results=Path("never"), after_cell=lambda: None,
        )  # fmt: skip
    with pytest.raises(machine.TooLargeError, match="width 200,000 needs"):
        gradient.measure_gradient(
            width=200_000, batch=128, threads=1, rounds=1, after_density=lambda: None
        )


@pytest.mark.parametrize(("free", "fits"), [(0, 0), (3, 3), (99, 99), (12_345, 12_000)])
def test_the_largest_that_fits_to_two_digits(free, fits):
    assert machine.largest_that_fits(lambda size: size, free) == fits


def test_peak_memory_is_that_of_the_process():
    before = machine.peak_rss()
    held = psutil.Process().memory_info().rss
    assert 0.9 * held <= before < 40 * held
    ones = np.ones(40_000_000 + before // 8)
    assert machine.peak_rss() > before + 0.9 * 8 * 40_000_000
    assert ones[0] == 1


@pytest.fixture(scope="module")
def gradient_rows():
    return gradient.measure_gradient(
        width=100, batch=8, threads=1, rounds=2, after_density=lambda: None
    )


def test_gradient_stands_on_both_sides_of_each_crossing(gradient_rows):
    for pattern, crossing in (("random", 0.08), ("equal rows", 0.14)):
        own = [row for row in gradient_rows if row["pattern"] == pattern]
        assert [row["density"] for row in own[::2]] == list(gradient.DENSITIES)
        for one, two in zip(own[::2], own[1::2], strict=True):
            assert (one["contestant"], two["contestant"]) == ("gathered", "blocked")
            assert one["chosen"] is (one["density"] <= crossing)
            assert two["chosen"] is not one["chosen"]
            assert 0 < one["min_s"] <= one["median_s"] <= one["max_s"]
        assert own[0]["density"] < crossing < own[-1]["density"]


def test_scale_reports_a_whole_life_in_a_process_of_its_own():
    done = lexicon(
        "bench",
        "scale",
        "--neurons",
        300,
        "--neurons",
        3000,
        "--rounds",
        2,
        "--batch",
        16,
        "--json",
    )
    small, large = json.loads(done.stdout)
    assert (small["neurons"], large["neurons"]) == (300, 3000)
    assert small["connections"] == 5 * (884 + 200 + 200) + 5 * 100 - 5 * 100 + 5 * 110 - 0
    for row in (small, large):
        assert set(row) >= {
            "neurons", "connections", "setup_s", "step_s", "rewire_s", "peak_mb", "data_mb"
        }  # fmt: skip
        assert min(row["setup_s"], row["step_s"], row["rewire_s"]) > 0
        assert row["step_min_s"] <= row["step_s"] <= row["step_max_s"]
        assert 30 < row["data_mb"] <= row["peak_mb"] < 1000
        assert len(row["rewired_mb"]) == 2
    assert "process" not in done.stderr


def test_bench_prints_tables_that_fit_and_writes_plots(tmp_path):
    picture = tmp_path / "steps.svg"
    done = lexicon("bench", "--width", 50, "--batch", 8, "--rounds", 2, "--plot", picture)
    lines = done.stdout.splitlines()
    assert lines[0].split()[:3] == ["contestant", "sparsity", "MB"]
    assert len([line for line in lines if line.startswith("csr, equal rows ")]) == 5
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    for arguments in (("gradient", "--width", 50), ("scale", "--neurons", 300, "--rounds", 1)):
        done = lexicon("bench", *arguments, "--batch", 8, "--plot", picture)
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")


def test_wrong_use_is_refused_before_anything_runs(tmp_path):
    for arguments in (
        ("--sparsity", "1"),
        ("--sparsity", "0"),
        ("--width", "5"),
        ("--rounds", "0"),
        ("--threads", "0"),
        ("accuracy", "--data", "cifar"),
        ("accuracy", "--contestant", "lucky"),
        ("accuracy", "--sparsity", "-1"),
        ("criteria", "--data", "mnist"),
        ("criteria", "--sparsity", "1"),
        ("scale", "--neurons", "2"),
    ):
        done = lexicon("bench", *arguments, exit_code=2, cwd=tmp_path)
        assert arguments[-2] in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((1.1, 1.2, 3.0), "faster than dense at every sparsity measured"),
        ((0.5, 0.8, 0.9), "not faster than dense at the highest sparsity measured"),
        ((0.5, 1.0, 2.0), "faster than dense from 80.0 %"),
    ],
)
def test_the_crossing_lies_between_the_measurements_that_enclose_it(values, verdict):
    rows = [
        {"contestant": name, "phase": "step", "sparsity": s, "speedup_vs_dense": v}
        for name, values in (("csr", (0.5, 0.8, 2.0)), ("csr, equal rows", values))
        for s, v in zip((0.5, 0.8, 0.9), values, strict=True)
    ]
    found = tables.crossings(rows)
    # Its cost falls from 1.25 to 0.5 of dense's on a straight line: 1 after a third of the way.
    assert found["csr"] == "faster than dense from 83.3 % sparsity on"
    assert found["csr, equal rows"].startswith(verdict)


def test_tables_and_plots_show_the_numbers_they_are_given(step_rows, gradient_rows):
    page = tables.markdown("steps", step_rows)
    assert page.count("\n") == 2 + 7
    assert f"{1e3 * step_rows[0]['median_s']:.2f}" in page
    assert tables.markdown("gradient", gradient_rows).count("| equal rows |") == 8
    for name, rows in (("steps", step_rows), ("gradient", gradient_rows)):
        drawing = plot.svg(name, rows)
        assert drawing == plot.svg(name, rows)  # the same rows give the same file
        assert "density" in "".join(ElementTree.fromstring(drawing).itertext())


def test_what_is_missing_is_named_with_its_cure(monkeypatch, step_rows, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plot.MissingMatplotlibError, match="pip install"):
        plot.svg("steps", step_rows)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(sweep.ClusterError, match=r"pip install 'nn-lexicon\[cluster\]'"):
        sweep.run_sweep(
            len, [{}], results=tmp_path / "kept", jobs=1, cluster="tcp://127.0.0.1:9",
            after_cell=lambda: None,
        )  # fmt: skip


def digits(**changes):
    given = {
        "contestants": ["dense", "static", "rewired"],
        "sparsities": [0.9],
        "seeds": 2,
        "epochs": 2,
        "jobs": 1,
        "cluster": None,
        "after_cell": lambda: None,
    }
    return accuracy.measure_accuracy("digits", **(given | changes))


def test_accuracy_trains_all_with_equal_budgets_and_continues(tmp_path, monkeypatch):
    monkeypatch.setitem(accuracy.SETTINGS, "width", 40)
    kept, cells = tmp_path / "kept.jsonl", []
    trainings = digits(results=kept, after_cell=lambda: cells.append(1))
    assert len(trainings) == len(cells) == 6
    assert [(t["contestant"], t["sparsity"], t["seed"]) for t in trainings] == [
        (name, sparsity, seed)
        for name, sparsity in (("dense", 0.0), ("static", 0.9), ("rewired", 0.9))
        for seed in (0, 1)
    ]
    weights = 64 * 40 + 2 * 40 * 40 + 40 * 10
    for training in trainings:
        assert len(training["accuracy"]) == len(training["seconds"]) == 2
        assert 0 < training["seconds"][0] < training["seconds"][1]
        assert training["accuracy"][-1] > 0.2
        share = 1 if training["contestant"] == "dense" else 0.1
        assert training["connections"] == round(share * weights)
    assert trainings[2]["accuracy"] != trainings[4]["accuracy"]  # rewiring makes a difference

    monkeypatch.setattr(accuracy, "train_cell", None)  # nothing is run again
    assert digits(results=kept) == trainings
    with pytest.raises(TypeError):
        digits(results=kept, epochs=3)


def test_the_same_seed_trains_the_same_network(monkeypatch):
    monkeypatch.setitem(accuracy.SETTINGS, "width", 30)
    cell = {
        "data": "digits", "contestant": "rewired", "sparsity": 0.8, "seed": 3, "epochs": 2,
        "learning_rate": 0.1, **accuracy.SETTINGS,
    }  # fmt: skip
    assert accuracy.train_cell(cell)["accuracy"] == accuracy.train_cell(cell)["accuracy"]


def test_rewiring_stops_before_the_end_and_is_the_only_difference(monkeypatch):
    rewired = []
    monkeypatch.setattr(
        accuracy, "rewire_network", lambda *_, fraction, rng: rewired.append(fraction)
    )
    cell = {
        "data": "digits", "sparsity": 0.9, "seed": 0, "epochs": 8,
        "learning_rate": 0.1, **accuracy.SETTINGS, "width": 20,
    }  # fmt: skip
    one = accuracy.train_cell(cell | {"contestant": "rewired"})
    assert rewired == [0.3] * 6
    assert one["accuracy"] == accuracy.train_cell(cell | {"contestant": "static"})["accuracy"]
    assert len(rewired) == 6


def training(contestant, sparsity, accuracies, seconds):
    return {
        "contestant": contestant, "sparsity": sparsity, "accuracy": accuracies,
        "seconds": seconds, "connections": 1, "weight_bytes": 8, "flops_per_sample": 6,
        "data": "digits", "epochs": 2, "machine": "m", "versions": "v", "date": "d",
    }  # fmt: skip


def test_a_summary_takes_the_last_epoch_and_the_time_to_the_target():
    rows = accuracy.summarise(
        [
            training("dense", 0.0, [0.9, 0.6], [1.0, 2.0]),
            training("dense", 0.0, [0.5, 0.8], [1.5, 3.0]),
            training("static", 0.9, [0.5, 0.8], [1.0, 2.0]),
            training("static", 0.9, [0.5, 0.6], [1.0, 2.0]),
        ],
        target=0.7,
    )
    dense, static = rows
    assert dense["accuracy"] == pytest.approx(0.7)
    assert dense["accuracy_std"] == pytest.approx(0.2 / 2**0.5)
    assert dense["seconds"] == 2.5
    assert dense["seconds_to_target"] == 2.0
    assert static["accuracy"] == pytest.approx(0.7)
    assert static["seconds_to_target"] is None
    page = tables.markdown("accuracy", rows)
    assert "70.00 ± 14.14" in page
    assert "not by all" in page
    assert "static" in plot.svg("accuracy", rows)


def test_accuracy_from_the_command_line(tmp_path):
    done = lexicon(
        "bench", "accuracy", "--data", "digits", "--epochs", 1, "--seeds", 1, "--sparsity", 0.9,
        "--jobs", 2, "--plot", "out.svg", cwd=tmp_path,
    )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"accuracy-digits.jsonl", "out.svg"}
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "2 trainings ran at once" in done.stdout
    again = lexicon(
        "bench", "accuracy", "--data", "digits", "--epochs", 1, "--seeds", 1, "--sparsity", 0.9,
        "--contestant", "rewired", "--json", cwd=tmp_path,
    )  # fmt: skip
    (row,) = json.loads(again.stdout)
    assert row["contestant"] == "rewired"
    assert len((tmp_path / "accuracy-digits.jsonl").read_text().splitlines()) == 3
    done = lexicon("bench", "accuracy", "--cluster", "tcp://127.0.0.1:9", exit_code=1, cwd=tmp_path)
    assert done.stderr.startswith("lexicon: no Dask scheduler answers at tcp://127.0.0.1:9")


@pytest.fixture
def cells(tmp_path, monkeypatch):
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", here)  # for the workers
    return [{"number": number, "folder": str(tmp_path)} for number in range(6)]


def runs(folder):
    return sorted(int(path.name.split("-")[1]) for path in folder.glob("ran-*"))


def kept_in(results):
    return [json.loads(line)["cell"]["number"] for line in results.read_text().splitlines()]


SQUARES = [{"square": number**2} for number in range(6)]


def test_a_sweep_returns_in_order_and_never_runs_a_finished_cell_again(cells, tmp_path):
    from sweep_cells import square

    kept, seen = tmp_path / "kept.jsonl", []
    given = {"results": kept, "jobs": 1, "cluster": None, "after_cell": lambda: seen.append(1)}
    assert sweep.run_sweep(square, cells[:4], **given) == SQUARES[:4]
    with kept.open("a") as file:
        file.write('{"cell": {"number": 4')  # the power went out here
    assert sweep.run_sweep(square, cells[::-1], **given) == SQUARES[::-1]
    assert runs(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert len(seen) == 4 + 6
    assert kept_in(kept) == [0, 1, 2, 3, 5, 4]


def test_a_dead_worker_loses_no_finished_cell(cells, tmp_path):
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError
    from sweep_cells import die_once

    get_reusable_executor().shutdown(wait=True)  # workers of other tests have another path
    kept = tmp_path / "kept.jsonl"
    given = {"results": kept, "jobs": 2, "cluster": None, "after_cell": lambda: None}
    with pytest.raises(TerminatedWorkerError):
        sweep.run_sweep(die_once, cells, **given)
    finished = kept_in(kept)
    assert len(finished) >= 4
    assert 4 not in finished
    assert sweep.run_sweep(die_once, cells, **given) == SQUARES
    assert [number for number in runs(tmp_path) if number in finished] == sorted(finished)
    get_reusable_executor().shutdown(wait=True)


def test_a_sweep_on_a_dask_cluster_outlives_one_of_its_workers(cells, tmp_path):
    from distributed import LocalCluster
    from sweep_cells import die_once

    kept = tmp_path / "kept.jsonl"
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
    ) as cluster:
        address, seen = cluster.scheduler_address, []
        given = {
            "results": kept,
            "jobs": 1,
            "cluster": address,
            "after_cell": lambda: seen.append(1),
        }
        assert sweep.run_sweep(die_once, cells, **given) == SQUARES
        assert (tmp_path / "died").exists()
        assert sorted(kept_in(kept)) == [0, 1, 2, 3, 4, 5]
        assert len(seen) == 6
        ran = runs(tmp_path)
        assert sweep.run_sweep(die_once, cells, **given) == SQUARES
        assert runs(tmp_path) == ran


@pytest.fixture(scope="module")
def structure_rows():
    return structures.measure_structures(
        [0.5, 0.9], width=64, batch=4, threads=1, rounds=3, after_round=lambda: None
    )


def test_structures_name_every_storage_sparsity_and_phase(structure_rows):
    anywhere, tiles = ("csr", "csr, equal rows", "condensed"), ("blocks 4 × 4", "blocks 16 × 16")
    names = [("dense", 0.0)]
    names += [(name, 0.5) for name in (*anywhere, "2:4", *tiles, "smaller dense")]
    names += [(name, 0.9) for name in (*anywhere, *tiles, "smaller dense")]  # no n:m is 10 %
    assert [(row["contestant"], row["sparsity"], row["phase"]) for row in structure_rows] == [
        (*name, phase) for name in names for phase in ("forward", "backward")
    ]
    for row in structure_rows:
        assert 0 < row["min_s"] <= row["median_s"] <= row["max_s"]
        assert (row["threads"], row["width"], row["batch"], row["rounds"]) == (1, 64, 4, 3)
        assert row["machine"]
        dense = next(r for r in structure_rows if r["phase"] == row["phase"])
        assert row["speedup_vs_dense"] == dense["median_s"] / row["median_s"]


def test_bytes_and_flops_of_the_structures_are_counted(structure_rows):
    found = {(r["contestant"], r["sparsity"]): r for r in structure_rows}
    half, biases, starts = 64 * 64 // 2, 4 * 64, 4 * 65
    for name, wanted in (
        ("csr", 8 * half + biases + starts),
        ("csr, equal rows", 8 * half + biases + starts),
        ("condensed", 8 * half + biases),
        ("2:4", 4 * half + half // 4 + biases),  # two bits a position
        ("blocks 4 × 4", 4 * half + 4 * half // 16 + 4 * 17 + biases),
        ("blocks 16 × 16", 4 * half + 4 * half // 256 + 4 * 5 + biases),
    ):
        assert found[name, 0.5]["weight_bytes"] == wanted, name
        assert found[name, 0.5]["forward_flops"] == 2 * 4 * half
    # 45 of 64 neurons before and after: the share that comes closest to half.
    assert found["smaller dense", 0.5]["weight_bytes"] == 4 * 45 * 46
    assert found["dense", 0.0]["forward_flops"] == 2 * 4 * 64 * 64
    assert found["csr", 0.9]["forward_flops"] == 2 * 4 * 410


def test_structures_are_built_even_where_hardly_anything_is_left():
    layers = structures._layers(32, 0.999, 2, np.random.default_rng(0))
    stored = {name: layer.params["weight"].size for name, layer in layers.items()}
    assert stored == {
        "csr": 1, "csr, equal rows": 32, "condensed": 32, "blocks 4 × 4": 16,
        "blocks 16 × 16": 256, "smaller dense": 1,
    }  # fmt: skip
    assert layers["csr"].threads == 2
    rng = np.random.default_rng(0)
    names = [[*structures._layers(32, sparsity, 1, rng)][3] for sparsity in (0.75, 0.875, 0.625)]
    assert names == ["1:4", "1:8", "3:8"]


def test_each_structure_gets_its_batch_in_its_own_order_and_turn(monkeypatch):
    calls = []

    def once(layer, x, dy):
        calls.append(layer)
        order = "C_CONTIGUOUS" if type(layer).__name__ == "Linear" else "F_CONTIGUOUS"
        assert x.flags[order]
        assert dy.flags[order]
        assert layer.forward(x).flags[order]  # as a layer of its kind hands it on
        return (1.0, 2.0) if len(calls) > 2 * 2 * 8 else (9.0, 9.0)  # warming up does not count

    monkeypatch.setattr(structures, "_pass", once)
    rounds = []
    rows = structures.measure_structures(
        [0.5], width=32, batch=2, threads=1, rounds=2,
        after_round=lambda: rounds.append(len(calls)),
    )  # fmt: skip
    turn = calls[:16:2]
    assert len(set(map(id, turn))) == 8
    assert calls == [layer for layer in turn for _ in range(2)] * 4
    assert rounds == [16, 32, 48, 64]
    assert [row["max_s"] for row in rows] == [1.0, 2.0] * 8


def test_dense_attention_is_sparse_attention_over_all_pairs():
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((9, 12)), rng.standard_normal((9, 4))
    dense, full = attention.DenseAttention(), SparseAttention(blocks(9, 9, causal=False))
    np.testing.assert_allclose(dense.forward(x), full.forward(x))
    np.testing.assert_allclose(dense.backward(dy), full.backward(dy))
    with pytest.raises(RuntimeError):
        dense.backward(dy)


def test_attention_counts_its_memory_until_dense_no_longer_fits():
    given = {"features": 8, "window": 4, "threads": 1, "rounds": 2}
    limit = attention.dense_bytes(512, 8)
    assert list(attention.lengths(limit, 8)) == [256, 512, 1024]
    dense, near, far = attention.measure_attention(512, limit=limit, **given)
    assert [row["contestant"] for row in (dense, near, far)] == list(attention.CONTESTANTS)
    assert 2 * 4 * 512**2 < dense["peak_bytes"] <= limit
    assert near["pairs"] == 512 * 9 - 2 * (1 + 2 + 3 + 4)
    # Scores and their gradient, the pattern twice while it is copied, and what is N × d.
    assert 13 * near["pairs"] < near["peak_bytes"] < 50 * near["pairs"] + 4 * 512 * 8 * 12
    assert near["peak_bytes"] < far["peak_bytes"] < dense["peak_bytes"]
    for row in (dense, near, far):
        assert 0 < row["min_s"] <= row["median_s"] <= row["max_s"]
        assert row["forward_s"] < row["max_s"]
        assert row["speedup_vs_dense"] == dense["median_s"] / row["median_s"]
    dense, near, far = attention.measure_attention(512, limit=limit - 1, **given)
    assert dense["peak_bytes"] is dense["median_s"] is dense["speedup_vs_dense"] is None
    assert dense["pairs"] == 512**2
    assert near["median_s"] > 0
    assert near["speedup_vs_dense"] is far["speedup_vs_dense"] is None
    assert "does not fit" in tables.markdown("attention", [dense, near, far])


def test_activations_multiply_only_the_winners():
    shares = []
    rows = activations.measure_activations(
        [4, 1], width=100, threads=1, rounds=2, after_share=lambda: shares.append(1)
    )
    assert len(shares) == 12
    assert [(row["batch"], row["active"], row["contestant"]) for row in rows] == [
        (batch, share, way)
        for batch in (4, 1)
        for share in activations.SHARES
        for way in activations.WAYS
    ]
    for row in rows:
        k = round(100 * row["active"])
        multiplied = {"dense": 100, "csr": k, "product": k}.get(row["contestant"], 0)
        assert row["flops"] == 2 * row["batch"] * 100 * multiplied
        assert 0 < row["min_s"] <= row["median_s"] <= row["max_s"]
    by_way = zip(*[iter(rows)] * len(activations.WAYS), strict=True)
    for dense, *others in by_way:
        for row in others:
            assert row["speedup_vs_dense"] == dense["median_s"] / row["median_s"]


def test_too_wide_layers_are_refused(monkeypatch):
    memory = type("Memory", (), {"available": 10**9})
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
    with pytest.raises(machine.TooLargeError, match=r"width 32,000 needs .* would fit") as refusal:
        structures.measure_structures(
            [0.5], width=32_000, batch=1, threads=1, rounds=1, after_round=lambda: None
        )
    width = int(str(refusal.value).split("width ")[-1].split()[0].replace(",", ""))
    assert width % structures.MULTIPLE == 0
    assert 2000 < width < 6000
    with pytest.raises(machine.TooLargeError, match="width 32,000 needs"):
        activations.measure_activations(
            [1], width=32_000, threads=1, rounds=1, after_share=lambda: None
        )


def test_layers_attention_and_activations_from_the_command_line(tmp_path):
    for name, *arguments in (
        ("structures", "--width", 32, "--batch", 2),
        ("attention", "--memory", 0.005, "--features", 8, "--window", 4),
        ("activations", "--width", 50),
    ):
        picture = tmp_path / f"{name}.svg"
        done = lexicon("bench", name, *arguments, "--rounds", 1, "--plot", picture)
        assert max(map(len, done.stdout.splitlines())) <= 80
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")
    done = lexicon("bench", "attention", "--tokens", 64, "--rounds", 1, "--json")
    rows = json.loads(done.stdout)
    assert [row["tokens"] for row in rows] == [64] * 3
    assert rows[0]["command"] == "lexicon bench attention --tokens 64 --rounds 1"
    done = lexicon("bench", "structures", "--width", 100, exit_code=2)
    assert "no multiple of 32" in done.stderr


@pytest.fixture
def tiny(monkeypatch):
    """Let criteria choose from a small network, trained for a moment."""
    small = {"sizes": [64, 20, 10], "samples": 300, "epochs": 2, "further": 1, "batch": 32}
    monkeypatch.setattr(criteria, "SETTINGS", {"digits": small})
    monkeypatch.setattr(criteria, "SCORED", 100)
    criteria._network.cache_clear()
    yield criteria.criteria_cells(["digits"], sparsities=[0.5, 0.9], seeds=1)
    criteria._network.cache_clear()


def test_every_criterion_chooses_from_the_same_network(tiny, tmp_path, monkeypatch):
    kept, seen = tmp_path / "kept.jsonl", []
    given = {"sparsities": [0.5, 0.9], "seeds": 2, "jobs": 1, "results": kept}
    found = criteria.measure_criteria(["digits"], after_cell=lambda: seen.append(1), **given)
    everywhere = [("dense", "layer"), *((name, "layer") for name in criteria.CRITERIA)]
    everywhere += [(name, "own") for name in criteria.OWN]
    before = [pair for pair in everywhere if pair[0] in criteria.RATES]
    assert len(before) == 10
    assert [(c["seed"], c["start"], c["criterion"], c["masks"]) for c in found] == [
        (seed, start, *pair)
        for seed in (0, 1)
        for start, pairs in (("trained", everywhere), ("untrained", before))
        for pair in pairs
    ]
    assert len(seen) == len(found)
    for cell in found:
        if cell["criterion"] == "dense":
            assert [p["connections"] for p in cell["pruned"]] == [[1280, 200]]
        elif cell["masks"] == "layer":
            assert [p["connections"] for p in cell["pruned"]] == [[640, 100], [128, 20]]
        elif cell["criterion"] == "Wanda":  # of 64 and 20 inputs of each neuron
            assert [p["connections"] for p in cell["pruned"]] == [[640, 100], [20 * 6, 20]]
        else:
            assert [sum(p["connections"]) for p in cell["pruned"]] == [740, 148]
    # Between layers they differ; and each criterion leaves another network.
    own = [c["pruned"][1]["connections"] for c in found if c["masks"] == "own" and c["seed"] == 0]
    assert len(set(map(tuple, own))) > 5
    reads = [str(c["pruned"]) for c in found if c["seed"] == 0]
    assert len(set(reads)) == len(reads)
    dense = [c["pruned"][0]["accuracy"] for c in found if c["criterion"] == "dense"]
    assert dense[0][0] > 0.4 > 0.3 > dense[1][0]  # trained, and not yet

    monkeypatch.setattr(criteria, "prune_cell", None)  # nothing is run again
    again = criteria.measure_criteria(["digits"], after_cell=lambda: None, **given)
    assert again == found


def test_a_criterion_leaves_the_others_their_network(tiny):
    last = criteria.prune_cell(tiny[3])["pruned"]
    for cell in tiny[:17]:
        criteria.prune_cell(cell)
    assert criteria.prune_cell(tiny[3])["pruned"] == last
    criteria._network.cache_clear()  # in another process it would be made anew
    assert criteria.prune_cell(tiny[3])["pruned"] == last


def test_black_is_zero_for_those_that_count_zeros(tiny):
    criteria.prune_cell(tiny[0])
    cell = tiny[0]
    settings = (cell["samples"], cell["epochs"], cell["batch"], cell["dense_rate"])
    network, (x, labels, x_test, labels_test) = criteria._network(
        "digits", 0, tuple(cell["sizes"]), *settings
    )
    assert criteria._network.cache_info().hits == 1
    assert x.shape == (300, 64)
    assert x.min() == 0
    assert x.max() == 1
    assert 0.4 < (x == 0).mean() < 0.6
    assert set(labels) == set(labels_test) == set(range(10))
    assert len(x_test) == 539
    # Within a layer, Wanda and the diagonal of optimal brain damage rank alike.
    wanda = criteria._scores(cell | {"criterion": "Wanda"}, network, (x, labels, x_test, labels))
    for one, two in zip(
        layer_masks(wanda, 0.8).values(),
        layer_masks(obd_scores(network, x[:100]), 0.8).values(),
        strict=True,
    ):
        assert (one != two).mean() < 0.01  # rounding
    with pytest.raises(ValueError, match="criterion must be one of random, magnitude, "):
        criteria._scores(cell, network, (x, labels, x_test, labels))


def criteria_cell(criterion, start, masks, sparsity, *accuracies):
    return {
        "data": "digits", "start": start, "masks": masks, "criterion": criterion,
        "epochs": 2, "further": 1, "machine": "m", "versions": "v", "date": "d",
        "pruned": [{"sparsity": sparsity, "accuracy": [*accuracies], "connections": [1]}],
    }  # fmt: skip


def test_a_summary_of_criteria_takes_both_readings():
    rows = criteria.summarise(
        [
            criteria_cell("dense", "trained", "layer", 0.0, 0.9, 0.92),
            criteria_cell("dense", "trained", "layer", 0.0, 0.9, 0.94),
            criteria_cell("Wanda", "trained", "layer", 0.8, 0.5, 0.7),
            criteria_cell("Wanda", "trained", "layer", 0.8, 0.7, 0.8),
            criteria_cell("Wanda", "trained", "own", 0.8, 0.2, 0.3),
            criteria_cell("SNIP", "untrained", "layer", 0.8, 0.1, 0.6),
        ]
    )
    dense, layer, own, before = rows
    assert layer["at_once"] == pytest.approx(0.6)
    assert layer["at_once_std"] == pytest.approx(0.2 / 2**0.5)
    assert layer["trained"] == pytest.approx(0.75)
    assert (dense["seeds"], layer["seeds"], own["seeds"], own["trained_std"]) == (2, 2, 1, 0)
    assert before["start"] == "untrained"
    assert tables.markdown("criteria", rows).splitlines() == [
        "| criterion | 80 % |",
        "| --- | ---: |",
        "| digits, at once |  |",
        "| dense, 0 % | 90.0 ± 0.0 |",
        "| Wanda | 60.0 ± 14.1 |",
        "| digits, trained on |  |",
        "| dense, 0 % | 93.0 ± 1.4 |",
        "| Wanda | 75.0 ± 7.1 |",
        "| digits, own masks, at once |  |",
        "| Wanda | 20.0 ± 0.0 |",
        "| digits, own masks, trained on |  |",
        "| Wanda | 30.0 ± 0.0 |",
        "| digits, from scratch |  |",
        "| SNIP | 60.0 ± 0.0 |",
    ]
    drawing = plot.svg("criteria", rows)
    assert "with 20 % of the weights" in drawing
    assert "SNIP" not in drawing


def test_criteria_from_the_command_line(tmp_path):
    given = ("--data", "digits", "--seeds", 1, "--sparsity", 0.9)
    done = lexicon("bench", "criteria", *given, "--jobs", 2, "--plot", "out.svg", cwd=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"criteria.jsonl", "out.svg"}
    assert max(map(len, done.stdout.splitlines())) <= 80
    again = lexicon("bench", "criteria", *given, "--json", cwd=tmp_path)
    rows = json.loads(again.stdout)
    assert len(rows) == len((tmp_path / "criteria.jsonl").read_text().splitlines()) == 27
    assert {row["command"] for row in rows} == {
        "lexicon bench criteria --data digits --seeds 1 --sparsity 0.9"
    }


def test_contestants_take_turns_and_their_second_run_counts():
    ran = []

    def run(name):
        ran.append(name)
        return len(ran)

    rounds = []
    read = turns.take_turns(
        {name: lambda name=name: run(name) for name in "ab"},
        rounds=2,
        after_round=lambda: rounds.append(len(ran)),
    )
    assert "".join(ran) == "aabb" * 4
    assert rounds == [4, 8, 12, 16]
    assert read == {"a": [10, 14], "b": [12, 16]}  # the third and the fourth round
    assert turns.range_of([3.0, 1.0, 9.0, 2.0]) == {"median_s": 2.5, "min_s": 1.0, "max_s": 9.0}


def test_attention_takes_no_more_memory_than_there_is():
    done = lexicon("bench", "attention", "--memory", 1_000_000, exit_code=1)
    assert done.stderr.startswith("lexicon: dense attention needs about 1,000,000.0 GB and ")
    assert done.stderr.endswith(" would fit\n")
    assert done.stdout == ""
