import json
import re
from io import StringIO

import pytest
from rich.console import Console
from typer.testing import CliRunner

from lexicon.catalog import Check, Entry, entries, find
from lexicon.terminal import quiz
from lexicon.terminal.commands import app
from lexicon.terminal.examples import run_example
from lexicon.terminal.learning import questions
from lexicon.terminal.progress import progress_file, record_answer
from lexicon.terminal.quiz import hold_quiz, in_order, predict

pexpect = pytest.importorskip("pexpect", reason="there are no pseudo-terminals on Windows")

CHOOSE = "q to leave: "


def test_the_choices_are_real_outputs_and_one_of_them_comes():
    entry, seed = find("k_wta"), 1
    for knob in (knob for knob in entry.knobs if knob.name != "SEED"):
        prediction = predict(entry, knob, seed=seed)
        assert prediction.value in knob.tries
        assert prediction.before == run_example(entry).output
        right = prediction.choices[prediction.right]
        assert right == run_example(entry, {knob: prediction.value}).output
        assert prediction.before in prediction.choices  # there are only two other settings
        assert len(set(prediction.choices)) == len(prediction.choices) == 4
        assert predict(entry, knob, seed=seed) == prediction
    many = predict(find("neuron"), find("neuron").knobs[0], seed=seed)
    assert many.before not in many.choices  # it stands above the question
    assert len(many.choices) == 4
    others = [predict(entry, entry.knobs[0], seed=seed) for seed in range(4)]
    assert len({other.right for other in others}) > 1
    assert {other.value for other in others} == set(entry.knobs[0].tries)


def test_the_order_is_seeded_and_wrong_answers_come_after_new_questions():
    entry = find("k_wta")
    order = list(in_order(entry, {}, seed=0))
    assert sorted(order) == sorted(questions(entry))
    assert order == list(in_order(entry, {}, seed=0))
    assert len({tuple(in_order(entry, {}, seed=seed)) for seed in range(5)}) > 1
    first, second, *rest = order
    kept = {first: False, second: True}
    assert list(in_order(entry, kept, seed=0)) == [*rest, first, second]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_a_pages_questions_are_asked_in_its_order(entry):
    for seed in range(5):
        named = in_order(entry, {}, seed=seed)
        asked = [question for question in named.values() if isinstance(question, Check)]
        assert asked == entry.checks
    assert all(question == named[name] for name, question in questions(entry).items())


def test_another_seed_is_no_choice():
    entry = find("stochastic_gradient_descent")
    knob, _, seed_knob = entry.knobs
    assert seed_knob.name == "SEED"
    another = run_example(entry, {seed_knob: seed_knob.tries[0]}).output
    for seed in range(3):
        choices = predict(entry, knob, seed=seed).choices
        assert len(choices) == 3
        assert another not in choices


def test_a_failing_example_is_told(monkeypatch, tmp_path):
    copy = tmp_path / "broken.py"
    source = find("k_wta").example.read_text(encoding="utf-8")
    copy.write_text(source + "\nassert K == 5\n", encoding="utf-8")
    monkeypatch.setattr(Entry, "example", copy)
    entry = Entry("sparsity", "k_wta")
    with pytest.raises(RuntimeError, match=r"k_wta with K = \d+:\n(?s:.)*AssertionError"):
        predict(entry, entry.knobs[0], seed=0)


def answer(child, name, *, rightly=True, seed=0):
    """Answer the question that is asked; return what is shown after it."""
    entry = find("k_wta")
    question = questions(entry)[name]
    if isinstance(question, Check):
        child.shown("press Enter; " + CHOOSE)
        child.sendline("")
        text = child.shown(CHOOSE)
        child.sendline("y" if rightly else "n")
        return text
    child.shown(CHOOSE)
    right = predict(entry, question, seed=seed).right
    child.sendline("abcd"[right if rightly else right - 1])
    return ""


def kept():
    return json.loads(progress_file().read_text(encoding="utf-8"))["answers"]["k_wta"]


