-- An entry of the log may refuse a key, for ever. A program that does not know such entries would go on with the key, so all
-- must know this migration. SQLite cannot change a CHECK, so the table is made anew; numbers go on from the last one given out.
CREATE TABLE revocation_new (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    sid        BLOB,                             -- either a session ...
    sub        TEXT,                             -- ... or an account's sessions of a generation below ...
    below      INTEGER,
    kid        BLOB,                             -- ... or a key
    expires_at INTEGER NOT NULL,
    CHECK ((sid IS NOT NULL) + (sub IS NOT NULL) + (kid IS NOT NULL) = 1 AND (sub IS NULL) = (below IS NULL))
) STRICT;

INSERT INTO revocation_new (seq, sid, sub, below, expires_at) SELECT seq, sid, sub, below, expires_at FROM revocation;
DELETE FROM sqlite_sequence WHERE name = 'revocation_new';
INSERT INTO sqlite_sequence (name, seq) SELECT 'revocation_new', seq FROM sqlite_sequence WHERE name = 'revocation';
DROP TABLE revocation;
ALTER TABLE revocation_new RENAME TO revocation;

CREATE INDEX revocation_expires_at ON revocation (expires_at);
CREATE INDEX revocation_kid ON revocation (kid) WHERE kid IS NOT NULL;

UPDATE state SET needs = 6;
