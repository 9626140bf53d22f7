"""Cron expressions: one text, one zone, one fixed set of instants.

An expression names *local times*: the product of its times of day and its days. Which instants those are, the
zone decides:

    text      what may stand in an expression, and the hint for what may not
    fields    one field at a time: values for croniter, and the L, W and # forms, which are ours
    pattern   the compiled expression: times of day and days of the month as bit masks, no zone yet
    zones     zone names, and the instants at which a zone changes its offset
    spans     the law of those changes: which stretch of local time counts between two of them
    walk      the next and the previous tick over spans

Between two changes of the offset a zone is a constant, so a tick is a named local time minus the offset. At a
change an entry follows Debian's cron. A *wildcard* entry (minute or hour field begins with `*`; with six
fields also the second field) follows real time: skipped times do not run, repeated times run twice. All
others are *fixed*: a named time that the clock skips runs once, at the first instant after the gap (`gap`),
and one that comes twice runs once (`fold`). A change of three hours or more is a move, not summer time: what
it skips is dropped and what it repeats is real.

Everything here is a value or a pure function of its arguments, and the caches are bounded, so threads share
it freely.
"""

from pqclock.rules.cron.cron import Cron

__all__ = ["Cron"]
