//! Rebuilds when a migration is added: `sqlx::migrate!` notices changed files, but not new ones.

fn main() {
    println!("cargo:rerun-if-changed=src/store/migrations");
}
