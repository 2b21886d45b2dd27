-- Schema 1. Times are milliseconds since 1970-01-01T00:00:00Z. A migration that has been released
-- is never edited.

-- One try to make one VM for one node (azslurm_core::attempt::Attempt, one column per field).
CREATE TABLE attempts (
    vm                 TEXT    NOT NULL PRIMARY KEY COLLATE NOCASE, -- as Azure compares
    node               TEXT    NOT NULL,
    attempt            INTEGER NOT NULL,
    nodeset            TEXT    NOT NULL,
    site               TEXT    NOT NULL,
    subscription       TEXT    NOT NULL,
    resource_group     TEXT    NOT NULL,
    region             TEXT    NOT NULL,
    zone               TEXT,
    sku                TEXT    NOT NULL,
    is_spot            INTEGER NOT NULL,
    body_hash          TEXT    NOT NULL,
    jobs               TEXT    NOT NULL, -- JSON array of job numbers
    state              TEXT    NOT NULL,
    why                TEXT,
    says_code          TEXT,             -- NULL: there is no error, says_* are empty
    says_text          TEXT,
    says_request_id    TEXT,
    operation          TEXT,
    request_id         TEXT,
    generation         INTEGER NOT NULL,
    intended_at        INTEGER NOT NULL,
    settles_at         INTEGER NOT NULL,
    accepted_at        INTEGER,
    running_at         INTEGER,
    delete_intended_at INTEGER,
    ended_at           INTEGER,          -- set in the states that are ends, and only there
    changed_at         INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX attempts_node ON attempts (node, attempt);
CREATE INDEX attempts_unfinished ON attempts (node) WHERE ended_at IS NULL;
CREATE INDEX attempts_ended ON attempts (ended_at) WHERE ended_at IS NOT NULL;

-- The right to change one node's VMs. A row stays when its lease is released, so that the
-- generation only grows.
CREATE TABLE leases (
    node       TEXT    NOT NULL PRIMARY KEY,
    holder     TEXT,                     -- NULL: released
    generation INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX leases_holder ON leases (holder) WHERE holder IS NOT NULL;

-- "Not here until then", learned from refusals. A hold that has ended stays for its strikes until
-- it is pruned.
CREATE TABLE holds (
    scope   TEXT    NOT NULL PRIMARY KEY,
    code    TEXT    NOT NULL,
    text    TEXT    NOT NULL,
    strikes INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    until   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How many calls of one kind may still be sent, as known at a time.
CREATE TABLE budgets (
    name         TEXT    NOT NULL PRIMARY KEY,
    tokens       REAL    NOT NULL,
    at           INTEGER NOT NULL,
    closed_until INTEGER                 -- nothing of this kind before then (Retry-After)
) STRICT, WITHOUT ROWID;

-- Nodes that share one InfiniBand partition, and each placement group and availability set that was
-- made for them.
CREATE TABLE blocks (
    block            TEXT    NOT NULL,
    incarnation      INTEGER NOT NULL,
    site             TEXT    NOT NULL,
    placement_group  TEXT    NOT NULL,
    availability_set TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    generation       INTEGER NOT NULL,
    made_at          INTEGER NOT NULL,
    changed_at       INTEGER NOT NULL,
    ended_at         INTEGER,
    PRIMARY KEY (block, incarnation)
) STRICT, WITHOUT ROWID;

-- History for people. Only appended to, and pruned by age and count.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    at         INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    node       TEXT,
    vm         TEXT    COLLATE NOCASE,
    job        INTEGER,
    site       TEXT,
    request_id TEXT,
    text       TEXT    NOT NULL
) STRICT;
CREATE INDEX events_at ON events (at);
CREATE INDEX events_node ON events (node) WHERE node IS NOT NULL;
CREATE INDEX events_vm ON events (vm) WHERE vm IS NOT NULL;
