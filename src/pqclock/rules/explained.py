"""An explanation in words: why a job is not running, and until when."""

from __future__ import annotations

from datetime import datetime, tzinfo

from pqclock.rules.explaining import MOST_AHEAD, Explanation, Reason
from pqclock.rules.moments import moment
from pqclock.rules.progress import progress_words

_JOBS_NAMED = 5


def explained(found: Explanation, now: datetime, zone: tzinfo | None = None) -> list[str]:
    """The explanation for people, a sentence a line, in the zone of this machine unless another is given."""
    text = found.text
    if found.starts == "running" and found.starts_at is not None:
        text = f"{text}, since {moment(found.starts_at, now, zone)}"
    told = [text, *(f"- {_reason(reason, now, zone)}" for reason in found.reasons)]
    if found.ahead_in is not None:
        told.append(f"- {_ahead(found)}")
    if words := _progress(found):
        told.append(f"- {words}")
    if found.starts not in ("running", "ended"):
        told.append(f"earliest start: {_start(found, now, zone)}")
    return told


def _reason(reason: Reason, now: datetime, zone: tzinfo | None) -> str:
    text = reason.text
    # Of the jobs that it waits for, the text tells where they stand.
    if reason.jobs and reason.kind != "after":
        more = ", ..." if len(reason.jobs) > _JOBS_NAMED else ""
        text = f"{text} ({', '.join(f'job {job}' for job in reason.jobs[:_JOBS_NAMED])}{more})"
    if reason.kind == "cancel" and reason.since is not None:
        text = f"{text}; told {moment(reason.since, now, zone)}"
    if reason.until is not None:
        text = f"{text}, until {'about ' if reason.estimate else ''}{moment(reason.until, now, zone)}"
    return f"{text} (note: {reason.note})" if reason.note else text


def _ahead(found: Explanation) -> str:
    if not found.ahead:
        return f"it is the first of its {found.ahead_in}"
    number = f"{found.ahead:,}" if found.ahead <= MOST_AHEAD else f"more than {MOST_AHEAD:,}"
    jobs = "job goes" if found.ahead == 1 else "jobs go"
    return f"{number} {jobs} before it in its {found.ahead_in}"


def _progress(found: Explanation) -> str:
    progress = dict(found.progress or {})
    if found.starts == "ended":
        # Nothing is left to do.
        progress.pop("spent", None)
    words = progress_words(progress)
    return words and f"it {'had' if found.starts == 'ended' else 'has'} come to {words}"


def _start(found: Explanation, now: datetime, zone: tzinfo | None) -> str:
    at = "" if found.starts_at is None else moment(found.starts_at, now, zone)
    if found.starts == "never":
        return "never, as it is"
    if found.starts == "unknown":
        return "unknown, nobody can tell when that ends" + (f"; not before {at}" if at else "")
    if found.starts == "now":
        return "as soon as those before it have started" if found.ahead else "at once, on the next free worker"
    return f"about {at}" if found.estimate else at
