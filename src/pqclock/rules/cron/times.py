"""Times of day as three bit masks: a day may hold 86,400 of them, and a leader a million expressions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """All h:m:s with bit h in `hours`, m in `minutes` and s in `seconds`, as seconds since midnight."""

    hours: int
    minutes: int
    seconds: int

    @property
    def first(self) -> int:
        return _lowest(self.hours) * 3600 + _lowest(self.minutes) * 60 + _lowest(self.seconds)

    @property
    def last(self) -> int:
        return _highest(self.hours) * 3600 + _highest(self.minutes) * 60 + _highest(self.seconds)

    @property
    def total(self) -> int:
        """How many there are in a day."""
        return self.hours.bit_count() * self.minutes.bit_count() * self.seconds.bit_count()

    def below(self, at: int) -> int:
        """How many come before `at`."""
        hour, rest = divmod(at, 3600)
        minute, second = divmod(rest, 60)
        in_hour = in_minute = 0
        if self.hours >> hour & 1:
            in_hour = (self.minutes & ((1 << minute) - 1)).bit_count() * self.seconds.bit_count()
            if self.minutes >> minute & 1:
                in_minute = (self.seconds & ((1 << second) - 1)).bit_count()
        before = (self.hours & ((1 << hour) - 1)).bit_count() * self.minutes.bit_count() * self.seconds.bit_count()
        return before + in_hour + in_minute

    def next(self, at: int) -> int:
        """The first time from `at` on, or -1."""
        hour, rest = divmod(at, 3600)
        minute, second = divmod(rest, 60)
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                left = self.seconds >> second
                if left:
                    return at + _lowest(left)
            left = self.minutes >> (minute + 1)
            if left:
                return hour * 3600 + (minute + 1 + _lowest(left)) * 60 + _lowest(self.seconds)
        left = self.hours >> (hour + 1)
        if left:
            return (hour + 1 + _lowest(left)) * 3600 + _lowest(self.minutes) * 60 + _lowest(self.seconds)
        return -1

    def previous(self, at: int) -> int:
        """The last time up to `at`, or -1."""
        hour, rest = divmod(at, 3600)
        minute, second = divmod(rest, 60)
        if self.hours >> hour & 1:
            if self.minutes >> minute & 1:
                left = self.seconds & ((2 << second) - 1)
                if left:
                    return at - second + _highest(left)
            left = self.minutes & ((1 << minute) - 1)
            if left:
                return hour * 3600 + _highest(left) * 60 + _highest(self.seconds)
        left = self.hours & ((1 << hour) - 1)
        if left:
            return _highest(left) * 3600 + _highest(self.minutes) * 60 + _highest(self.seconds)
        return -1


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _highest(mask: int) -> int:
    return mask.bit_length() - 1
