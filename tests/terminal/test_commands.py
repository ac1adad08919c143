import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lexicon.catalog import entries, find
from lexicon.terminal.commands import app
from lexicon.terminal.examples import parse_sweep, run_example
from lexicon.terminal.help import complete_sweep
from lexicon.terminal.learning import questions
from lexicon.terminal.progress import record_answer

COMMANDS = ["read", "run", "observe", "quiz", "path", "search", "tour", "bench"]


def finish(slug):
    for name in questions(find(slug)):
        record_answer(slug, name, True, say=pytest.fail)


def test_the_commands_are_those_that_are_documented(lexicon):
    names = [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    assert sorted([*names, *(group.name for group in app.registered_groups)]) == sorted(COMMANDS)
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert all(f"lexicon {name}" in readme for name in COMMANDS)


@pytest.mark.parametrize(
    "command",
    [
        "",
        *COMMANDS,
        *("bench gradient", "bench scale", "bench accuracy"),
        *("bench structures", "bench attention", "bench activations"),
    ],
)
def test_help_has_examples_that_begin_with_the_command(lexicon, command):
    printed = lexicon(*command.split(), "--help", COLUMNS="80").stdout
    assert printed == lexicon(*command.split(), "-h", COLUMNS="80").stdout
    examples = printed.partition("Examples:\n")[2].splitlines()
    assert examples
    assert all(line.strip().startswith(f"lexicon {command}".strip()) for line in examples)
    assert "..." not in printed.partition("Commands:")[2].partition("Examples:")[0]
    assert "\x1b" not in printed


def test_the_version(lexicon):
    assert re.fullmatch(r"lexicon \d+\.\d+\.\d+\n", lexicon("--version").stdout)


def test_the_list_names_every_entry(lexicon):
    printed = lexicon().stdout
    for entry in entries():
        assert f"{entry.slug} " in printed
        assert entry.title in printed
    assert "\x1b" not in printed
    assert "Start with  lexicon tour" in printed
    assert "finished" not in printed


def test_the_list_says_what_is_finished_and_what_to_learn_next(lexicon):
    finish("neuron")
    finish("linear_layer")
    record_answer("mask", "BETA", True, say=pytest.fail)
    record_answer("mask", "DECAY", False, say=pytest.fail)
    printed = lexicon().stdout
    assert "Neuron (finished)" in printed
    assert f"Mask (1 of {len(questions(find('mask')))})" in printed
    assert f"2 of {len(entries('foundations'))} finished" in printed
    assert "Learn next: weights_and_bias, activation, chain_rule" in printed


def test_the_list_as_json(lexicon):
    finish("linear_layer")
    rows = {row["entry"]: row for row in json.loads(lexicon("--json").stdout)}
    assert list(rows) == [entry.slug for entry in entries()]
    assert rows["csr_layer"]["chapter"] == "sparsity"
    assert "sampled_gradient" in rows["csr_layer"]["prerequisites"]
    assert rows["csr_layer"]["summary"] == find("csr_layer").summary
    assert [slug for slug, row in rows.items() if row["finished"]] == ["linear_layer"]
    assert rows["mask"]["unlocked"]
    assert not rows["k_wta"]["unlocked"]


def test_read_in_a_pipe_has_no_control_codes_and_no_blanks_at_the_ends(lexicon):
    printed = lexicon("read", "mask").stdout
    assert "\x1b" not in printed
    assert printed.startswith("Mask\n====\n")
    assert "What usually goes wrong?\n------------------------\n" in printed
    assert not re.search(r"[ \t]$", printed, re.MULTILINE)


def test_read_shows_one_section(lexicon):
    printed = lexicon("read", "k_wta", "--section", "pitfalls").stdout
    assert printed.startswith("What usually goes wrong?\n")
    assert "A threshold keeps more than k" in printed
    assert "Check yourself." not in printed
    finished = lexicon("read", "k_wta", "--section", "nonsense", exit_code=2)
    assert "'pitfalls'" in finished.stderr


@pytest.mark.parametrize("columns", ["60", "80", "160"])
@pytest.mark.parametrize("slug", ["backpropagation", "sparse_matrix", "erdos_renyi"])
def test_read_fits_its_terminal(lexicon, slug, columns):
    printed = lexicon("read", slug, COLUMNS=columns).stdout
    assert max(map(len, printed.splitlines())) <= min(int(columns), 104)
    words = re.findall(r"\w+", find(slug).module.read_text(encoding="utf-8"))
    source = re.sub(r"\s", "", printed)
    assert all(word in source for word in words)


def test_read_is_paged_when_long_and_only_then(lexicon, terminal):
    import pexpect

    words = ("read", "k_wta", "--section", "what")
    lines = lexicon(*words, COLUMNS="100").stdout.count("\n")
    pager = {"PAGER": """sh -c 'echo "<$LESS|$LESSCHARSET>"; cat'""", "LESS": "-i"}
    child = terminal(*words, rows=lines, **pager)
    assert child.shown("What is it?").strip() == "<-i -R|utf-8>"
    for child in (
        terminal(*words, rows=lines + 1, **pager),
        terminal("read", "k_wta", **pager, TERM="dumb"),
    ):
        child.expect(pexpect.EOF)
        assert "What is it?" in child.before
        assert "utf-8>" not in child.before


@pytest.mark.parametrize(
    ("environment", "colour"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
    ids=["colour", "NO_COLOR", "dumb"],
)
def test_colours_are_there_where_they_are_wanted(terminal, environment, colour):
    import pexpect

    child = terminal("run", "k_wta", "--set", "K=1", **environment)
    child.expect(pexpect.EOF)
    assert ("\x1b[1;32m" in child.before and "0.909" in child.before) == colour
    assert ("\x1b[1m" in child.before) == ("TERM" not in environment)
    if "TERM" in environment:
        assert "\x1b" not in child.before
    assert "0.909" in child.before


def test_run_prints_what_the_example_prints_and_how_to_go_on(lexicon):
    printed = lexicon("run", "k_wta").stdout
    assert printed.startswith(find("k_wta").question)
    assert run_example(find("k_wta")).output in printed
    assert "lexicon run k_wta --set K=1\n" in printed


def test_run_shows_both_values_of_what_a_knob_changed(lexicon):
    answer = json.loads(lexicon("run", "k_wta", "--set", "K=1", "--json").stdout)
    assert answer["settings"] == {"K": 1}
    changed = dict(zip(answer["output"].splitlines(), answer["changed"], strict=True))
    assert changed["active per sample   1 to 1 of 64"]
    assert not changed["the first test digit's hidden layer, its 8 most positive neurons"]
    wide = lexicon("run", "k_wta", "--set", "K=1", COLUMNS="120").stdout
    assert "  K = 5                                      | K = 1\n" in wide
    assert "> active per sample   5 to 5 of 64           | active per sample   1 to 1 of 64" in wide
    narrow = lexicon("run", "k_wta", "--set", "K=1", COLUMNS="60").stdout
    assert "- active per sample   5 to 5 of 64\n+ active per sample   1 to 1 of 64\n" in narrow


def test_json_says_which_lines_of_the_turned_run_are_new(lexicon):
    answer = json.loads(lexicon("run", "forward_pass", "--set", "TIMES=2", "--json").stdout)
    lines = answer["output"].splitlines()
    assert len(answer["changed"]) == len(lines) == 7  # one more than with the default
    assert [line.split()[0] for line, new in zip(lines, answer["changed"], strict=True) if new] == [
        "Activation",
        "Linear",
        "accuracy",
    ]


def test_a_sweep_is_tabulated(lexicon):
    kind, width, _ = find("sparse_matrix").knobs
    words = ("run", "sparse_matrix", "--sweep", "TYPE=float32,uint8", "--set", "WIDTH=8")
    rows = json.loads(lexicon(*words, "--json").stdout)
    assert [row["settings"] for row in rows] == [
        {"WIDTH": 8, "TYPE": value} for value in ("float32", "uint8")
    ]
    first, second = (
        run_example(find("sparse_matrix"), {width: 8, kind: value}).output
        for value in ("float32", "uint8")
    )
    assert [row["output"] for row in rows] == [first, second]
    assert [sum(row["changed"]) for row in rows] == [0, 6]
    heading, *lines = zip(first.splitlines(), second.splitlines(), strict=True)
    assert lexicon(*words, COLUMNS="90").stdout.splitlines()[1:] == [
        "TYPE",
        f"{'':11}{heading[0]}",
        *"\n\n".join(f"'float32'  {a}\n'uint8'    {b}" for a, b in lines).splitlines(),
    ]
    whole = f"TYPE = 'float32'\n{first}\nTYPE = 'uint8'\n{second}"
    assert lexicon(*words, COLUMNS="60").stdout.endswith(whole)


@pytest.mark.parametrize("words", [("--set", "WIDTH=4"), ("--sweep", "WIDTH=8")])
def test_where_nothing_changes_the_output_is_shown_once(lexicon, words):
    entry = find("sparse_matrix")
    output = run_example(entry, {entry.knobs[1]: int(words[1][-1])}).output
    printed = lexicon("run", entry.slug, *words, COLUMNS="90").stdout
    assert printed == f"{entry.question}\n{output}Nothing changed.\n"


def test_long_lines_are_not_cut(lexicon):
    entry = find("sparse_matrix")
    before, after = (run_example(entry, {entry.knobs[1]: width}).output for width in (4, 1))
    run = ("run", "sparse_matrix")
    assert before in lexicon(*run, COLUMNS="20").stdout
    printed = lexicon(*run, "--set", "WIDTH=1", COLUMNS="20").stdout.splitlines()
    lines = set(after.splitlines()) - set(before.splitlines())
    assert {line[2:] for line in printed if line.startswith("+ ")} == {*lines, "WIDTH = 1"}
    printed = lexicon(*run, "--sweep", "WIDTH=4,1", COLUMNS="20").stdout
    assert printed.endswith(f"WIDTH = 4\n{before}\nWIDTH = 1\n{after}")


def test_warnings_are_shown_and_do_not_mix_with_the_output(lexicon):
    words = ("run", "momentum", "--set", "LEARNING_RATE=10.0")
    finished = lexicon(*words)
    assert "Warning" not in finished.stdout
    assert finished.stderr.startswith("lexicon: momentum warned with LEARNING_RATE = 10.0\n")
    assert "RuntimeWarning: overflow" in finished.stderr
    finished = lexicon(*words, "--json")
    assert f"\n{json.loads(finished.stdout)['errors']}" in finished.stderr
    quiet = lexicon("run", "sparse_matrix", "--json")
    assert json.loads(quiet.stdout)["errors"] == quiet.stderr == ""


def test_what_a_failing_example_printed_is_shown_but_for_json(lexicon):
    words = ("run", "erdos_renyi", "--set", "DENSITY=5.0")
    finished = lexicon(*words, exit_code=1)
    (density, *_) = find("erdos_renyi").knobs
    assert finished.stdout == run_example(find("erdos_renyi"), {density: 5.0}).output != ""
    as_json = lexicon(*words, "--json", exit_code=1)
    assert as_json.stdout == ""
    assert as_json.stderr == finished.stderr


def test_the_source_is_printed_as_it_would_run(lexicon):
    example = find("k_wta").example.read_text(encoding="utf-8")
    assert lexicon("run", "k_wta", "--source").stdout == example
    turned = lexicon("run", "k_wta", "--source", "--set", "K=3").stdout
    assert turned == example.replace("K = 5 ", "K = 3 ")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["run", "kwta"], "did you mean k_wta"),
        (["read", "maks"], "did you mean mask"),
        (["observe", "maks"], "did you mean mask"),
        (["path", "maks"], "did you mean mask"),
        (["run", "k_wta", "--set", "Q=1"], "it has K, EPOCHS, SEED"),
        (["run", "k_wta", "--set", "K"], "must be NAME=VALUE"),
        (["run", "k_wta", "--set", "K=2.5"], "K must be int"),
        (["run", "k_wta", "--sweep", "K=1,x"], "K must be int"),
        (["run", "k_wta", "--sweep", "K=1,2", "--set", "K=3"], "both set and swept"),
        (["run", "k_wta", "--sweep", "K=1,2", "--sweep", "K=3,4"], "only one knob"),
        (["run", "k_wta", "--sweep", ""], "must be NAME=VALUE"),
        (["run", "k_wta", "--source", "--json"], "--source goes with --set only"),
        (["run", "k_wta", "--source", "--sweep", "K=1,2"], "--source goes with --set only"),
        (["run", "k_wta", "--timeout", "0"], "--timeout"),
        (["search"], "WORDS"),
        (["tour", "--seeds", "0"], "--seeds"),
        (["nonsense"], "nonsense"),
    ],
    ids=" ".join,
)
def test_wrong_use_exits_with_2_and_helps(lexicon, words, complaint):
    assert complaint in lexicon(*words, exit_code=2).stderr


