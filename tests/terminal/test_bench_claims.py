"""`lexicon bench claims`: runs what is missing, keeps it, and judges."""

import json
from dataclasses import replace

from lexicon.terminal.bench import claims
from lexicon.terminal.bench.claims import claim, measure_claim


def test_a_claim_is_measured_once_and_judged_each_time(lexicon, tmp_path):
    says = "A step of sparse training takes the FLOPs that RigL's formulas say."
    printed = lexicon("bench", "claims", "rigl_flops", cwd=tmp_path).stdout
    assert printed.startswith(f"\n{says}\n")
    assert max(map(len, printed.splitlines())) <= 80
    kept = tmp_path / "claims" / "rigl_flops.jsonl"
    before = kept.stat().st_mtime_ns
    again = lexicon("bench", "claims", "rigl_flops", "--json", cwd=tmp_path)
    (found,) = json.loads(again.stdout)
    assert (found["claim"], found["says"]) == ("rigl_flops", says)
    verdict = found["verdict"][0].upper() + found["verdict"][1:]
    assert f"{verdict}. {found['result']}" in " ".join(printed.split())
    assert len(found["table"]) == len(claim("rigl_flops").cells)
    assert kept.stat().st_mtime_ns == before


def test_a_sweep_that_was_ended_goes_on(tmp_path):
    of_rigl = claim("rigl_flops")
    kept = tmp_path / "rigl_flops.jsonl"
    rows = measure_claim(of_rigl, folder=tmp_path, jobs=1, after_cell=lambda: None)
    assert [cell for cell, _ in rows] == of_rigl.cells
    lines = kept.read_text(encoding="utf-8").splitlines(keepends=True)
    kept.write_text("".join(lines[:3]) + lines[3][:40], encoding="utf-8")  # cut short in a write
    advanced = []
    again = measure_claim(
        of_rigl, folder=tmp_path, jobs=1, after_cell=lambda: advanced.append(len(advanced))
    )
    assert again == rows
    assert len(advanced) == len(of_rigl.cells)
    assert len(kept.read_text(encoding="utf-8").splitlines()) == len(of_rigl.cells)


def test_an_unknown_claim_is_refused_before_anything_runs(lexicon, tmp_path):
    refused = lexicon("bench", "claims", "pruning", "prunning", exit_code=2, cwd=tmp_path)
    assert "'prunning' is none of" in " ".join(refused.stderr.split())
    assert list(tmp_path.iterdir()) == []


def test_where_seconds_decide_nothing_runs_beside(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(claims, "run_sweep", lambda *_, jobs, **__: asked.append(jobs) or [{}, {}])
    pair = [{"claim": "pruning", "seed": 0}, {"claim": "pruning", "seed": 1}]
    for timed in (True, False):
        each = replace(claim("pruning"), timed=timed, cells=pair)
        measure_claim(each, folder=tmp_path, jobs=2, after_cell=lambda: None)
    assert asked == [1, 2]
