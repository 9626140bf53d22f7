"""What people did by hand: written beside the deed, read by whoever asks who it was."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pqclock.rules.json_values import storable_text
from pqclock.store.database import Session
from pqclock.store.listing_rows import Page

_LAST_ID = 2**63 - 1
_LONGEST = 2_000
# It is in an index, whose entries are small.
_LONGEST_TARGET = 300
BEGUN = "begun; what came of it is not known"


@dataclass(frozen=True, slots=True)
class Deed:
    """Who did what: `origin` is from where, `target` what it was done to (`schedule nightly`), `outcome` what came of it."""

    id: int
    done_at: datetime
    actor: str
    origin: str
    action: str
    target: str
    note: str | None
    outcome: str


def begin(session: Session, *, actor: str, origin: str, action: str, target: str, note: str | None) -> int:
    """Note a deed before it is done, so that none is missing whatever happens; gives its id."""
    texts = {"actor": actor, "origin": origin, "action": action, "outcome": BEGUN}
    row = session.run(
        "audit.write",
        **{name: storable_text(text, _LONGEST) for name, text in texts.items()},
        target=storable_text(target, _LONGEST_TARGET),
        note=None if not note else storable_text(note, _LONGEST),
    ).fetchone()
    assert row is not None
    return int(row[0])


def close(session: Session, deed_id: int, outcome: str) -> None:
    """Note what came of it."""
    session.run("audit.close", id=deed_id, outcome=storable_text(outcome, _LONGEST))


def rows(session: Session, *, target: str | None = None, before: int | None = None, limit: int = 50) -> Page[Deed]:
    """The newest deeds first, those done to `target` where one is given."""
    bound = _LAST_ID if before is None else min(before, _LAST_ID)
    found = session.fetch(Deed, "audit.rows", before=bound, target=target, limit=limit + 1)
    shown = found[:limit]
    return Page(shown, str(shown[-1].id) if len(found) > limit else None)


def one(session: Session, deed_id: int) -> Deed | None:
    """One deed by its id."""
    found = session.fetch(Deed, "audit.rows", before=min(deed_id, _LAST_ID - 1) + 1, target=None, limit=1)
    return found[0] if found and found[0].id == deed_id else None


def forget(session: Session, limit: int, before: datetime) -> int:
    """Forget deeds that were done before an instant, at most so many; gives their number."""
    return session.run("audit.forget", before=before, limit=limit).rowcount
