"""Which jobs have begun, where it can be read after this process has died: only they can have taken it down.

The page also holds the pulse of its process, which the supervisor reads while it lives.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Mapping

from pqclock.store.processes import TOKEN_VARIABLE

# Names the open file to the process that is to write into it.
VARIABLE = "PQCLOCK_CHILD_MARKS"
# So many may run at the same time; beyond that nobody can tell which have begun.
PLACES = 4_096
PULSE_WORDS = 4
_WORD = 8
_TOKEN = 32
_HEAD = _TOKEN + PULSE_WORDS * _WORD


class Marks:
    """The marks of this process, in a file that its supervisor has open as well, and which begins with its token."""

    def __init__(self, descriptor: int) -> None:
        self._map = mmap.mmap(descriptor, _HEAD + (PLACES + 1) * _WORD)
        self._words = memoryview(self._map)[_HEAD:].cast("q")
        self.pulse = memoryview(self._map)[_TOKEN:_HEAD].cast("q")
        self._free = list(range(PLACES, 0, -1))

    @classmethod
    def inherited(cls, environment: Mapping[str, str] = os.environ) -> Marks | None:
        """Those that a supervisor has given this process; None without one."""
        token, descriptor = environment.get(TOKEN_VARIABLE), environment.get(VARIABLE)
        if not token or not descriptor:
            return None
        try:
            # Whoever has the variable from a process above may have another file under the number.
            if os.pread(int(descriptor), _TOKEN, 0) != token.encode():
                return None
            return cls(int(descriptor))
        except (OSError, ValueError):
            return None

    def begin(self, job_id: int) -> int:
        """A handler begins; gives its mark's place."""
        if not self._free:
            # The supervisor is not to take what it cannot find for what has not begun.
            self._words[0] += 1
            return 0
        place = self._free.pop()
        self._words[place] = job_id
        return place

    def end(self, place: int) -> None:
        """The handler has ended, and can take nothing down any more."""
        if place:
            self._words[place] = 0
            self._free.append(place)
        else:
            self._words[0] -= 1


class MarksFile:
    """The file of a child's marks, as its supervisor has it."""

    def __init__(self, token: str) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._file.write(token.encode() + bytes((PULSE_WORDS + PLACES + 1) * _WORD))
        self._file.flush()

    @property
    def descriptor(self) -> int:
        """What the child inherits."""
        return self._file.fileno()

    @property
    def environment(self) -> dict[str, str]:
        """How the child finds it."""
        return {VARIABLE: str(self.descriptor)}

    def begun(self) -> list[int] | None:
        """The jobs whose handlers ran when the child died; None when that cannot be told."""
        words = memoryview(os.pread(self.descriptor, (PLACES + 1) * _WORD, _HEAD)).cast("q")
        if words[0]:
            return None
        return [word for word in words[1:] if word]

    def pulse(self) -> memoryview:
        """The words of the child's pulse, as they are now."""
        return memoryview(os.pread(self.descriptor, PULSE_WORDS * _WORD, _TOKEN)).cast("q")

    def close(self) -> None:
        """Forget it."""
        self._file.close()
