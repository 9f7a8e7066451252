//! Programs and tables of different versions. A newer program brings the tables up to date while older ones use them.
//!
//! A migration that older programs can live with, because it adds a table or a column that they need not fill, leaves
//! `state.needs` as it is. One that they cannot live with raises it to its own number: then they stop using the tables, those
//! that run already as well as those that are started.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::error::StoreError;

/// Returns the migrations in `files`. The tables may have more migrations, from a newer program.
///
/// `sqlx::migrate!` would give the same. Its crate compiles sqlx and SQLite a second time, for the compiler.
pub(super) fn migrations(files: &[File]) -> Migrator {
    let read = files.iter().map(|&(version, description, statements)| {
        Migration::new(version, description.into(), MigrationType::Simple, statements.into_sql_str(), false)
    });
    let mut known = Migrator::with_migrations(read.collect());
    known.set_ignore_missing(true);
    known
}

/// Refuses tables that need a newer program, and those whose contents are in use elsewhere.
pub(super) fn check(migrations: &Migrator, needs: i64, moved_to: Option<String>) -> Result<(), StoreError> {
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
    if needs > known {
        return Err(StoreError::TooNew { needs, known });
    }
    moved_to.map_or(Ok(()), |to| Err(StoreError::out_of_use(to)))
}

/// Version, description and statements of a migration.
type File = (i64, &'static str, &'static str);

/// Every file of `migrations/sqlite`.
pub(super) const SQLITE: &[File] = &[
    (1, "first", include_str!("migrations/sqlite/0001_first.sql")),
    (2, "must change", include_str!("migrations/sqlite/0002_must_change.sql")),
    (3, "node", include_str!("migrations/sqlite/0003_node.sql")),
    (4, "migration", include_str!("migrations/sqlite/0004_migration.sql")),
    (5, "needs", include_str!("migrations/sqlite/0005_needs.sql")),
    (6, "revoked keys", include_str!("migrations/sqlite/0006_revoked_keys.sql")),
    (7, "node serves for", include_str!("migrations/sqlite/0007_node_serves_for.sql")),
];

/// Every file of `migrations/postgres`.
pub(super) const POSTGRES: &[File] = &[
    (1, "first", include_str!("migrations/postgres/0001_first.sql")),
    (2, "node", include_str!("migrations/postgres/0002_node.sql")),
    (3, "migration", include_str!("migrations/postgres/0003_migration.sql")),
    (4, "needs", include_str!("migrations/postgres/0004_needs.sql")),
    (5, "revoked keys", include_str!("migrations/postgres/0005_revoked_keys.sql")),
    (6, "node serves for", include_str!("migrations/postgres/0006_node_serves_for.sql")),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn the_migrations_are_the_files_of_their_directory() {
        for (directory, files) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations").join(directory);
            let there = Migrator::new(path).await.expect("a directory of migrations");
            let fields = |migrator: &Migrator| {
                let fields = migrator.iter().cloned();
                let fields =
                    fields.map(|each| (each.version, each.description, each.migration_type, each.checksum, each.no_tx));
                fields.collect::<Vec<_>>()
            };
            assert_eq!(fields(&migrations(files)), fields(&there), "{directory}");
        }
    }
}
