-- What each server says of its keys, for `sealjar keys status` and `sealjar keys rotate --wait`.
CREATE TABLE node (
    id          TEXT    NOT NULL PRIMARY KEY,  -- of the process, random
    name        TEXT    NOT NULL,
    kids        TEXT    NOT NULL,              -- the keys that it opens with, joined by spaces
    active      TEXT,                          -- the key that it seals with
    reported_at INTEGER NOT NULL               -- Unix milliseconds, by the clock of the database
) STRICT;