def test_a_failing_example_exits_with_1_and_shows_its_own_line(lexicon):
    finished = lexicon("run", "k_wta", "--set", "K=65", exit_code=1)
    assert finished.stdout == ""
    assert finished.stderr.startswith("lexicon: k_wta failed with K = 65\n")
    example = find("k_wta").example
    (number,) = re.findall(rf'File "{example}", line (\d+)', finished.stderr)
    assert example.read_text().splitlines()[int(number) - 1].startswith("train(")
    assert finished.stderr.endswith("ValueError: k must be 1 to 64, got 65\n")


def test_a_run_that_takes_too_long_exits_with_1(lexicon):
    finished = lexicon("run", "k_wta", "--set", "EPOCHS=100000", "--timeout", "2", exit_code=1)
    assert "ended after 2 seconds" in finished.stderr
    assert finished.stdout == ""


def test_ctrl_c_exits_with_130_and_no_traceback(terminal):
    import pexpect

    child = terminal("run", "k_wta", "--set", "EPOCHS=100000")
    child.expect_exact("running")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in child.before


def test_a_path_starts_with_what_needs_nothing_and_ends_with_the_entry(lexicon):
    lines = lexicon("path", "rewiring").stdout.splitlines()
    assert "forward_pass" in lines[0]
    assert lines[-1].startswith("rewiring ")
    rows = json.loads(lexicon("path", "rewiring", "--json").stdout)
    assert [row["entry"] for row in rows] == [entry.slug for entry in find("rewiring").path]
    assert not rows[0]["prerequisites"]


