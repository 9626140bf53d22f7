"""The clock: one leads, the others stand by.

The leader holds a session advisory lock on one direct connection, and does all its writing on that connection: without
the session there is no lock, and without the lock no write. Gaining the lock begins a term, numbered by an epoch in the
leader row; every tick is written under that epoch, so that a leader which was frozen and thawed writes nothing. A tick
is inserted once because the ledger holds one row for (schedule, tick), written in the statement that inserts the job;
leadership only saves work.

One turn of the leader: beat, promote a slice of what is due, plan and insert a slice of the ticks up to the horizon, a
bounded slice of caretaking, then sleep until the nearest of next due job, next planning and next beat. A notification or
a signal only wakes the loop; the tables are the truth. Promotion goes before planning, and the present before the past:
spans of missed ticks are noted as owed, each with the definition that held, and decided on when nothing of the present
is left to be planned.

Those that stand by look about every second at who holds the lock and whether it beats, and end a session that does not.
The loop is itself watched by a thread, and a clock whose machine is far off the database's time does not lead.
"""
