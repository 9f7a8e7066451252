-- Whether the password was set by somebody else and must be changed before a session can begin.
ALTER TABLE account ADD COLUMN must_change INTEGER NOT NULL DEFAULT 0 CHECK (must_change IN (0, 1));
