import os
import shlex
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event, main_thread

import psutil
import pytest

from lexicon.catalog import entries, find
from lexicon.terminal import examples
from lexicon.terminal.examples import (
    Process,
    Run,
    ended_by_signals,
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
    killed = run("import os; os.kill(os.getpid(), 35)", tmp_path)
    assert "signal 35" in killed.errors or "ended by SIG" in killed.errors
    odd = run("import os; os.write(1, b'a\\xff'); os.write(2, b'\\xffb')", tmp_path)
    assert odd == Run("a\ufffd", "\ufffdb", 0)


def test_the_exit_code_is_told_unless_a_traceback_tells_why(tmp_path):
    code = "ended with exit code"
    assert run("raise SystemExit(3)", tmp_path) == Run("", f"{code} 3\n", 3)
    source = "import sys, warnings\nwarnings.warn('hm')\nsys.exit({})"
    for number in (1, 3):
        finished = run(source.format(number), tmp_path)
        assert finished.exit_code == number
        assert "UserWarning: hm\n" in finished.errors
        assert finished.errors.endswith(f"\n{code} {number}\n")
    source = "import os, sys; print('no', file=sys.stderr, end=''); os._exit(1)"
    assert run(source, tmp_path) == Run("", f"no\n{code} 1\n", 1)
    source = "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start(); t.join()\n"
    assert run(f"{source}raise SystemExit(3)", tmp_path).errors.endswith(f"\n{code} 3\n")
    for source in ("1 / 0", "1 = 0"):
        failed = run(source, tmp_path)
        assert failed.exit_code == 1
        assert code not in failed.errors


def test_an_endless_run_is_ended_and_keeps_what_it_printed(tmp_path):
    finished = run("print('a')\nwhile True: pass", tmp_path, timeout=2.0)
    assert finished.output == "a\n"
    assert finished.errors == "ended after 2 seconds\n"
    assert finished.exit_code != 0


def test_a_huge_output_is_ended_and_cut(tmp_path):
    finished = run("while True: print('x' * 99)", tmp_path)
    assert finished.errors == "ended after 1,000,000 bytes of output\n"
    assert len(finished.output) == 1_000_000
    assert finished.exit_code != 0


def test_a_huge_output_is_a_failure_even_of_an_example_that_succeeds(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess.Popen, "kill", lambda process: None)  # too late
    finished = run("import os; os.write(1, b'x' * 1_000_000)", tmp_path)
    assert finished == Run("x" * 1_000_000, "ended after 1,000,000 bytes of output\n", 1)


def test_nothing_that_an_example_started_outlives_it(tmp_path, is_running):
    source = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)\n"
    )
    pid = int(run(source, tmp_path).output)
    deadline = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)


def test_a_run_that_is_not_over_is_none_until_it_is_ended(tmp_path):
    process = Process(b"import time; time.sleep(600)", tmp_path / "mine.py", timeout=600)
    assert process.poll(0.01) is None
    process.end()
    finished = process.poll(0)
    assert finished is not None
    assert finished.errors == "ended by SIGKILL\n"


@pytest.mark.skipif(os.name != "posix", reason="there are no process groups on Windows")
def test_an_ended_group_is_not_killed_again(tmp_path, monkeypatch):
    killed = []
    monkeypatch.setattr(os, "killpg", lambda group, number: killed.append(group))
    process = Process(b"", tmp_path / "mine.py")
    assert process.wait().exit_code == 0
    process.end()
    assert len(killed) == 1  # the second group of that number would be a stranger's


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
    for name, meant in (("k", "K"), ("epochs", "EPOCHS"), ("SED", "SEED")):
        with pytest.raises(ValueError, match=f"no knob '{name}'; did you mean {meant}\\?"):
            parse_settings(entry, [f"{name}=1"])
    assert parse_settings(entry, [" K = 3 "]) == {k: 3}
    with pytest.raises(ValueError, match="K is set twice"):
        parse_settings(entry, ["K=3", "SEED=1", "K=3"])
    layer = find("linear_layer")
    share = next(knob for knob in layer.knobs if knob.name == "SHARE")
    assert [*map(type, parse_settings(layer, ["SHARE=1"]).values())] == [float]
    assert parse_settings(layer, ["SHARE=1"]) == {share: 1.0}
    with pytest.raises(ValueError, match="SHARE must be a finite float, got 'True'"):
        parse_settings(layer, ["SHARE=True"])
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
    for text in ("K=", "K=,", "K=1,", "K = 1,,2"):
        with pytest.raises(ValueError, match=f"'{text}' lacks a value"):
            parse_sweep(find("k_wta"), text)
    with pytest.raises(ValueError, match="'' must be NAME=VALUE"):
        parse_sweep(find("k_wta"), "")


