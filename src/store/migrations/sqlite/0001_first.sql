-- Instants are Unix seconds. Every table is small but `revocation`, whose rows die with the tokens they refuse.

CREATE TABLE account (
    sub           TEXT    NOT NULL PRIMARY KEY,  -- random, never used again
    login_name    TEXT    NOT NULL UNIQUE,
    display_name  TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    roles         TEXT    NOT NULL,              -- joined by commas
    password_hash TEXT    NOT NULL,              -- PHC string, Argon2id
    disabled      INTEGER NOT NULL CHECK (disabled IN (0, 1)),
    generation    INTEGER NOT NULL,              -- sessions of a lower one are dead
    created_at    INTEGER NOT NULL
) STRICT;

-- Append-only but for pruning; servers follow it by `seq`.
CREATE TABLE revocation (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    sid        BLOB,                             -- either a session ...
    sub        TEXT,                             -- ... or an account's sessions of a generation below
    below      INTEGER,
    expires_at INTEGER NOT NULL,
    CHECK ((sid IS NULL) <> (sub IS NULL) AND (sub IS NULL) = (below IS NULL))
) STRICT;

CREATE INDEX revocation_expires_at ON revocation (expires_at);

-- Which lifetimes servers have sealed into tokens, and until when: revocations must outlive them.
CREATE TABLE lifetime_in_use (
    remembered    INTEGER NOT NULL CHECK (remembered IN (0, 1)),
    idle_secs     INTEGER NOT NULL,
    absolute_secs INTEGER NOT NULL,
    lag_secs      INTEGER NOT NULL,
    fail_open     INTEGER NOT NULL CHECK (fail_open IN (0, 1)),
    used_until    INTEGER NOT NULL,
    PRIMARY KEY (remembered, idle_secs, absolute_secs, lag_secs, fail_open)
) STRICT;

CREATE TABLE state (
    id                INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    global_generation INTEGER NOT NULL,
    pruned_through    INTEGER NOT NULL,
    clock_reached     INTEGER NOT NULL   -- the latest that a server has taken for now
) STRICT;

-- A store that replaces a lost one begins above any generation of the old (milliseconds, and `revoke --everyone` adds one):
-- what was signed out there stays signed out.
INSERT INTO state (id, global_generation, pruned_through, clock_reached)
VALUES (1, CAST(unixepoch('subsec') * 1000 AS INTEGER), 0, 0);
