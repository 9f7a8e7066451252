-- How long a silent node may still serve, for `sealjar keys revoke`.
ALTER TABLE node ADD COLUMN serves_for_ms BIGINT NOT NULL DEFAULT 300000;  -- after its last report; older programs do not say
