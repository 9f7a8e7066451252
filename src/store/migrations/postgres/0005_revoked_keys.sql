-- An entry of the log may refuse a key, for ever. A program that does not know such entries would go on with the key, so all
-- must know this migration.
ALTER TABLE revocation DROP CONSTRAINT revocation_check;
ALTER TABLE revocation ADD COLUMN kid BYTEA;
ALTER TABLE revocation ADD CONSTRAINT revocation_check CHECK (
    CAST(sid IS NOT NULL AS INTEGER) + CAST(sub IS NOT NULL AS INTEGER) + CAST(kid IS NOT NULL AS INTEGER) = 1
    AND (sub IS NULL) = (below IS NULL)
);

CREATE INDEX revocation_kid ON revocation (kid) WHERE kid IS NOT NULL;

UPDATE state SET needs = 5;
