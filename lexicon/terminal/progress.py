"""Keeps which questions were answered, in one small file that is never half written."""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock
from platformdirs import user_data_path

__all__ = ["Answers", "progress_file", "read_answers", "record_answer"]

# By entry, then by question: whether it was ever answered rightly.
Answers = dict[str, dict[str, bool]]


def progress_file() -> Path:
    """Return where progress is kept: in the platform's folder for a user's data."""
    return user_data_path("lexicon", appauthor=False) / "progress.json"


def read_answers(*, say: Callable[[str], None]) -> Answers:
    """Return which questions were answered.

    Parameters
    ----------
    say : callable
        Given a message if the file is damaged and has been set aside.

    Returns
    -------
    dict of str to dict of str to bool
        By entry, then by question, whether it was ever answered rightly.
    """
    try:
        return _read(progress_file())
    except FileNotFoundError:
        return {}
    except _Damaged:
        with _lock():
            return _read_or_set_aside(say)


def record_answer(entry: str, question: str, right: bool, *, say: Callable[[str], None]) -> None:
    """Keep an answer; a question that was answered rightly once stays so.

    Parameters
    ----------
    entry : str
        The entry's slug.
    question : str
        The question's name.
    right : bool
        Whether the answer was right.
    say : callable
        Given a message if the file was damaged and has been set aside.
    """
    path = progress_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    with _lock():  # two quizzes at once: neither loses what the other one wrote
        answers = _read_or_set_aside(say)
        kept = answers.setdefault(entry, {})
        kept[question] = right or kept.get(question, False)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"answers": answers}, file, indent=1, ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise


class _Damaged(Exception):
    """The file does not hold what was written to it."""


def _lock() -> FileLock:
    return FileLock(progress_file().with_suffix(".lock"))


def _read(path: Path) -> Answers:
    try:
        answers = json.loads(path.read_text(encoding="utf-8"))["answers"]
        if not all(type(right) is bool for kept in answers.values() for right in kept.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _Damaged from error
    return dict(answers)


def _read_or_set_aside(say: Callable[[str], None]) -> Answers:
    path = progress_file()
    try:
        return _read(path)
    except FileNotFoundError:
        return {}
    except _Damaged:
        aside = path.with_name(f"progress-damaged-{datetime.now():%Y-%m-%dT%H%M%S-%f}.json")
        path.replace(aside)
        say(f"{path} is damaged; it is now {aside.name}, and progress begins anew")
        return {}