@pytest.mark.parametrize(
    "literal",
    [
        pytest.param("{[]: 1}", id="unhashable"),
        pytest.param("[" * 150 + "]" * 150, id="brackets"),
        pytest.param("1+" * 3_000 + "1", id="sums"),
        pytest.param("-" * 50_000 + "1", id="signs"),
        pytest.param("1e999", id="infinity"),
        pytest.param("9" * 400, id="beyond floats"),
        pytest.param("0x" + "f" * 5_000, id="beyond digits"),
    ],
)
def test_an_odd_literal_is_refused_by_the_knobs_name(literal):
    entry, setting = find("linear_layer"), f"SHARE={literal}"
    for parse, text in ((parse_settings, [setting]), (parse_sweep, setting)):
        with pytest.raises(ValueError, match="SHARE must be a finite float, got '"):
            parse(entry, text)


def test_a_knob_that_is_true_or_false_says_so():
    entry, knob = next((e, k) for e in entries() for k in e.knobs if type(k.value) is bool)
    assert parse_settings(entry, [f"{knob.name}=False"]) == {knob: False}
    for text in ("true", "1"):
        with pytest.raises(ValueError, match=f"^{knob.name} must be True or False, got '{text}'"):
            parse_settings(entry, [f"{knob.name}={text}"])


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


@pytest.mark.skipif(os.name != "posix", reason="Windows ends processes without notice")
def test_leaving_ends_all_runs(terminal, leaving):
    import pexpect

    leave, code = leaving
    child = terminal("run", "k_wta", "--sweep", "EPOCHS=100001,100002,100003,100004,100005")
    child.expect_exact("running")
    for _ in range(100):
        if runs := psutil.Process(child.pid).children(recursive=True):
            break
        time.sleep(0.05)
    assert runs
    leave(child)
    child.expect(pexpect.EOF, timeout=20)
    child.close()
    assert child.exitstatus == code
    assert "Traceback" not in child.before
    assert not any(run.is_running() for run in runs)


def test_leaving_starts_no_more_runs_and_ends_one_that_is_starting(monkeypatch):
    begun = []

    class Endless:
        def __init__(self, *words, **options):
            self.over = Event()
            begun.append(self)
            if begun[0] is not self:
                time.sleep(0.1)  # until all five are waiting
                signal.pthread_kill(main_thread().ident, signal.SIGTERM)
                assert begun[0].over.wait(10)
                time.sleep(0.1)  # all that have started are ended, but for this one

        def end(self):
            self.over.set()

        def wait(self):
            assert self.over.wait(10)

    monkeypatch.setattr(examples, "Process", Endless)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as left:
        run_examples(find("k_wta"), [{}] * 5)
    assert left.value.code == 128 + signal.SIGTERM
    assert len(begun) == 2
    assert all(process.over.is_set() for process in begun)
    assert signal.getsignal(signal.SIGTERM) == before


def test_examples_run_from_any_thread_and_what_is_ignored_stays_so():
    with ThreadPoolExecutor(1) as pool:
        (finished,) = pool.submit(run_examples, find("k_wta"), [{}]).result()
    assert finished.exit_code == 0
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_does_not_stop_what_the_first_one_ends():
    ended = []

    @ended_by_signals()
    def leave():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            ended.append("all")

    with pytest.raises(SystemExit):
        leave()
    assert ended == ["all"]


def test_examples_use_one_blas_thread_unless_told_otherwise(tmp_path, monkeypatch):
    source = "import os; print(os.environ['OPENBLAS_NUM_THREADS'])"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert run(source, tmp_path).output == "1\n"
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert run(source, tmp_path).output == "3\n"
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"


def test_examples_print_at_once_and_in_utf_8_whatever_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    source = "import sys; print('é', sys.flags.utf8_mode, sys.stdout.write_through)"
    assert run(source, tmp_path).output == "é 1 True\n"
