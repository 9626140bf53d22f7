"""pqclock: a leader-elected clock and a job queue on PostgreSQL."""

__version__ = "0.1.0"
