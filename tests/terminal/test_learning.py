import pytest

from lexicon.catalog import Check, Knob, entries, find
from lexicon.terminal.learning import is_finished, is_unlocked, learn_next, path_tree, questions


def finish(*slugs):
    return {slug: dict.fromkeys(questions(find(slug)), True) for slug in slugs}


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_every_entry_asks_for_predictions_and_for_reasons(entry):
    asked = questions(entry)
    assert any(isinstance(question, Knob) for question in asked.values())
    assert any(isinstance(question, Check) for question in asked.values())
    assert "SEED" not in asked
    assert len(asked) == len([k for k in entry.knobs if k.name != "SEED"]) + len(entry.checks)


def test_an_entry_is_finished_when_all_its_questions_are_answered():
    k_wta = find("k_wta")
    answers = finish("k_wta")
    assert is_finished(k_wta, answers)
    answers["k_wta"]["K"] = False
    assert not is_finished(k_wta, answers)
    del answers["k_wta"]["K"]
    assert not is_finished(k_wta, answers)
    assert not is_finished(k_wta, {})


def test_an_entry_is_unlocked_when_its_prerequisites_are_finished():
    mask, k_wta = find("mask"), find("k_wta")
    assert is_unlocked(find("linear_layer"), {})
    assert not is_unlocked(mask, {})
    assert is_unlocked(mask, finish("linear_layer"))
    assert not is_unlocked(k_wta, finish("linear_layer"))
    assert is_unlocked(k_wta, finish("mask"))


def test_what_comes_next_is_unlocked_unfinished_and_in_reading_order():
    first = list(learn_next({}))
    assert first[0] == find("neuron")
    assert find("mask") not in first
    later = list(learn_next(finish("neuron", "linear_layer")))
    assert find("neuron") not in later
    assert find("mask") in later
    order = entries()
    assert later == sorted(later, key=order.index)
    assert list(learn_next(finish(*(entry.slug for entry in order)))) == []


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.slug)
def test_a_path_has_all_that_is_needed_before_it_is_needed(entry):
    tree = path_tree(entry, leave_out=lambda _: False)
    order = [branch.entry for branch in tree]
    assert set(order) == set(entry.path)
    assert len(order) == len(set(order))
    assert order[-1] == entry
    assert not order[0].prerequisites
    for place, other in enumerate(order):
        assert set(other.prerequisites) <= set(order[:place])


def test_a_path_is_drawn_as_a_tree():
    tree = path_tree(find("rewiring"), leave_out=lambda _: False)
    assert [branch.lines + branch.entry.slug for branch in tree] == [
        "┌─ forward_pass",
        "├─ gradient_descent",
        "│  ┌─ linear_layer",
        "├─ mask",
        "│  ┌─ sampled_gradient",
        "├─ csr_layer",
        "├─ erdos_renyi",
        "rewiring",
    ]
    also = {branch.entry.slug: [e.slug for e in branch.also_needs] for branch in tree}
    assert also["gradient_descent"] == ["forward_pass"]
    assert also["csr_layer"] == ["linear_layer"]
    assert also["rewiring"] == []


def test_the_first_branch_has_nothing_above_it():
    tree = path_tree(find("k_wta"), leave_out=lambda _: False)
    assert [branch.lines for branch in tree] == ["   ┌─ ", "┌─ ", ""]


def test_what_is_left_out_hands_on_what_it_needs():
    left_out = {find("mask"), find("csr_layer")}
    tree = path_tree(find("rewiring"), leave_out=left_out.__contains__)
    assert [branch.entry.slug for branch in tree] == [
        "forward_pass",
        "gradient_descent",
        "linear_layer",
        "sampled_gradient",
        "erdos_renyi",
        "rewiring",
    ]
