-- A shorter retention takes effect after a grace, in which the rule before it counts, is shown, and can be set again: a stolen
-- session must not delete by one request. The rule before and the end of the grace stand beside the rule. `days` may be absent: a
-- person who returns to a kind's own rule, which is shorter than theirs, waits as well.
-- Locks read.retention for the moment in which it gets two columns; rewrites and scans nothing but the check of the new ones.

ALTER TABLE read.retention
    ALTER COLUMN days DROP NOT NULL,
    ADD COLUMN before_days int CHECK (before_days BETWEEN 1 AND 36500),
    ADD COLUMN counts_from timestamptz;
