"""``lexicon observe`` in a real terminal: a person edits, saves, and looks."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from lexicon.catalog import find

pexpect = pytest.importorskip("pexpect", reason="there are no pseudo-terminals on Windows")

READY = "Save k_wta.py to run it again; q leaves."
QUICK = 'K = 5\nprint("winners", K)\nprint("same")\n'
ENDLESS = """
import os, time
with open("pid", "w") as file:
    print(os.getpid(), file=file)
time.sleep(600)
"""


@pytest.fixture
def mine(tmp_path):
    return tmp_path / "k_wta.py"


def save(path, source):
    """Save as most editors do: write another file, then put it in the place of the old one."""
    beside = path.with_name(".k_wta.py.swp")
    beside.write_text(source)
    beside.replace(path)


def pid_of_run(mine):
    """Wait until what is ENDLESS has begun, and return its process."""
    said = mine.with_name("pid")
    for _ in range(200):
        if said.exists() and (text := said.read_text()):
            return int(text)
        time.sleep(0.05)
    raise TimeoutError


def test_edit_run_observe(terminal, mine):
    child = terminal("observe", "k_wta")
    first = child.shown(READY)
    assert find("k_wta").question in first
    assert "active per sample   5 to 5 of 64" in first
    assert mine.read_bytes() == find("k_wta").example.read_bytes()
    child.send("x")  # only q leaves
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
    mine.write_bytes(find("k_wta").example.read_bytes())
    os.utime(mine, (1, 1))
    child = terminal("observe", "k_wta", columns=60)
    assert "k_wta.py is in this folder." in child.shown(READY)
    assert mine.stat().st_mtime == 1  # not written again
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


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1), ("\x03", 130)])
def test_fresh_asks_before_it_replaces(terminal, mine, answer, code):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta", "--fresh")
    child.expect_exact("Replace k_wta.py, which you have edited?")
    child.send(answer)
    if code == 0:
        assert "active per sample" in child.shown(READY)
        assert mine.read_bytes() == find("k_wta").example.read_bytes()
    else:
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == code
        assert mine.read_text() == QUICK


def test_an_error_points_at_its_line_and_the_next_save_goes_on(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    child.shown(READY)
    save(mine, QUICK.replace("K = 5", "K = = 5"))
    second = child.shown(READY)
    assert 'File "k_wta.py", line 1' in second
    assert "SyntaxError: invalid syntax" in second
    fails = "from lexicon.sparsity.k_wta import KWinnersTakeAll\nKWinnersTakeAll(0)\n"
    save(mine, QUICK.replace("K = 5", "K = 4") + fails)
    third = child.shown(READY)
    assert "winners 4" in third
    assert "| winners 4" not in third
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
    save(mine, QUICK.replace("K = 5", "K = 7"))
    assert "> winners 6 | winners 7" in child.shown(READY)


def test_a_save_during_a_run_ends_it_and_runs_what_is_new(terminal, mine, is_running):
    mine.write_text(f"print('slow', flush=True)\n{ENDLESS}")
    child = terminal("observe", "k_wta")
    child.expect_exact("run 1")
    pid = pid_of_run(mine)
    save(mine, "print('first')\n")
    save(mine, "print('second')\n")
    while "second" not in (seen := child.shown(READY)):
        assert "slow" not in seen
    assert not is_running(pid)


def test_every_save_is_seen_and_one_that_changes_nothing_says_so(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    child.shown(READY)
    mine.touch()
    assert "Nothing changed." in child.shown(READY)
    before = mine.stat()
    beside = mine.with_name("beside")
    beside.write_text(QUICK)
    os.utime(beside, ns=(before.st_atime_ns, before.st_mtime_ns))
    beside.replace(mine)  # another file at the same time
    assert "Nothing changed." in child.shown(READY)
    with mine.open("r+") as file:  # another source in the same file at the same time
        file.write("K = 6")
        file.flush()
        os.utime(mine, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "> winners 5 | winners 6" in child.shown(READY)


def test_a_slow_save_that_empties_the_file_first_is_one_save(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    child.shown(READY)
    with mine.open("w") as file:
        time.sleep(0.3)
        file.write(QUICK.replace("5", "6"))
    second = child.shown(READY)
    assert "run 2" in second
    assert "> winners 5 | winners 6" in second


def test_the_first_five_edited_lines_are_listed(terminal, mine):
    mine.write_text("".join(f"a{i} = 0\n" for i in range(1, 8)))
    child = terminal("observe", "k_wta")
    child.shown(READY)
    save(mine, mine.read_text().replace("a5 = 0", "a5 = '[bold]x[/]'  # a hint").replace("0", "1"))
    second = child.shown(READY)
    assert "line 1: a1 = 1\n" in second
    assert "line 5: a5 = '[bold]x[/]'\nand 2 more\n" in second


STEERING = r"""
import sys
for file in sys.stdout, sys.stderr:
    text = "a\x1b]0;title\x07b\x1b[2Jc\x9b2Jd\x0ee\x1b(0f\x1b[1;31mg\x1bPq\x1b\\h\x7fi\x00j"
    print(text, file=file)
    print("10%\r20%\r\x1b[K30%\r", file=file)
    print("[bold]x[/]\ty", file=file)