def test_predict_run_observe_until_finished(terminal, lexicon):
    names = list(in_order(find("k_wta"), {}, seed=0))
    child = terminal("quiz", "k_wta")
    assert f"question 1 of {len(names)}" in child.shown(" of 6") + " of 6"
    answer(child, names[0], rightly=False)
    answer(child, names[1])
    child.shown(CHOOSE)
    child.sendline("q")
    child.shown("1 of 2 right.")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert kept() == {names[0]: False, names[1]: True}

    # It goes on where it was left: with what is new, then with what was wrong.
    child = terminal("quiz", "k_wta")
    again = list(in_order(find("k_wta"), kept(), seed=0))[: len(names) - 1]
    assert again == [*names[2:], names[0]]
    for name in again:
        answer(child, name)
    child.shown("You have finished")
    child.shown("k-winners-take-all")
    child.shown(f"{len(names) - 1} of {len(names) - 1} right.")
    child.expect(pexpect.EOF)
    assert kept() == dict.fromkeys(names, True)

    assert "k-winners-take-all (finished)" in lexicon().stdout
    of_chapter = sum(entry.chapter == "sparsity" for entry in entries())
    assert f"1 of {of_chapter} finished" in lexicon().stdout
    assert "--again" in lexicon("quiz", "k_wta").stdout


def test_a_prediction_shows_the_example_the_choices_and_then_the_run(terminal):
    entry = find("k_wta")
    names = list(in_order(entry, {}, seed=0))
    number = next(i for i, name in enumerate(names) if name == "K")
    child = terminal("quiz", "k_wta", columns=120)
    for name in names[:number]:
        answer(child, name)
    asked = child.shown(CHOOSE)
    prediction = predict(entry, entry.knobs[0], seed=0)
    for line in prediction.before.splitlines():
        assert line in asked[: asked.index("You change")]
    assert f"You change K = 5 to K = {prediction.value} and run it again." in asked
    for letter in "abcd":
        assert re.search(rf"╭─ {letter} ─", asked)
    assert "the first test digit's hidden layer" not in asked[asked.index("You change") :]
    child.sendline("x")  # no answer: it asks again
    child.shown(CHOOSE)
    child.sendline("abcd"[prediction.right])
    then = child.shown("Right.")
    assert f"$ lexicon run k_wta --set K={prediction.value}" in then
    assert f"| K = {prediction.value}" in then
    assert "K = 1 or 64: one winner loses accuracy" in child.shown("\n")


def test_a_wrong_prediction_is_told_and_explained(terminal):
    entry = find("k_wta")
    names = list(in_order(entry, {}, seed=0))
    child = terminal("quiz", "k_wta")
    while names[0] not in ("K", "EPOCHS"):
        answer(child, names.pop(0))
    knob = questions(entry)[names[0]]
    right = predict(entry, knob, seed=0).right
    child.shown(CHOOSE)
    child.sendline("abcd"[right - 1])
    child.shown(f"No, it is {'abcd'[right]}.")
    assert knob.hint[1:] in child.shown(".\r\n") + "."


def test_the_default_is_what_can_be_learnt_next(terminal):
    child = terminal("quiz")
    assert child.shown("question 1 of").rstrip().endswith("Neuron:")
    child.sendline("q")


@pytest.mark.parametrize("slug", ["k_wta", "neuron", "activation"])
def test_the_example_comes_first_and_does_not_tell_the_answers(lexicon, slug):
    printed = lexicon("quiz", slug, COLUMNS="100").stdout
    entry = find(slug)
    assert printed.count(entry.question) == 1
    for knob in entry.knobs:
        assert f"\n{knob.name} = " in printed
        assert knob.hint not in printed
    assert "# try" not in printed
    record = {c.question: False for c in entry.checks} | {k.name: True for k in entry.knobs}
    for name, right in record.items():
        record_answer(slug, name, right, say=pytest.fail)
    assert entry.question in lexicon("quiz", slug).stdout


def test_the_rows_of_a_table_stay_whole_where_no_frame_fits_around_them(lexicon):
    entry = find("sparse_matrix")
    printed = lexicon("quiz", "sparse_matrix", stdin="a\ny\n" * 20, COLUMNS="60").stdout
    for line in run_example(entry).output.splitlines():
        assert f"\n{line}\n" in printed
    for knob in entry.knobs:
        prediction = predict(entry, knob, seed=0)
        for line in prediction.choices[prediction.right].splitlines():
            assert f"\n{line}\n" in printed
    assert "\nd ────" in printed


