import pytest

from lexicon.terminal.bench.claims import capacity

DATA = ("digits", "fashion-mnist")


def rows(leads):
    """Return two seeds of a dense network at 80 and 84 %, and of sparse ones so far ahead.

    `leads` holds, by data and way, a lead for each of three densities.
    """
    found = []
    for data in DATA:
        for seed, dense in enumerate((0.8, 0.84)):
            cell = {"data": data, "seed": seed}
            found.append((cell | {"part": 1}, {"width": 3, "dense": dense}))
            for i, part in enumerate((2, 4, 8)):
                reads = {way: dense + leads[data, way][i] for way in capacity.WAYS}
                found.append((cell | {"part": part}, {"width": 3 * part, **reads}))
    return found


NEVER, ALWAYS = (0.0049, -0.1, 0.0), (0.0051, 0.1, 0.02)


@pytest.mark.parametrize(
    ("digits", "fashion", "verdict"),
    [
        ((ALWAYS, ALWAYS), (ALWAYS, ALWAYS), "holds"),
        ((NEVER, NEVER), (NEVER, NEVER), "does not hold"),
        (
            (NEVER, NEVER),
            (ALWAYS, ALWAYS),
            "holds only on fashion-mnist at all densities",
        ),
        (
            (NEVER, NEVER),
            ((0.0, 0.01, 0.0), ALWAYS),
            "holds only on fashion-mnist at a density of 1/4 if static "
            "and at all densities if rewired",
        ),
        (
            (NEVER, (0.01, 0.01, 0.0)),
            ((0.01, 0.0, 0.01), (0.01, 0.0, 0.01)),
            "holds only on digits at densities of 1/2 and 1/4 if rewired, "
            "and on fashion-mnist at densities of 1/2 and 1/8",
        ),
    ],
)
def test_verdicts(digits, fashion, verdict):
    pairs = zip(DATA, (digits, fashion), strict=True)
    leads = {
        (data, way): of_way
        for data, found in pairs
        for way, of_way in zip(capacity.WAYS, found, strict=True)
    }
    assert capacity.judge(rows(leads)).verdict == verdict


def test_a_lead_that_the_seeds_do_not_tell_is_none():
    leads = dict.fromkeys([(data, way) for data in DATA for way in capacity.WAYS], ALWAYS)
    found = rows(leads)
    cell, result = found[1]
    assert (cell["data"], cell["part"], cell["seed"]) == ("digits", 2, 0)
    result["static"] += 0.1  # a lead of 5.5 points on average, with a margin of 64
    finding = capacity.judge(found)
    assert finding.verdict == (
        "holds only on digits at densities of 1/4 and 1/8 if static and at all densities if "
        "rewired, and on fashion-mnist at all densities"
    )


def test_three_densities_in_a_row_are_a_range():
    assert capacity._range([4, 8, 16], [2, 4, 8, 16]) == "densities of 1/4 to 1/16"
    assert capacity._range([2, 8, 16], [2, 4, 8, 16]) == "densities of 1/2, 1/8 and 1/16"


def test_numbers_by_hand():
    leads = dict.fromkeys([(data, way) for data in DATA for way in capacity.WAYS], NEVER)
    leads["digits", "rewired"] = (0.02, 0.03, 0.04)
    finding = capacity.judge(rows(leads))
    assert finding.table[0] == ("digits", "1", "3", "82.0 ± 2.8", "82.0 ± 2.8", "", "")
    assert finding.table[2] == (
        *("digits", "1/4", "12", "72.0 ± 2.8", "85.0 ± 2.8", "-10.0 ± 0.0", "3.0 ± 0.0"),
    )
    assert len(finding.table) == 8
    assert finding.result == (
        "A narrow dense network is set against wide ones with as many connections, which are 1/2 "
        "to 1/8 of those possible (their density) and stay (static) or move (rewired). Accuracy is "
        "82.0 % against 72.0 to 86.0 % on digits and 82.0 % against 72.0 to 82.5 % on "
        "fashion-mnist."
    )


def test_cells():
    cell = capacity.CELLS[0] | {"epochs": 4}
    dense = capacity.measure(cell)
    assert dense["width"] == 12
    wide = capacity.measure(cell | {"part": 64})
    assert wide["width"] == 768
    assert dense["connections"] == wide["connections"] == 888
    assert 0.5 < wide["static"] < wide["rewired"] < dense["dense"]


def test_the_networks_are_those_of_the_docstring():
    for cell in capacity.CELLS:
        assert cell["learning_rates"].keys() == {"dense", *capacity.WAYS}
    assert {cell["part"] for cell in capacity.CELLS} == {1, 2, 4, 8, 16, 32, 64}
    assert 784 * 32 + 32 * 32 * 2 + 320 == 27_456
    assert capacity.dense_width([784, 1, 1, 1, 10], 64 * 27_456)[0] == 759
    assert capacity.dense_width([64, 12, 10], 64 * 888) == (768, 0)
