-- Which migration a program must know to use these tables, newer ones than its own aside. See `versions.rs`.
ALTER TABLE state ADD COLUMN needs BIGINT NOT NULL DEFAULT 4;
