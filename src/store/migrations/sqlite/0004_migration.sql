-- Where this store stands when everything in a store moves to another (`sealjar migrate`). One row.
CREATE TABLE migration (
    id           INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    store_id     TEXT    NOT NULL,              -- this store's own, random; a copy of it has the same
    source_id    TEXT,                          -- the store that everything in it came from, ...
    source       TEXT,                          -- ... its address, without a password, ...
    source_state TEXT,                          -- ... and what it held then
    last_account TEXT    NOT NULL DEFAULT '',   -- how far the copy has come: the accounts up to this subject, ...
    last_seq     INTEGER NOT NULL DEFAULT 0,    -- ... the source's log up to this row, ...
    finished     INTEGER NOT NULL DEFAULT 1 CHECK (finished IN (0, 1))  -- ... or everything
) STRICT;

INSERT INTO migration (id, store_id) VALUES (1, lower(hex(randomblob(16))));

-- Where everything in this store went; it is out of use since.
ALTER TABLE state ADD COLUMN moved_to TEXT;