def test_a_path_to_read_leaves_out_what_is_finished(lexicon):
    finish("linear_layer")
    assert "Linear layer (finished)" in lexicon("path", "mask").stdout
    printed = lexicon("path", "mask", "--to-read").stdout
    assert "linear_layer" not in printed
    assert printed.startswith("mask ")
    rows = json.loads(lexicon("path", "mask", "--to-read", "--json").stdout)
    assert [row["entry"] for row in rows] == ["mask"]
    finish("mask")
    assert lexicon("path", "mask", "--to-read").stdout.strip() == ""


def test_search_shows_names_and_sentences(lexicon):
    printed = lexicon("search", "dead", "neurons").stdout
    assert printed.startswith("relu_sparsity  ReLU sparsity\n    input_densities measures")
    rows = json.loads(lexicon("search", "dead neurons", "--json").stdout)
    assert [row["entry"] for row in rows][:2] == ["relu_sparsity", "boosting"]
    assert "dead_neurons" in rows[0]["line"]
    assert "nothing is found" in lexicon("search", "xyzzyq").stderr
    assert json.loads(lexicon("search", "xyzzyq", "--json").stdout) == []
    narrow = lexicon("search", "dead", "neurons", COLUMNS="30").stdout
    for shown, width in ((printed, 80), (narrow, 30)):
        lines = shown.splitlines()
        assert not any(line.endswith(" ") for line in lines)
        assert max(len(line) for line in lines if line.startswith(" ")) <= width
    assert " ".join(narrow.split()) == " ".join(printed.split())


