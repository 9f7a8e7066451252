//! Statements that inspect a store, and a statement that reads the ids of revoked keys.

/// Implements the methods of `inspect.rs` and the method for revoked keys, for an engine.
macro_rules! impl_inspect {
    ($store:ident) => {
        impl $store {
            pub(crate) async fn tables(&self) -> Result<Option<Tables>, StoreError> {
                let mut reading = self.reading().await?;
                if !has_tables(&mut reading.connection).await? {
                    reading.finish();
                    return Ok(None);
                }
                let query = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations");
                let applied: Option<i64> = query.fetch_one(&mut *reading.connection).await?;
                reading.finish();
                let known = MIGRATIONS.iter().map(|migration| migration.version).max();
                Ok(Some(Tables { applied: applied.unwrap_or_default(), known: known.unwrap_or_default() }))
            }

            pub(crate) async fn revoked_keys(&self) -> Result<Vec<Kid>, StoreError> {
                let mut reading = self.reading().await?;
                let query = sqlx::query_scalar("SELECT DISTINCT kid FROM revocation WHERE kid IS NOT NULL");
                let kids: Vec<Vec<u8>> = query.fetch_all(&mut *reading.connection).await?;
                reading.finish();
                let kid = |bytes: Vec<u8>| bytes.try_into().map(Kid::from_bytes);
                let kids = kids.into_iter().map(kid).collect::<Result<_, _>>();
                kids.map_err(|_| StoreError::Corrupt("key id of the wrong length"))
            }

            pub(crate) async fn clock_reached(&self) -> Result<UnixTime, StoreError> {
                let mut reading = self.reading().await?;
                let query = sqlx::query_scalar("SELECT clock_reached FROM state");
                let reached = query.fetch_one(&mut *reading.connection).await?;
                reading.finish();
                Ok(UnixTime(unsigned(reached)?))
            }
        }
    };
}

pub(in crate::store) use impl_inspect;
