"""``lexicon observe`` in a real terminal: a person edits, saves, and looks."""

import os
import signal
import time
from pathlib import Path

import pytest

from lexicon.catalog import find

pexpect = pytest.importorskip("pexpect", reason="there are no pseudo-terminals on Windows")

READY = "Save k_wta.py to run it again; q leaves."
QUICK = 'K = 5\nprint("winners", K)\nprint("same")\n'


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "k_wta.py"


def save(path, source):
    """Save as most editors do: write another file, then put it in the place of the old one."""
    beside = path.with_name(".k_wta.py.swp")
    beside.write_text(source)
    beside.replace(path)


def test_edit_run_observe(terminal, mine):
    child = terminal("observe", "k_wta")
    first = child.shown(READY)
    assert find("k_wta").question in first
    assert "active per sample   5 to 5 of 64" in first
    assert mine.read_bytes() == find("k_wta").example.read_bytes()
    save(mine, mine.read_text().replace("K = 5 ", "K = 1 "))
    second = child.shown(READY)
    assert "line 13: K = 1" in second
    assert (
        "> active per sample   5 to 5 of 64           | active per sample   1 to 1 of 64" in second
    )
    assert "\n  the first test digit's hidden layer" in second
    child.send("q")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_narrow_terminals_show_both_values_one_below_the_other(terminal, mine):
    child = terminal("observe", "k_wta", columns=60)
    child.shown(READY)
    save(mine, mine.read_text().replace("K = 5 ", "K = 1 "))
    second = child.shown(READY)
    assert "- active per sample   5 to 5 of 64\n+ active per sample   1 to 1 of 64" in second


def test_an_edited_file_is_used_as_it_is(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    first = child.shown(READY)
    assert "This is your k_wta.py, as you left it." in first
    assert "winners 5" in first
    assert mine.read_text() == QUICK


@pytest.mark.parametrize(("answer", "replaced"), [("n", False), ("y", True)])
def test_fresh_asks_before_it_replaces(terminal, mine, answer, replaced):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta", "--fresh")
    child.expect_exact("Replace k_wta.py, which you have edited?")
    child.sendline(answer)
    if replaced:
        assert "active per sample" in child.shown(READY)
        assert mine.read_bytes() == find("k_wta").example.read_bytes()
    else:
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == 1
        assert mine.read_text() == QUICK


def test_an_error_points_at_its_line_and_the_next_save_goes_on(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    child.shown(READY)
    save(mine, QUICK.replace("K = 5", "K = = 5"))
    second = child.shown(READY)
    assert 'File "k_wta.py", line 1' in second
    assert "SyntaxError: invalid syntax" in second
    save(mine, QUICK + "from lexicon.sparsity.k_wta import KWinnersTakeAll\nKWinnersTakeAll(0)\n")
    third = child.shown(READY)
    assert "winners 5" in third
    assert 'File "k_wta.py", line 5, in <module>\n    KWinnersTakeAll(0)\n' in third
    assert "ValueError: k must be at least 1, got 0" in third
    assert third.count("File ") == 1
    assert "lexicon/" not in third
    # Compared with the last run that succeeded, not with the failures.
    save(mine, QUICK.replace("K = 5", "K = 6"))
    fourth = child.shown(READY)
    assert "line 1: K = 6" in fourth
    assert "> winners 5 | winners 6" in fourth
    assert "  same      | same" in fourth


def test_a_save_during_a_run_ends_it_and_runs_what_is_new(terminal, mine):
    mine.write_text("print('slow', flush=True)\nimport time\ntime.sleep(600)\n")
    child = terminal("observe", "k_wta")
    child.expect_exact("run 1")
    time.sleep(0.5)
    save(mine, "print('first')\n")
    save(mine, "print('second')\n")
    while "second" not in (seen := child.shown(READY)):
        assert "slow" not in seen
    child.send("q")
    child.expect(pexpect.EOF)


def test_a_save_that_changes_nothing_says_so(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    child.shown(READY)
    mine.touch()
    assert "Nothing changed." in child.shown(READY)


def test_an_endless_loop_is_ended_and_the_next_save_goes_on(terminal, mine):
    mine.write_text("print('begun')\nwhile True: pass\n")
    child = terminal("observe", "k_wta", "--timeout", "2")
    first = child.shown(READY)
    assert "begun" in first
    assert "ended after 2 seconds" in first
    save(mine, QUICK)
    assert "winners 5" in child.shown(READY)


def test_a_huge_output_is_cut(terminal, mine):
    mine.write_text("for i in range(10**9): print(i)\n")
    child = terminal("observe", "k_wta")
    first = child.shown(READY)
    assert "\n199\n" in first
    assert "\n200\n" not in first
    assert "more lines" in first
    assert "ended after 1,000,000 bytes of output" in first
    save(mine, QUICK)
    assert "winners 5" in child.shown(READY)


def test_a_deleted_file_is_waited_for(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    child.shown(READY)
    mine.unlink()
    child.expect_exact("k_wta.py is gone; it runs again when it is back.")
    mine.write_text(QUICK.replace("5", "7"))
    assert "winners 7" in child.shown(READY)


def processes():
    """Return the command lines of all processes of this machine."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            found[int(folder.name)] = (folder / "cmdline").read_bytes().decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda child: child.sendintr(), 130),
        (lambda child: child.kill(signal.SIGTERM), 143),
        (lambda child: child.kill(signal.SIGHUP), 129),
        (lambda child: child.send("\x1c"), 131),
    ],
    ids=["Ctrl-C", "SIGTERM", "SIGHUP", "Ctrl-backslash"],
)
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_leaving_ends_the_run_without_a_traceback(terminal, mine, end, code):
    mine.write_text("import time\ntime.sleep(600)\n")
    child = terminal("observe", "k_wta")
    child.expect_exact("run 1")

    def running():
        ours = [pid for pid, line in processes().items() if "runner.py" in line]
        return [
            pid
            for pid in ours
            if f"PPid:\t{child.pid}\n" in Path(f"/proc/{pid}/status").read_text()
        ]

    for _ in range(200):
        if pids := running():
            break
        time.sleep(0.05)
    assert pids
    end(child)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert "Traceback" not in child.before
    assert not any("runner.py" in processes().get(pid, "") for pid in pids)


def test_the_terminal_is_left_as_it_was_found(tmp_path, terminal, mine):
    import sys

    mine.write_text(QUICK)
    command = str(Path(sys.executable).with_name("lexicon"))
    script = f"stty -a > before; {command} observe k_wta; stty -a > after; echo over"
    child = pexpect.spawn(
        "/bin/sh", ["-c", script], cwd=str(tmp_path), encoding="utf-8", timeout=60
    )
    child.expect_exact("q leaves.")
    child.send("q")
    child.expect_exact("over")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


def test_it_runs_in_a_pipe_without_control_codes(tmp_path, mine):
    import subprocess
    import sys

    mine.write_text(QUICK)
    child = subprocess.Popen(
        [Path(sys.executable).with_name("lexicon"), "observe", "k_wta"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    lines = [child.stdout.readline() for _ in range(7)]
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=60)
    assert "winners 5\n" in lines
    assert "\x1b" not in "".join(lines) + rest
    assert child.returncode == 130


def test_a_folder_where_nothing_can_be_written_is_an_error(lexicon, tmp_path):
    (tmp_path / "k_wta.py").mkdir()
    finished = lexicon("observe", "k_wta", cwd=tmp_path, exit_code=1)
    assert "k_wta.py" in finished.stderr
    assert "Traceback" not in finished.stderr