def test_what_was_answered_rightly_is_asked_again_if_wanted(lexicon):
    for entry in entries():
        for name in questions(entry):
            record_answer(entry.slug, name, True, say=pytest.fail)
    for what in ([], ["k_wta"], ["training"]):
        assert "--again" in lexicon("quiz", *what).stdout
    assert "Neuron: question 1 of 5" in lexicon("quiz", "--again").stdout
    assert "question 1 of 6" in lexicon("quiz", "k_wta", "--again").stdout
    finished = lexicon("path", "mask", "--to-read")
    assert finished.stdout == ""
    assert "you have finished Mask" in finished.stderr


def hold(monkeypatch, given, kept, **options):
    """Hold a quiz on sparse storage, whose first question by seed 0 is one of its page's."""
    given = iter(given)

    def answer(prompt):
        text = next(given)
        if isinstance(text, Exception):
            raise text
        return text

    console = Console(file=StringIO())
    monkeypatch.setattr(console, "input", answer)
    told = {"again": False, "seed": 0, "console": console, "say": pytest.fail}
    return hold_quiz([find("sparse_storage")], {"sparse_storage": kept}, **{**told, **options})


def test_a_byte_that_is_no_letter_is_no_answer(monkeypatch):
    no_text = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
    assert hold(monkeypatch, [no_text, "q"], {}) == (0, 0)


def test_the_reader_says_whether_it_was_the_answer_and_what_was_right_stays_right(monkeypatch):
    name = next(iter(in_order(find("sparse_storage"), {}, seed=0)))
    kept = {}
    assert hold(monkeypatch, ["", "n", "q"], kept) == (1, 0)
    assert kept == {name: False}
    kept = dict.fromkeys(questions(find("sparse_storage")), True)
    name = next(iter(in_order(find("sparse_storage"), kept, seed=0)))
    assert hold(monkeypatch, ["", "n", "q"], kept, again=True) == (1, 0)
    assert all(kept.values())


def test_a_failing_example_ends_the_quiz_with_1(monkeypatch):
    def fail(*words, **options):
        raise RuntimeError("k_wta with K = 1:\nValueError")

    monkeypatch.setattr(quiz, "hold_quiz", fail)
    finished = CliRunner().invoke(app, ["quiz", "k_wta"])
    assert finished.exit_code == 1
    assert "lexicon: k_wta with K = 1:\nValueError\n" in finished.stderr


def test_an_answer_that_cannot_be_kept_does_not_stop_the_quiz(lexicon, home):
    (home / "data").write_text("a file where the folder should be")
    finished = lexicon("quiz", "k_wta", stdin="a\ny\n" * 9)
    assert "could not be kept" in finished.stderr
    assert " of 6 right." in finished.stdout


def test_a_chapter_can_be_asked(terminal):
    child = terminal("quiz", "sparsity")
    assert child.shown("question 1 of").rstrip().endswith("Sparsity:")


def test_ctrl_c_leaves_and_keeps_the_answers(terminal):
    child = terminal("quiz", "k_wta")
    name = next(iter(in_order(find("k_wta"), {}, seed=0)))
    answer(child, name)
    child.shown(CHOOSE)
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert "Traceback" not in child.before
    assert kept() == {name: True}


def test_a_pipe_may_answer_and_its_end_leaves(lexicon):
    finished = lexicon("quiz", "k_wta", stdin="")
    assert "\x1b" not in finished.stdout
    finished = lexicon("quiz", "k_wta", stdin="a\n" * 3 + "\n")
    assert "right." in finished.stdout
    assert "\x1b" not in finished.stdout


def test_a_damaged_progress_file_is_told_and_does_not_stop_the_quiz(lexicon):
    progress_file().parent.mkdir(parents=True)
    progress_file().write_text("{")
    finished = lexicon("quiz", "k_wta", stdin="q\n")
    assert "is damaged" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_an_unknown_subject_is_wrong_use(lexicon):
    assert "did you mean k_wta" in lexicon("quiz", "kwta", exit_code=2).stderr