def test_search_makes_bold_what_it_found(terminal):
    import pexpect

    child = terminal("search", "winner", "dead")
    child.expect(pexpect.EOF)
    assert "\x1b[1mwinners" in child.before
    assert "\x1b[1mdead\x1b" in child.before


def test_search_shows_formulas_as_signs(lexicon):
    lines = [row["line"] for row in json.loads(lexicon("search", "shape", "--json").stdout)]
    assert lines
    assert not any(sign in line for line in lines for sign in ("$", "\\", "](", "`"))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("lexicon re", "read"),
        ("lexicon read k_", "k_wta"),
        ("lexicon quiz sp", "sparsity"),
        ("lexicon run k_wta --set ", "K=1"),
        ("lexicon run k_wta --set E", "EPOCHS=1"),
        ("lexicon run backpropagation --set T", r"TRAINED=\(\'w2\',\ \'b2\'\)"),
        ("lexicon run k_wta --sweep ", "EPOCHS=10,1"),
        ("lexicon run activation --sweep F", "FUNCTION=relu,tanh,sigmoid"),
        ("lexicon read k_wta --section p", "pitfalls"),
    ],
)
def test_the_shell_completes_commands_entries_and_knobs(lexicon, words, expected):
    assert expected in completed(lexicon, words.split(" "))


