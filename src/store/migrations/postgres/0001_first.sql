-- Instants are Unix seconds where the name says nothing else. Every table is small but `revocation`, whose rows die with the
-- tokens they refuse. Plain SQL: nothing here needs more than tables, transactions and row locks.

CREATE TABLE account (
    sub           TEXT    NOT NULL PRIMARY KEY,  -- random, never used again
    login_name    TEXT    NOT NULL UNIQUE,
    display_name  TEXT    NOT NULL,
    email         TEXT    NOT NULL,
    roles         TEXT    NOT NULL,              -- joined by commas
    password_hash TEXT    NOT NULL,              -- PHC string, Argon2id
    must_change   BOOLEAN NOT NULL,              -- before a session can begin
    disabled      BOOLEAN NOT NULL,
    generation    BIGINT  NOT NULL,              -- sessions of a lower one are dead
    created_at    BIGINT  NOT NULL
);

-- Append-only but for pruning; servers follow it by `seq`, which is given out under the lock of `state`'s row: so whoever sees a
-- row sees all with smaller numbers.
CREATE TABLE revocation (
    seq        BIGINT NOT NULL PRIMARY KEY,
    sid        BYTEA,                            -- either a session ...
    sub        TEXT,                             -- ... or an account's sessions of a generation below
    below      BIGINT,
    expires_at BIGINT NOT NULL,
    written_ms BIGINT NOT NULL DEFAULT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT),
    CHECK ((sid IS NULL) <> (sub IS NULL) AND (sub IS NULL) = (below IS NULL))
);

CREATE INDEX revocation_expires_at ON revocation (expires_at);

-- Which lifetimes servers have sealed into tokens, and until when: revocations must outlive them.
CREATE TABLE lifetime_in_use (
    remembered    BOOLEAN NOT NULL,
    idle_secs     BIGINT  NOT NULL,
    absolute_secs BIGINT  NOT NULL,
    lag_secs      BIGINT  NOT NULL,
    fail_open     BOOLEAN NOT NULL,
    used_until    BIGINT  NOT NULL,
    PRIMARY KEY (remembered, idle_secs, absolute_secs, lag_secs, fail_open)
);

-- One row. Every transaction that writes refusals locks it first, and so they come one after the other.
CREATE TABLE state (
    id                INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    global_generation BIGINT  NOT NULL,
    pruned_through    BIGINT  NOT NULL,
    clock_reached     BIGINT  NOT NULL,  -- the latest that a server has taken for now
    last_seq          BIGINT  NOT NULL   -- of the revocation log
);

-- A store that replaces a lost one begins above any generation of the old (milliseconds, and `revoke --everyone` adds one):
-- what was signed out there stays signed out.
INSERT INTO state (id, global_generation, pruned_through, clock_reached, last_seq)
VALUES (1, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT), 0, 0, 0);
