import json
import re

import pytest

from lexicon.catalog import Check, find
from lexicon.terminal.examples import run_example
from lexicon.terminal.learning import questions
from lexicon.terminal.progress import progress_file
from lexicon.terminal.quiz import in_order, predict

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
        assert prediction.before in prediction.choices
        assert len(set(prediction.choices)) == len(prediction.choices) == 4
        assert predict(entry, knob, seed=seed) == prediction
    assert len({predict(entry, entry.knobs[0], seed=seed).right for seed in range(3)}) > 1


def test_the_order_is_seeded_and_wrong_answers_come_after_new_questions():
    entry = find("k_wta")
    order = list(in_order(entry, {}, seed=0))
    assert sorted(order) == sorted(questions(entry))
    assert order == list(in_order(entry, {}, seed=0))
    assert len({tuple(in_order(entry, {}, seed=seed)) for seed in range(5)}) > 1
    first, second, *rest = order
    kept = {first: False, second: True}
    assert list(in_order(entry, kept, seed=0)) == [*rest, first, second]


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
    assert "1 of 15 finished" in lexicon().stdout
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
    assert "One winner loses accuracy" in child.shown("\n")


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
    child.shown("Neuron: question 1 of")
    child.sendline("q")


def test_a_chapter_can_be_asked(terminal):
    child = terminal("quiz", "sparsity")
    child.shown("Sparsity: question 1 of")


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
