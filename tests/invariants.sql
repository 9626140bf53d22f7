-- What must hold between the columns of a job, whatever writes it; in the tests' databases every statement is held to it.
ALTER TABLE pqclock.job
    ADD CONSTRAINT ready_has_a_place CHECK (state <> 'ready' OR ready_seq IS NOT NULL),
    ADD CONSTRAINT held_waits_for_something CHECK (NOT held OR (state = 'scheduled' AND (watched OR review OR awaits))),
    ADD CONSTRAINT review_is_held CHECK (held OR NOT review),
    ADD CONSTRAINT awaiting_is_held CHECK (held OR NOT awaits),
    ADD CONSTRAINT watched_by_its_schedule CHECK (NOT watched OR schedule_id IS NOT NULL),
    ADD CONSTRAINT tick_has_a_schedule CHECK (tick IS NULL OR schedule_id IS NOT NULL),
    ADD CONSTRAINT gated_has_a_lane CHECK ((lane IS NULL) = (gates IS NULL) AND (lane IS NULL) = (units IS NULL)),
    ADD CONSTRAINT unique_has_an_end CHECK ((unique_key IS NULL) = (unique_until IS NULL)),
    ADD CONSTRAINT unique_end_is_known CHECK (unique_until IN ('started', 'finished', 'time'));
