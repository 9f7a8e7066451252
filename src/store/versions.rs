//! Schema migrations, and the compatibility of programs and tables of different versions. A newer program applies its
//! migrations while older programs use the tables.
//!
//! A migration is compatible with older programs if it only adds a table or a column that they do not need to fill. It does
//! not change `state.needs`. An incompatible migration sets `state.needs` to its own number. Then older programs stop using
//! the tables, both those that are running and those that are started later.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use super::error::StoreError;

/// Returns the migrations in `files`. The tables may have more migrations, from a newer program.
///
/// `sqlx::migrate!` would return the same. But the crate of this macro would compile sqlx and SQLite a second time, to use
/// them in the compiler.
pub(super) fn migrations(files: &[File]) -> Migrator {
    let migrations = files.iter().map(|&(version, description, statements)| {
        Migration::new(version, description.into(), MigrationType::Simple, statements.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(migrations.collect());
    migrator.set_ignore_missing(true);
    migrator
}

/// Returns an error for tables that need a newer program, and for tables that are out of use because `state.moved_to` is
/// set.
pub(super) fn check(migrations: &Migrator, needs: i64, moved_to: Option<String>) -> Result<(), StoreError> {
    let known = migrations.iter().map(|migration| migration.version).max().unwrap_or_default();
    if needs > known {
        return Err(StoreError::TooNew { needs, known });
    }
    moved_to.map_or(Ok(()), |to| Err(StoreError::out_of_use(to)))
}

/// Version, description and statements of a migration.
type File = (i64, &'static str, &'static str);

/// All files of `migrations/sqlite`.
pub(super) const SQLITE: &[File] = &[
    (1, "first", include_str!("migrations/sqlite/0001_first.sql")),
    (2, "must change", include_str!("migrations/sqlite/0002_must_change.sql")),
    (3, "node", include_str!("migrations/sqlite/0003_node.sql")),
    (4, "migration", include_str!("migrations/sqlite/0004_migration.sql")),
    (5, "needs", include_str!("migrations/sqlite/0005_needs.sql")),
    (6, "revoked keys", include_str!("migrations/sqlite/0006_revoked_keys.sql")),
    (7, "node serves for", include_str!("migrations/sqlite/0007_node_serves_for.sql")),
];

/// All files of `migrations/postgres`.
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
    async fn the_lists_have_all_files_of_their_directories() {
        for (directory, files) in [("sqlite", SQLITE), ("postgres", POSTGRES)] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/migrations").join(directory);
            let expected = Migrator::new(path).await.expect("a directory of migrations");
            let fields = |migrator: &Migrator| {
                let fields = migrator.iter().cloned();
                let fields =
                    fields.map(|each| (each.version, each.description, each.migration_type, each.checksum, each.no_tx));
                fields.collect::<Vec<_>>()
            };
            assert_eq!(fields(&migrations(files)), fields(&expected), "{directory}");
        }
    }
}
