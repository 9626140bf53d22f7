"""The dashboard: what is scheduled, what runs, what is in the way, and the means to do something about it."""

from __future__ import annotations

from pqclock.web.access import Access, Caller, Role
from pqclock.web.app import create_app

__all__ = ["Access", "Caller", "Role", "create_app"]
