"""The worker: claims ready jobs for as many executors as are free, runs them, and writes what they came to.

A worker has pools; each pool is a number of executors for a set of queues. Only what is free is claimed, so a claimed
job begins at once. A claim gives a lease: the job belongs to this worker as long as its heartbeat does not stop for
15 s, and an outcome is accepted under that lease alone. Synchronous handlers run in threads, asynchronous ones on the
one event loop of the process. Outcomes are written in batches by a thread of its own, which keeps them while the
database is away.

At a stop nothing more is claimed, what was claimed and has not begun goes back at once, what runs gets its time, and
what is still running then goes back as well; none of these costs an attempt.
"""
