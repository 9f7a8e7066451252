//! Statements of a migration from one store to another.

/// Implements the steps of a migration for the store and the write transaction of an engine. Arguments:
///
/// - `store`: type of the store.
/// - `transaction`: type of the write transaction.
/// - `connection`: type of the connection.
/// - `database`: sqlx's type of the database.
/// - `last_seq`: SQL expression for the highest sequence number that the revocation log has used.
/// - `raise_last_seq`: SQL statement that raises this number to `$1`, unless it is already higher.
macro_rules! impl_migrate {
    ($store:ident, $transaction:ty, $connection:ty, $database:ty, $last_seq:literal, $raise_last_seq:literal) => {
        impl $store {
            /// Returns the state of the store (source or target) in migrations.
            pub(crate) async fn migration_state(&self) -> Result<MigrationState, StoreError> {
                let mut reader = self.reading().await?;
                let state = migration_state(&mut reader.connection).await?;
                reader.finish();
                Ok(state)
            }
        }

        impl $transaction {
            /// Returns the state of the store (source or target) in migrations, as this transaction reads it.
            pub(crate) async fn migration_state(&mut self) -> Result<MigrationState, StoreError> {
                migration_state(&mut self.connection).await
            }

            /// Returns a summary of the source as text. A resumed migration compares it for equality with the summary of the
            /// first attempt. If the two texts differ, the source was changed in between.
            pub(crate) async fn summary(&mut self) -> Result<String, StoreError> {
                let query = sqlx::query_as(concat!(
                    "SELECT global_generation, pruned_through, clock_reached, ",
                    $last_seq,
                    ", (SELECT count(*) FROM account), (SELECT count(*) FROM account WHERE disabled),
                       (SELECT count(*) FROM lifetime_in_use),
                       (SELECT coalesce(max(used_until), 0) FROM lifetime_in_use)
                     FROM state"
                ));
                let (generation, pruned, reached, seq, accounts, disabled, lifetimes, until): (
                    i64,
                    i64,
                    i64,
                    i64,
                    i64,
                    i64,
                    i64,
                    i64,
                ) = query.fetch_one(&mut *self.connection).await?;
                Ok(format!(
                    "generation {generation}, pruned {pruned}, clock {reached}, log {seq}, accounts {accounts}, \
                     disabled {disabled}, lifetimes {lifetimes} to {until}"
                ))
            }

            /// Counts the accounts, and the log rows that did not expire before `pruned_through`. On the source, these are the
            /// rows that a migration copies.
            pub(crate) async fn row_counts(&mut self, pruned_through: i64) -> Result<RowCounts, StoreError> {
                let query = sqlx::query_as(
                    "SELECT (SELECT count(*) FROM account),
                            (SELECT count(*) FROM revocation WHERE expires_at >= $1)",
                );
                let row = query.bind(pruned_through).fetch_one(&mut *self.connection).await?;
                let (accounts, revocations): (i64, i64) = row;
                let to_usize = |count| usize::try_from(count).map_err(|_| StoreError::Corrupt("negative count"));
                Ok(RowCounts { accounts: to_usize(accounts)?, revocations: to_usize(revocations)? })
            }

            /// Returns the counters of the source.
            pub(crate) async fn counters(&mut self) -> Result<Counters, StoreError> {
                let query = sqlx::query_as(concat!(
                    "SELECT global_generation, pruned_through, clock_reached, ",
                    $last_seq,
                    " FROM state"
                ));
                let (global_generation, pruned_through, clock_reached, last_seq) =
                    query.fetch_one(&mut *self.connection).await?;
                Ok(Counters { global_generation, pruned_through, clock_reached, last_seq })
            }

            /// Returns all recorded session lifetimes of the source.
            pub(crate) async fn lifetimes(&mut self) -> Result<Vec<LifetimeInUse>, StoreError> {
                let query = sqlx::query_as(
                    "SELECT remembered, idle_secs, absolute_secs, lag_secs, fail_open, used_until FROM lifetime_in_use",
                );
                Ok(query.fetch_all(&mut *self.connection).await?)
            }

            /// Returns at most `limit` accounts of the source, in the order of `sub`, whose `sub` is greater than the given one.
            pub(crate) async fn accounts_after(&mut self, sub: &str, limit: i64) -> Result<Vec<Account>, StoreError> {
                let query = select_accounts!("WHERE sub > $1 ORDER BY sub LIMIT $2");
                let query = query.bind(sub).bind(limit);
                query.fetch_all(&mut *self.connection).await?.iter().map(account).collect()
            }

            /// Returns at most `limit` log entries of the source with a number above `seq`, each with its number. Entries that
            /// expired before `pruned_through` are skipped.
            pub(crate) async fn log_after(
                &mut self,
                seq: i64,
                pruned_through: i64,
                limit: i64,
            ) -> Result<Vec<(i64, Entry)>, StoreError> {
                let query = sqlx::query(
                    "SELECT seq, sid, sub, below, kid, expires_at FROM revocation
                     WHERE seq > $1 AND expires_at >= $2 ORDER BY seq LIMIT $3",
                );
                let query = query.bind(seq).bind(pruned_through).bind(limit);
                let rows = query.fetch_all(&mut *self.connection).await?;
                let numbered_entry = |row: &<$database as sqlx::Database>::Row| {
                    let sid = row.try_get(1)?;
                    let sub = row.try_get(2)?;
                    let below = row.try_get(3)?;
                    let kid = row.try_get(4)?;
                    let expires_at = row.try_get(5)?;
                    Ok((row.try_get(0)?, log::Row { sid, sub, below, kid, expires_at }.entry()?))
                };
                rows.iter().map(numbered_entry).collect()
            }

            /// Deletes all accounts, log rows and recorded lifetimes of the target, and records that the migration has begun.
            pub(crate) async fn begin_migration(&mut self, incoming: &IncomingMigration) -> Result<(), StoreError> {
                for statement in
                    ["DELETE FROM account", "DELETE FROM revocation", "DELETE FROM lifetime_in_use"]
                {
                    sqlx::query(statement).execute(&mut *self.connection).await?;
                }
                sqlx::query(
                    "UPDATE migration SET source_id = $1, source = $2, source_state = $3, last_account = '', last_seq = 0,
                        finished = FALSE",
                )
                .bind(&incoming.source_id)
                .bind(&incoming.source_address)
                .bind(&incoming.source_summary)
                .execute(&mut *self.connection)
                .await?;
                Ok(())
            }

            /// Inserts accounts into the target. Fails if a login name or a subject already exists.
            pub(crate) async fn add_accounts(&mut self, accounts: &[Account]) -> Result<(), StoreError> {
                let mut insert = sqlx::QueryBuilder::<$database>::new(
                    "INSERT INTO account
                     (sub, login_name, display_name, email, roles, password_hash, must_change, disabled, generation, created_at) ",
                );
                insert.push_values(accounts, |mut row, account| {
                    let Account { sub, profile, password_hash, disabled, must_change, generation, created_at } = account;
                    row.push_bind(sub)
                        .push_bind(profile.login_name.as_str())
                        .push_bind(profile.display_name.as_str())
                        .push_bind(profile.email.as_str())
                        .push_bind(profile.roles.as_str())
                        .push_bind(password_hash)
                        .push_bind(must_change)
                        .push_bind(disabled)
                        .push_bind(signed(*generation))
                        .push_bind(signed(created_at.0));
                });
                insert.build().execute(&mut *self.connection).await?;
                Ok(())
            }

            /// Records the progress `next` in the target. Returns `false`, and changes nothing, if the recorded progress is not
            /// `previous` or the migration has finished: another process has then changed the target.
            pub(crate) async fn advance(&mut self, previous: &IncomingMigration, next: &IncomingMigration) -> Result<bool, StoreError> {
                let query = sqlx::query(
                    "UPDATE migration SET last_account = $1, last_seq = $2, finished = $3
                     WHERE source_id = $4 AND last_account = $5 AND last_seq = $6 AND NOT finished",
                );
                let query = query.bind(&next.last_copied_sub).bind(next.last_copied_seq).bind(next.finished);
                let query = query.bind(&previous.source_id).bind(&previous.last_copied_sub).bind(previous.last_copied_seq);
                Ok(query.execute(&mut *self.connection).await?.rows_affected() == 1)
            }

            /// Sets the counters of the target to those of the source.
            pub(crate) async fn set_counters(&mut self, counters: Counters) -> Result<(), StoreError> {
                let Counters { global_generation, pruned_through, clock_reached, last_seq } = counters;
                sqlx::query($raise_last_seq).bind(last_seq).execute(&mut *self.connection).await?;
                sqlx::query("UPDATE state SET global_generation = $1, pruned_through = $2, clock_reached = $3")
                    .bind(global_generation)
                    .bind(pruned_through)
                    .bind(clock_reached)
                    .execute(&mut *self.connection)
                    .await?;
                Ok(())
            }

            /// Adds the recorded session lifetimes of the source to the target.
            pub(crate) async fn set_lifetimes(&mut self, lifetimes: &[LifetimeInUse]) -> Result<(), StoreError> {
                for (remembered, idle, absolute, lag, fail_open, until) in lifetimes {
                    sqlx::query(
                        "INSERT INTO lifetime_in_use
                         (remembered, idle_secs, absolute_secs, lag_secs, fail_open, used_until)
                         VALUES ($1, $2, $3, $4, $5, $6)",
                    )
                    .bind(remembered)
                    .bind(idle)
                    .bind(absolute)
                    .bind(lag)
                    .bind(fail_open)
                    .bind(until)
                    .execute(&mut *self.connection)
                    .await?;
                }
                Ok(())
            }

            /// Records in the source that its contents were moved to the store with the address `to`.
            pub(crate) async fn mark_moved(&mut self, to: &str) -> Result<(), StoreError> {
                sqlx::query("UPDATE state SET moved_to = $1").bind(to).execute(&mut *self.connection).await?;
                Ok(())
            }
        }

        /// Reads the state of a store in migrations. The tables `migration` and `state` have one row each, so their cross
        /// join also has one row.
        async fn migration_state(connection: &mut $connection) -> Result<MigrationState, StoreError> {
            let query = sqlx::query("SELECT store_id, source_id, source, source_state, last_account, migration.last_seq, finished, moved_to
                 FROM migration, state",
            );
            let row = query.fetch_one(connection).await?;
            let source = (row.try_get("source_id")?, row.try_get("source")?, row.try_get("source_state")?);
            let incoming = match source {
                (Some(source_id), Some(source_address), Some(source_summary)) => Some(IncomingMigration {
                    source_id,
                    source_address,
                    source_summary,
                    last_copied_sub: row.try_get("last_account")?,
                    last_copied_seq: row.try_get("last_seq")?,
                    finished: row.try_get("finished")?,
                }),
                _ => None,
            };
            Ok(MigrationState { store_id: row.try_get("store_id")?, moved_to: row.try_get("moved_to")?, incoming })
        }
    };
}

pub(in crate::store) use impl_migrate;
