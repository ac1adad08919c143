import json
import os
import subprocess
import sys

import pytest

from lexicon.terminal.progress import progress_file, read_answers, record_answer


def silence(message):
    pytest.fail(message)


def test_answers_are_kept_and_what_was_right_stays_right(home):
    assert read_answers(say=silence) == {}
    assert not progress_file().exists()
    record_answer("k_wta", "K", False, say=silence)
    record_answer("k_wta", "Is k-WTA continuous?", True, say=silence)
    assert read_answers(say=silence) == {"k_wta": {"K": False, "Is k-WTA continuous?": True}}
    record_answer("k_wta", "K", True, say=silence)
    record_answer("k_wta", "K", False, say=silence)
    assert read_answers(say=silence)["k_wta"]["K"] is True
    assert str(progress_file()).startswith(str(home))


def test_processes_that_write_at_once_lose_nothing():
    code = (
        "import sys\nfrom lexicon.terminal.progress import record_answer\n"
        "for i in range(40): record_answer('e', f'{sys.argv[1]} {i}', True, say=print)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    answers = read_answers(say=silence)
    assert answers == {"e": {f"{n} {i}": True for n in range(3) for i in range(40)}}
    kept = {path.name for path in progress_file().parent.iterdir()}
    assert kept <= {"progress.json", "progress.lock"}


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b'{"answers": {"k_wta": {"K": tr',
        b"\xff\xfe\x00",
        b"[]",
        b'{"answers": []}',
        b'{"answers": {"k_wta": []}}',
        b'{"answers": {"k_wta": {"K": 1}}}',
        b'{"something": "else"}',
        b"[" * 200_000,
    ],
)
@pytest.mark.parametrize("by", ["reading", "recording"])
def test_a_damaged_file_is_set_aside_with_a_message(damaged, by):
    path = progress_file()
    path.parent.mkdir(parents=True)
    path.write_bytes(damaged)
    messages = []
    if by == "reading":
        assert read_answers(say=messages.append) == {}
        assert not path.exists()
    else:
        record_answer("k_wta", "K", True, say=messages.append)
        assert read_answers(say=silence) == {"k_wta": {"K": True}}
    (aside,) = path.parent.glob("progress-damaged-*.json")
    assert aside.read_bytes() == damaged
    (message,) = messages
    assert str(path) in message
    assert aside.name in message


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(monkeypatch):
    record_answer("k_wta", "K", True, say=silence)
    before = progress_file().read_bytes()

    def full(handle):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        record_answer("k_wta", "EPOCHS", True, say=silence)
    assert progress_file().read_bytes() == before
    kept = {path.name for path in progress_file().parent.iterdir()}
    assert kept <= {"progress.json", "progress.lock"}


def test_the_file_can_be_read_by_people():
    record_answer("erdos_renyi", "Is Erdős–Rényi uniform?", True, say=silence)
    text = progress_file().read_text(encoding="utf-8")
    assert "Erdős–Rényi" in text
    assert json.loads(text) == {"answers": read_answers(say=silence)}
