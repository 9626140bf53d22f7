"""What a job waits for, what it is a part of, and how far its own parts have come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pqclock.store import after
from pqclock.store.database import Session


@dataclass(frozen=True, slots=True)
class Family:
    """The relations of a job: `parent` with how far that has come (`siblings`), its own `parts`, and what it waits for.

    `whole` is there for an id that is no job but a fan-out.
    """

    parent: int | None
    siblings: after.Progress | None
    parts: after.Progress | None
    waiting: after.Awaited | None
    whole: after.FanOutRow | None

    @classmethod
    def of(cls, session: Session, job_id: int) -> Family:
        """Read them."""
        parent = after.parents(session, [job_id]).get(job_id)
        return cls(
            parent,
            None if parent is None else after.progress(session, parent),
            after.progress(session, job_id),
            after.waiting(session, [job_id]).get(job_id),
            after.fan_out(session, job_id),
        )

    def words(self) -> dict[str, str]:
        """For people, only what there is."""
        words = {"waits": awaiting_words(self.waiting), "parts": parts_words(self.parts)}
        if self.parent is not None:
            words["parent"] = f"{self.parent}: {parts_words(self.siblings)}"
        return {name: text for name, text in words.items() if text}

    def as_json(self) -> dict[str, list[Any]]:
        """For tools: lists, like all that a listing has."""
        return {
            "after": [] if self.waiting is None else [{"id": n, "state": state} for n, state in self.waiting.first],
            "parts": [] if self.parts is None else [self.parts._asdict()],
            "parent": [] if self.parent is None else [
                {"id": self.parent, **(self.siblings._asdict() if self.siblings is not None else {})}
            ],
        }  # fmt: skip


def awaiting_words(waiting: after.Awaited | None) -> str:
    """Such as `after job 17 (running) and 2 more`; empty for a job that waits for none."""
    if waiting is None:
        return ""
    named = ", ".join(f"job {job_id} ({state})" for job_id, state in waiting.first)
    more = waiting.many - len(waiting.first)
    return f"after {named}{f' and {more:,} more' if more else ''}"


def parts_words(parts: after.Progress | None) -> str:
    """Such as `1,200 of 5,000 done (24 %), 3 failed`; empty for what has no parts."""
    if parts is None:
        return ""
    share = f" ({100 * parts.done // parts.total} %)" if parts.total else ""
    return f"{parts.done:,} of {parts.total:,} done{share}" + (f", {parts.failed:,} failed" if parts.failed else "")
