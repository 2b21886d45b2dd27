-- Schema 5: which image a VM was asked for with, and when slurmd registered on it.

-- Of attempts that are there already neither is known.
ALTER TABLE attempts ADD COLUMN image TEXT NOT NULL DEFAULT '';
ALTER TABLE attempts ADD COLUMN registered_at INTEGER;
CREATE INDEX attempts_registered ON attempts (nodeset, image, intended_at)
    WHERE registered_at IS NOT NULL;