"""


def test_what_an_example_prints_cannot_steer_the_terminal(terminal, mine):
    mine.write_text(STEERING)
    child = terminal("observe", "k_wta")
    for _ in range(2):
        child.expect_exact(READY)
        seen = child.before
        for printed in ("abcdefghij", "30%", "[bold]x[/]"):
            assert seen.count(printed) >= 2
        assert "20%" not in seen
        for steering in ("title", "\x1b[2J", "\x9b", "\x0e", "\x1b(", "\x1bP", "\x1b[K", "\0"):
            assert steering not in seen
        save(mine, STEERING + "print('more')\n")


def test_an_endless_loop_is_ended_and_the_next_save_goes_on(terminal, mine):
    mine.write_text("print('begun')\nwhile True: pass\n")
    child = terminal("observe", "k_wta", "--timeout", "1.5")
    child.expect_exact("running")
    child.expect_exact("\x1b[2K")  # it goes away
    first = child.shown(READY)
    assert "begun" in first
    assert "ended after 1.5 seconds" in first
    save(mine, QUICK)
    assert "winners 5" in child.shown(READY)


def test_a_huge_output_is_cut(terminal, mine):
    mine.write_text("for i in range(10**9): print(i)\n")
    child = terminal("observe", "k_wta")
    first = child.shown(READY)
    assert "\n199\n" in first
    assert "\n200\n" not in first
    assert "... lines left out: " in first
    assert "ended after 1,000,000 bytes of output" in first
    save(mine, QUICK)
    assert "winners 5" in child.shown(READY)


def test_long_outputs_are_cut_and_compared_as_they_are_shown(terminal, mine):
    source = "print('x' * 1001)\nfor i in range(1, 200): print(f'{i}.')\n"
    mine.write_text(source)
    child = terminal("observe", "k_wta")
    first = child.shown(READY)
    assert f"{'x' * 500} ... characters left out: 1 ... {'x' * 500}\n" in first
    assert "\n199.\n" in first
    assert "lines left out" not in first
    save(mine, source.replace("200", "201"))
    second = child.shown(READY)
    assert "| ... lines left out: 1 ..." in second
    assert "200." not in second
    save(mine, source.replace("200", "203"))
    third = child.shown(READY)
    assert "> ... lines left out: 1 ... | ... lines left out: 3 ..." in third
    assert "200." not in third
    save(mine, source.replace("200", "203").replace("1001", "1000 + 'y' + 'x' * 500"))
    child.shown(READY)
    save(mine, source.replace("200", "203").replace("1001", "1000 + 'z' + 'x' * 500"))
    assert "What changed is in what is left out." in child.shown(READY)


def test_long_errors_keep_their_end(terminal, mine):
    mine.write_text(
        "import sys\nfor i in range(100): print(f'{i}.', file=sys.stderr)\n"
        "raise ValueError('x' * 3000 + 'the end')\n"
    )
    child = terminal("observe", "k_wta")
    first = child.shown(READY)
    assert "\n9.\n... lines left out: 74 ...\n84.\n" in first
    assert "\nValueError: xxx" in first
    assert "x ... characters left out: 2,019 ... x" in first
    assert "xthe end\n" in first


def test_a_deleted_file_or_folder_is_waited_for(terminal, mine):
    mine.write_text(QUICK)
    child = terminal("observe", "k_wta")
    child.shown(READY)
    mine.unlink()
    child.expect_exact("k_wta.py is gone; it runs again when it is back.")
    mine.write_text(QUICK.replace("5", "7"))
    assert "winners 7" in child.shown(READY)
    shutil.rmtree(mine.parent)
    child.expect_exact("k_wta.py is gone; it runs again when it is back.")
    mine.parent.mkdir()
    mine.write_text(QUICK.replace("5", "8"))
    assert "> winners 7 | winners 8" in child.shown(READY)
    mine.unlink()
    mine.mkdir()
    child.expect_exact("k_wta.py cannot be read (Is a directory); it runs again when it can be.")


def test_leaving_ends_the_run_without_a_traceback(terminal, mine, leaving, is_running):
    leave, code = leaving
    mine.write_text(ENDLESS)
    child = terminal("observe", "k_wta")
    child.expect_exact("run 1")
    pid = pid_of_run(mine)
    leave(child)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == code
    assert "Traceback" not in child.before
    assert not is_running(pid)


def test_the_terminal_is_left_as_it_was_found(program, tmp_path, mine):
    mine.write_text(QUICK)
    script = f"stty -a > before; {program} observe k_wta; stty -a > after; echo over"
    child = pexpect.spawn(
        "/bin/sh", ["-c", script], cwd=str(tmp_path), encoding="utf-8", timeout=60
    )
    child.expect_exact("q leaves.")
    child.send("q")
    child.expect_exact("over")
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()


@pytest.mark.skipif(not shutil.which("bash"), reason="needs a shell that stops and resumes")
def test_a_stopped_one_goes_on_with_single_keys_and_can_be_ended(program, tmp_path, mine):
    mine.write_text(QUICK)
    child = pexpect.spawn(
        "bash", ["--norc", "--noprofile", "-i"], cwd=tmp_path, encoding="utf-8", timeout=60
    )
    gone = 'until [ -z "$(jobs -s)$(jobs -r)" ]; do sleep 0.1; done'
    for resume in ("fg", f"kill %1; {gone}"):
        child.sendline(f"{program} observe k_wta")
        child.expect_exact("q leaves.")
        child.sendcontrol("z")
        child.expect_exact("Stopped")
        child.sendline(f"{resume}; echo code $?")
        if resume == "fg":
            child.expect_exact("observe k_wta\r\n")
            time.sleep(0.3)
            child.send("q")
        left = child.expect_exact(["code 0\r\n", pexpect.TIMEOUT])
        assert left == 0, child.before


def test_it_runs_in_a_pipe_without_control_codes(program, tmp_path, mine):
    mine.write_text(QUICK)
    child = subprocess.Popen(
        [program, "observe", "k_wta"],
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
    assert lines[-1] == "Save k_wta.py to run it again; Ctrl-C leaves.\n"
    assert "\x1b" not in "".join(lines) + rest
    assert child.returncode == 130


def test_what_cannot_be_written_is_an_error(lexicon, tmp_path, mine):
    mine.symlink_to(tmp_path / "nowhere.py")
    finished = lexicon("observe", "k_wta", cwd=tmp_path, exit_code=1)
    assert f"{mine}: No such file" in finished.stderr
    assert not mine.exists()
    mine.unlink()
    mine.mkdir()
    finished = lexicon("observe", "k_wta", cwd=tmp_path, exit_code=1)
    assert "k_wta.py" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_lexicons_own_example_is_not_observed(lexicon):
    own = find("k_wta").example
    finished = lexicon("observe", "k_wta", cwd=own.parent, exit_code=2)
    assert "the lexicon's own; start in another folder" in " ".join(finished.stderr.split())


def test_a_folder_that_was_deleted_is_an_error(program, tmp_path):
    finished = subprocess.run(
        ["sh", "-c", f"rmdir {tmp_path}; exec {program} observe k_wta"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert finished.stderr == "lexicon: this folder has been deleted; start in another\n"
    assert finished.returncode == 1
