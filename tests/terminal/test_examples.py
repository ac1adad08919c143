import os
import shlex
import time
from pathlib import Path

import pytest

from lexicon.catalog import entries, find
from lexicon.terminal.examples import (
    Process,
    Run,
    parse_settings,
    parse_sweep,
    run_command,
    run_example,
    run_examples,
    setting_name,
    turned_source,
)


def run(source, folder, *, timeout=30.0):
    return Process(source.encode(), folder / "mine.py", timeout=timeout).wait()


def test_a_run_keeps_output_errors_and_exit_code(tmp_path):
    assert run("print('a')", tmp_path) == Run("a\n", "", 0)
    source = "import sys\nprint('a')\nprint('b', file=sys.stderr)"
    assert run(source, tmp_path) == Run("a\n", "b\n", 0)
    assert run("raise SystemExit(3)", tmp_path) == Run("", "ended with exit code 3\n", 3)
    assert run("raise SystemExit('no')", tmp_path) == Run("", "no\n", 1)
    killed = run("import os; os.kill(os.getpid(), 35)", tmp_path)
    assert "signal 35" in killed.errors or "ended by SIG" in killed.errors


def test_an_example_is_main_and_sees_its_own_folder_first(tmp_path):
    (tmp_path / "beside.py").write_text("value = 7")
    source = "import sys, beside\nprint(__name__, beside.value, sys.argv, __file__)"
    path = str(tmp_path / "mine.py")
    assert run(source, tmp_path).output == f"__main__ 7 ['{path}'] {path}\n"


def test_a_file_in_the_current_folder_does_not_stand_in_for_a_library(tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise RuntimeError('the wrong numpy')")
    monkeypatch.chdir(tmp_path)
    assert run_example(find("softmax")).exit_code == 0


def test_a_traceback_shows_the_examples_lines_and_no_others(tmp_path):
    source = "import json\nprint('a')\nvalue = json.loads('[')  # here\n"
    finished = run(source, tmp_path)
    assert finished.output == "a\n"
    assert finished.exit_code == 1
    assert finished.errors.count("File ") == 1
    assert f'File "{tmp_path / "mine.py"}", line 3' in finished.errors
    assert "value = json.loads('[')  # here" in finished.errors
    assert finished.errors.endswith("JSONDecodeError: Expecting value: line 1 column 2 (char 1)\n")


def test_a_chain_of_errors_is_shortened_throughout(tmp_path):
    source = (
        "import json\n"
        "try:\n    json.loads('[')\n"
        "except ValueError as error:\n    raise KeyError(1) from error\n"
    )
    errors = run(source, tmp_path).errors
    assert "direct cause" in errors
    assert [line for line in errors.splitlines() if "File " in line] == [
        f'  File "{tmp_path / "mine.py"}", line {number}, in <module>' for number in (3, 5)
    ]


def test_what_cannot_be_compiled_names_its_line(tmp_path):
    errors = run("a = 1\nb = = 2\n", tmp_path).errors
    assert f'File "{tmp_path / "mine.py"}", line 2' in errors
    assert errors.endswith("SyntaxError: invalid syntax\n")
    latin = Process(b"# \xe9\n", tmp_path / "mine.py").wait()
    assert latin.exit_code == 1
    assert "SyntaxError" in latin.errors


def test_an_endless_run_is_ended_and_keeps_what_it_printed(tmp_path):
    finished = run("print('a')\nwhile True: pass", tmp_path, timeout=2.0)
    assert finished.output == "a\n"
    assert finished.errors == "ended after 2 seconds\n"
    assert finished.exit_code != 0


def test_a_huge_output_is_ended_and_cut(tmp_path):
    finished = run("while True: print('x' * 99)", tmp_path)
    assert finished.errors == "ended after 1,000,000 bytes of output\n"
    assert len(finished.output) == 1_000_000


def test_nothing_that_an_example_started_outlives_it(tmp_path):
    source = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)\n"
    )
    pid = int(run(source, tmp_path).output)
    for _ in range(100):  # the orphan waits to be collected by init
        status = Path(f"/proc/{pid}/stat")
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.1)
    pytest.fail("the child still runs")


