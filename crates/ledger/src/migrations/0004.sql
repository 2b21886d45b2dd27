-- Schema 4: which daemon of azslurm-sync acts.

CREATE TABLE daemon (
    id         INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), -- one at a time
    holder     TEXT    NOT NULL,
    host       TEXT    NOT NULL, -- its machine: only there it can be seen whether it lives
    generation INTEGER NOT NULL, -- grows with every change of the holder
    since      INTEGER NOT NULL,
    until      INTEGER NOT NULL
) STRICT;
