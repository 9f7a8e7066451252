//! Programs and tables of different versions. A newer program brings the tables up to date while older ones use them.
//!
//! A migration that older programs can live with, because it adds a table or a column that they need not fill, leaves
//! `state.needs` as it is. One that they cannot live with raises it to its own number: then they stop using the tables, those
//! that run already as well as those that are started.

use sqlx::migrate::Migrator;

use super::error::StoreError;

/// Migrations, of which a newer program may have made more.
pub(super) fn migrations(mut known: Migrator) -> Migrator {
    known.set_ignore_missing(true);
    known
}

/// Refuses tables that need a newer program, and those whose contents are in use elsewhere.
pub(super) fn check(migrations: &Migrator, needs: i64, moved_to: Option<String>) -> Result<(), StoreError> {
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
    if needs > known {
        return Err(StoreError::TooNew { needs, known });
    }
    moved_to.map_or(Ok(()), |to| Err(StoreError::Moved(to)))
}
