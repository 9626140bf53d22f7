"""The id, task and attempt of a job on every log record that its handler makes, by whatever logger.

handler.addFilter(JobFields())
"""

from __future__ import annotations

from pqclock.tasks.log_fields import JobFields

__all__ = ["JobFields"]
