"""What a client asks of an answer: `Expect`, which must be met or refused, and `Prefer`, which may be left alone."""

from __future__ import annotations

import re

from pqclock.http.answers import Answer, problem

WAIT, AT_ONCE = "200-ok", "202-accepted"
_PREFERENCE = re.compile(r"""\s*(?:(respond-async)|wait\s*=\s*"?([0-9]{1,6})"?)\s*(?:;.*)?""", re.ASCII | re.IGNORECASE)


def seconds_to_wait(expect: str | None, prefer: str | None, most: float) -> float | Answer:
    """How long to wait for the end of the job, at most `most`; or 417 to one who expects what nobody here can do.

    `Expect: 200-ok` waits, `202-accepted` does not, and either goes before `Prefer: wait=SECONDS` and `respond-async`
    (RFC 7240), of which the first that is understood counts.
    """
    words = [word.strip().lower() for word in (expect or "").split(",")]
    # That one is the server's affair, before we hear of the request.
    asked = [word for word in words if word and word != "100-continue"]
    if set(asked) - {WAIT, AT_ONCE}:
        return problem(417, f"the expectations that can be met are {AT_ONCE} and {WAIT}")
    if asked:
        return most if asked[0] == WAIT else 0.0
    for match in map(_PREFERENCE.fullmatch, (prefer or "").split(",")):
        if match is not None:
            return 0.0 if match[1] else min(float(match[2]), most)
    return 0.0
