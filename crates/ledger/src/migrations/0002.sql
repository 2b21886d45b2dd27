-- Schema 2: blocks, facts of Azure, and the latest strike of a hold.

-- The life of a block that an attempt's VM is part of; both or neither.
ALTER TABLE attempts ADD COLUMN block TEXT;
ALTER TABLE attempts ADD COLUMN incarnation INTEGER;
CREATE INDEX attempts_block ON attempts (block, incarnation)
    WHERE ended_at IS NULL AND block IS NOT NULL;

-- The latest refusal; refusals of attempts that were intended before it are the same strike.
ALTER TABLE holds ADD COLUMN struck_at INTEGER NOT NULL DEFAULT 0;
-- Scopes of Spot quotas now name the subscription; the old spelling holds nothing.
DELETE FROM holds WHERE scope LIKE 'spot-region:%';

-- Schema 1 had this table and never wrote a row.
DROP TABLE blocks;
CREATE TABLE blocks (
    block          TEXT    NOT NULL, -- hb-b1
    incarnation    INTEGER NOT NULL,
    site           TEXT    NOT NULL,
    subscription   TEXT    NOT NULL,
    resource_group TEXT    NOT NULL,
    region         TEXT    NOT NULL,
    name           TEXT    NOT NULL, -- of its placement group and its availability set
    sku            TEXT    NOT NULL,
    state          TEXT    NOT NULL,
    intended_at    INTEGER NOT NULL,
    changed_at     INTEGER NOT NULL,
    ended_at       INTEGER,          -- set in the state that is an end, and only there
    PRIMARY KEY (block, incarnation)
) STRICT, WITHOUT ROWID;
CREATE INDEX blocks_unfinished ON blocks (block) WHERE ended_at IS NULL;

-- What Azure said about sizes and quotas, as JSON, by what it is about.
CREATE TABLE facts (
    key  TEXT    NOT NULL PRIMARY KEY,
    text TEXT    NOT NULL,
    at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
