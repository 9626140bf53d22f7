-- Rows of the ledger that stand for many ticks are few: this finds those that reach over an instant from before it.
CREATE INDEX tick_run ON {schema}.tick (schedule_id, through) WHERE through > tick;