def completed(lexicon, words, separator=" "):
    """Return what bash would be given for the last word."""
    environment = {"_LEXICON_COMPLETE": "complete_bash", "COMP_WORDS": separator.join(words)}
    return lexicon(**environment, COMP_CWORD=str(len(words) - 1)).stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run k_wta --set K =", ["1", "64"]),
        ("run k_wta --set K = 6", ["64"]),
        ("run k_wta --sweep EPOCHS =", ["10,1"]),
        ("run k_wta --set K = 6 --set SEED =", ["1"]),
        ("run k_wta --set K = 6 --set SE", ["SEED=1"]),
        ("run --set K = 6 k_w", ["k_wta"]),
        ("read k_wta --section =", ["what", "why", "how", "run", "pitfalls", "check", "related"]),
        ("read _wta", [""]),
        ("run no_entry --set K", [""]),
        ("run k_wta --set W", [""]),
    ],
)
def test_bash_which_ends_a_word_at_an_equals_sign_completes_the_rest(lexicon, words, expected):
    assert completed(lexicon, ["lexicon", *words.split()], separator="\n") == expected


def test_a_real_bash_completes_a_knob_and_its_value(home):
    pexpect = pytest.importorskip("pexpect")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TERM": "dumb"}
    with pexpect.spawn("bash --norc --noprofile", cwd=home, env=environment, timeout=60) as bash:
        bash.sendline("source <(_LEXICON_COMPLETE=source_bash lexicon)")
        bash.send("lexicon run k_wta --set EP\t--sweep K=\t")
        bash.send("\x01echo \x05\r")  # instead of running it
        completed = b"\nlexicon run k_wta --set EPOCHS=1 --sweep K=5,1,64"
        assert bash.expect_exact([completed, pexpect.TIMEOUT]) == 0, bash.before


def test_zsh_shows_titles_and_hints_beside_what_it_completes(lexicon):
    environment = {"_LEXICON_COMPLETE": "complete_zsh"}
    k, *_ = find("k_wta").knobs
    for words, hint in (
        ("lexicon run k_wta --set K", f'"K\\=64":"{k.hint}"'),
        ("lexicon run k_wta --sweep K", f'"K\\=5,1,64":"{k.hint}"'),
        ("lexicon read k_", f'"k_wta":"{find("k_wta").title}"'),
    ):
        printed = lexicon(**environment, _TYPER_COMPLETE_ARGS=words).stdout
        assert hint.replace("\\", "") in printed.replace("\\", "")


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_every_sweep_that_is_offered_can_be_run(entry):
    context = SimpleNamespace(params={"entry": entry.slug}, args=[])
    offered = [shlex.split(sweep)[0] for sweep, _ in complete_sweep(context, "")]
    assert [parse_sweep(entry, sweep) for sweep in offered] == [
        (knob, [knob.value, *knob.tries]) for knob in entry.knobs
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {"LANG": "C", "LC_ALL": "C"},
        {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        {"TERM": "dumb"},
        {"COLUMNS": "20"},
    ],
    ids=str,
)
def test_poor_terminals_are_served(lexicon, environment, tmp_path):
    for words in ([], ["read", "k_wta"], ["path", "rewiring"], ["search", "cortex"]):
        assert lexicon(*words, cwd=tmp_path, **environment).stdout.strip()
    printed = lexicon("run", "k_wta", "--set", "K=1", cwd=tmp_path, **environment).stdout
    assert "1 to 1 of 64" in printed
    assert "right" in lexicon("quiz", "k_wta", stdin="a\n\n" * 9, **environment).stdout


def in_shell(program, line):
    return subprocess.run(
        line.replace("lexicon", shlex.quote(str(program)), 1),
        shell=True,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_a_reader_that_stops_early_causes_no_traceback(program):
    finished = in_shell(program, "lexicon read backpropagation | head -1")
    assert finished.returncode == 0
    assert finished.stdout == "Backpropagation\n"
    assert finished.stderr == ""


@pytest.mark.parametrize(
    ("redirection", "exit_code"),
    [("< /dev/null", 0), ("<&-", 0), (">&-", 0), ("2>&-", 0), ("> /dev/full", 1)],
)
def test_odd_streams_cause_no_traceback(program, redirection, exit_code):
    for words in ("run k_wta", "path rewiring", "read mask"):
        finished = in_shell(program, f"lexicon {words} {redirection}")
        assert finished.returncode == exit_code, finished
        assert "Traceback" not in finished.stderr


def test_nothing_heavy_is_imported_where_nothing_is_computed():
    code = (
        "import sys\nfrom lexicon.terminal.commands import app\n"
        "sys.argv = ['lexicon', *sys.argv[1:]]\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "print({'numpy', 'scipy', 'watchfiles', 'matplotlib', 'texicode'} & set(sys.modules))"
    )
    for words in (["--help"], [], ["path", "rewiring"], ["search", "cortex"]):
        printed = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            encoding="utf-8",
            env=os.environ,
            check=True,
        ).stdout
        assert printed.splitlines()[-1] == "set()", words