def test_a_run_that_is_not_over_is_none_until_it_is_ended(tmp_path):
    process = Process(b"import time; time.sleep(600)", tmp_path / "mine.py", timeout=600)
    assert process.poll(0.01) is None
    process.end()
    finished = process.poll(0)
    assert finished is not None
    assert finished.errors == "ended by SIGKILL\n"


def test_a_large_source_arrives_whole(tmp_path):
    assert run("#" * 1_000_000 + "\nprint('end')", tmp_path).output == "end\n"


def test_settings_are_read_by_the_knobs_type():
    entry = find("k_wta")
    k = entry.knobs[0]
    assert parse_settings(entry, ["K=3"]) == {k: 3}
    with pytest.raises(ValueError, match="K must be int, got 'True'"):
        parse_settings(entry, ["K=True"])
    with pytest.raises(ValueError, match="must be NAME=VALUE"):
        parse_settings(entry, ["K"])
    with pytest.raises(ValueError, match="has no knob 'Q'; it has K, EPOCHS, SEED"):
        parse_settings(entry, ["Q=1"])
    share = find("linear_layer").knobs[2]
    assert parse_settings(find("linear_layer"), ["SHARE=1"]) == {share: 1.0}
    assert setting_name({k: 3, entry.knobs[2]: 1}) == "K = 3, SEED = 1"


def test_a_sweep_is_read_by_the_knobs_type():
    k, function = find("k_wta").knobs[0], find("activation").knobs[0]
    assert parse_sweep(find("k_wta"), "K=1,2,5") == (k, [1, 2, 5])
    for text in ("FUNCTION=relu,tanh", "FUNCTION='relu', 'tanh'", "FUNCTION=relu, tanh"):
        assert parse_sweep(find("activation"), text) == (function, ["relu", "tanh"])
    trained = find("backpropagation").knobs[1]
    text = "TRAINED=('w2', 'b2'),('w1',)"
    assert parse_sweep(find("backpropagation"), text) == (trained, [("w2", "b2"), ("w1",)])
    with pytest.raises(ValueError, match="K has the value 1 twice"):
        parse_sweep(find("k_wta"), "K=1,2,1")
    with pytest.raises(ValueError, match=r"K must be int, got '2\.5'"):
        parse_sweep(find("k_wta"), "K=1,2.5")
    with pytest.raises(ValueError, match="K must be int, got ''"):
        parse_sweep(find("k_wta"), "K=")


def test_every_knob_can_be_turned_by_the_command_that_is_shown():
    for entry in entries():
        for knob in entry.knobs:
            for value in knob.tries:
                words = shlex.split(run_command(entry, knob, value))
                assert words[:4] == ["lexicon", "run", entry.slug, "--set"]
                assert parse_settings(entry, words[4:]) == {knob: value}


def test_several_runs_come_in_the_order_of_their_settings():
    entry = find("k_wta")
    k = entry.knobs[0]
    outputs = [run.output for run in run_examples(entry, [{}, {k: 1}, {k: 64}])]
    assert outputs == [run_example(entry, s).output for s in ({}, {k: 1}, {k: 64})]
    for output, winners in zip(outputs, (5, 1, 64), strict=True):
        assert f"active per sample   {winners} to {winners} of 64" in output


def test_a_turned_source_differs_in_one_line():
    entry = find("k_wta")
    old = entry.example.read_text().splitlines()
    new = turned_source(entry, {entry.knobs[0]: 3}).splitlines()
    changed = [pair for pair in zip(old, new, strict=True) if pair[0] != pair[1]]
    assert [line.split("#")[0].strip() for line in changed[0]] == ["K = 5", "K = 3"]
    assert len(changed) == 1


def test_examples_use_one_blas_thread_unless_told_otherwise(tmp_path, monkeypatch):
    source = "import os; print(os.environ['OPENBLAS_NUM_THREADS'])"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert run(source, tmp_path).output == "1\n"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert run(source, tmp_path).output == "3\n"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
