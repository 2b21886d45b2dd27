-- Schema 3: budgets as token buckets, and who waits for them.

-- Schemas 1 and 2 wrote closures only, under names of other buckets.
DROP TABLE budgets;
CREATE TABLE budgets (
    name         TEXT    NOT NULL PRIMARY KEY,
    tokens       REAL    NOT NULL, -- calls that nobody has reserved, as of `at`
    at           INTEGER NOT NULL,
    size         REAL    NOT NULL, -- the most that can be saved up
    refill       REAL    NOT NULL, -- per second
    closed_until INTEGER           -- nothing of this kind before then (Retry-After)
) STRICT, WITHOUT ROWID;

-- Holders that wait for tokens. They ask again all the time: old rows are of the dead.
CREATE TABLE budget_waiters (
    name      TEXT    NOT NULL,    -- of the budget
    holder    TEXT    NOT NULL,
    since     INTEGER NOT NULL,
    asked_at  INTEGER NOT NULL,
    served_at INTEGER,
    PRIMARY KEY (name, holder)
) STRICT, WITHOUT ROWID;
