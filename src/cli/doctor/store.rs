//! Checks of the store: which users can read it, whether it is undamaged and in use, the keys of live nodes, and whether
//! committed data survives a crash.
//!
//! The promise "An answered sign-out is for good" (docs/security/promises.md) depends on the last check.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};

use super::files::{self, GROUP_WRITES, OTHERS};
use super::report::{Report, count};
use crate::access_denied::shell_path;
use crate::cli::keys::status::Compared;
use crate::clock::Now;
use crate::config::Config;
use crate::keyring::KeyRing;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::node::Node;
use crate::store::password_file::{self, IgnoredPasswordFile};
use crate::store::records::ServerSettings;
use crate::store::url::StoreUrl;
use crate::store::url::{Transport, without_password};

/// Remedy for errors without a hint. It must not advise a restore, which ends every session: most of these errors do not come
/// from damaged data.
const DEFAULT_REMEDY: &str = "see the log of the database; docs/troubleshooting.md lists messages and remedies";
/// Remedy for a damaged database.
const DAMAGED_REMEDY: &str = "put back a backup as docs/backup.md says, then run: sealjar store restored";
/// Minimum free space, in bytes: a [checkpoint](https://sqlite.org/wal.html#ckpt) of the write-ahead log needs it.
const MIN_SPACE_BYTES: u64 = 16 << 20;
/// Free space below which there is a warning, in bytes.
const LOW_SPACE_BYTES: u64 = 256 << 20;
/// Maximum size of a database file that is checked for damage, in bytes. The check of a larger file would take more than two
/// seconds.
const MAX_CHECKED_BYTES: u64 = 256 << 20;
/// Number of connections that a node has in addition to `postgres.max_connections`.
const OTHER_CONNECTIONS: u64 = 5;

/// Runs the checks. Returns the store, opened read-only, if `serve` would use it without a migration.
pub(super) async fn check(config: &Config, ring: Option<&KeyRing>, report: &mut Report) -> Option<Store> {
    // An invalid address was already reported with the settings.
    let url = StoreUrl::parse(&config.store).ok()?;
    match &url {
        StoreUrl::Sqlite(path) if path.is_file() => check_file(path, config, report),
        StoreUrl::Sqlite(_) => {}
        StoreUrl::Postgres(_) => {
            check_transport(url.transport(), report);
            check_password_file(&config.store, report);
        }
    }
    let store = match Store::open_to_inspect(&url, config.postgres.limits()).await {
        Ok(store) => store,
        Err(error) => {
            report.failure("store.open", error.into(), DEFAULT_REMEDY);
            return None;
        }
    };
    if check_contents(&store, &url, config, ring, report).await {
        check_damage(&url, &store, report).await;
        check_server(config, &store, report).await;
        Some(store)
    } else {
        store.close().await;
        None
    }
}

fn check_password_file(url: &str, report: &mut Report) {
    if let Some(IgnoredPasswordFile { path, reason }) = password_file::find_ignored(url) {
        let found = format!("the password file {} is not used: {reason}", path.display());
        report.warning("store.password", found, password_file::REMEDY);
    }
}

/// Returns the path of a file next to the database, such as its write-ahead log.
fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn check_file(path: &Path, config: &Config, report: &mut Report) {
    const CHECK: &str = "store.file";
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for file in ["", "-wal", "-shm"].map(|suffix| with_suffix(path, suffix)) {
        let shown = file.display();
        let mode = files::mode(&file).unwrap_or_default();
        if mode & (OTHERS | GROUP_WRITES) != 0 {
            let found =
                format!("{shown} has mode {mode:04o}, so other users can read or change accounts and password hashes");
            report.problem(
                CHECK,
                found,
                format!("chmod 600 {}; if other users may have read it, set new passwords", shell_path(&file)),
            );
        }
        if file.exists() && access(&file, Access::READ_OK | Access::WRITE_OK).is_err() {
            let remedy = "give it to the server's user, and run doctor as that user: chown sealjar";
            report.problem(
                CHECK,
                format!("this user cannot read and write {shown}"),
                format!("{remedy} {}", shell_path(&file)),
            );
        }
    }
    if let Some(above) = files::open_directory_above(path) {
        let found =
            format!("other users can replace {}, because they can write to {}", path.display(), above.display());
        report.problem(CHECK, found, format!("chmod o-w {}", shell_path(&above)));
    }
    let same =
        |a: &Path, b: &Path| std::fs::canonicalize(a).ok().is_some_and(|a| std::fs::canonicalize(b).ok() == Some(a));
    if same(directory, &config.keys.dir) {
        let found = "the database is in the key directory: a backup of the database then contains the keys, too";
        report.warning(CHECK, found, "use separate directories, with the setting store or keys.dir");
    }
    report.ok_otherwise(CHECK, format!("{}, which only its owner can write", path.display()));
    check_disk(directory, report);
}

fn check_disk(directory: &Path, report: &mut Report) {
    const CHECK: &str = "store.disk";
    let Ok(facts) = statvfs(directory) else {
        return report.skipped(CHECK, format!("cannot read the file system of {}", directory.display()));
    };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    let shown = directory.display();
    let mebibytes = free >> 20;
    let remedy = "free space, or move the database: a logout that cannot be written fails with 503";
    if files::is_mounted_read_only(directory) {
        report.problem(CHECK, format!("{shown} is mounted read-only"), "mount it for writing, or name another store");
    } else if free < MIN_SPACE_BYTES {
        report.problem(CHECK, format!("{mebibytes} MiB are free in {shown}"), remedy);
    } else if free < LOW_SPACE_BYTES {
        report.warning(CHECK, format!("{mebibytes} MiB are free in {shown}"), remedy);
    }
    if is_on_network(directory) {
        let found = format!("{shown} is on a network file system, where SQLite's locks and flushes are not reliable");
        report.problem(CHECK, found, "put the database on a local disk, or use PostgreSQL: sealjar migrate");
    }
    report.ok_otherwise(CHECK, format!("{mebibytes} MiB are free"));
}

/// Whether a directory is on NFS, SMB (three magic numbers), AFS or Ceph, by the numbers of `statfs(2)`.
#[cfg(target_os = "linux")]
fn is_on_network(directory: &Path) -> bool {
    const NETWORK: [u32; 6] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x5346_414f, 0x00c3_6400];
    rustix::fs::statfs(directory).is_ok_and(|facts| NETWORK.contains(&(facts.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn is_on_network(_: &Path) -> bool {
    false
}

/// Reports how connections to PostgreSQL are protected.
fn check_transport(transport: Transport, report: &mut Report) {
    const CHECK: &str = "store.tls";
    let remedy = "remove sslmode from the store's address, so that verify-full applies";
    match transport {
        Transport::Local => report.ok(CHECK, "the database is on this machine"),
        Transport::VerifiedTls => {
            report.ok(CHECK, "TLS, and the name in the certificate of the database server is verified")
        }
        Transport::UnverifiedTls => {
            report.warning(CHECK, "TLS, but the name in the certificate of the database server is not verified", remedy)
        }
        Transport::Unencrypted => report.problem(CHECK, "password hashes may cross the network unencrypted", remedy),
    }
}

/// Checks whether the store has the tables of this version and is in use, and compares the keys of its live nodes. Returns
/// whether its content can be inspected.
async fn check_contents(
    store: &Store,
    url: &StoreUrl,
    config: &Config,
    ring: Option<&KeyRing>,
    report: &mut Report,
) -> bool {
    match store.tables().await {
        Err(error) => report.failure("store.open", error.into(), DEFAULT_REMEDY),
        Ok(None) => {
            let error = match (url, store.has_other_tables().await) {
                (_, Err(error)) => error,
                (StoreUrl::Sqlite(path), Ok(true)) => StoreError::Foreign(path.clone()),
                (_, Ok(_)) => StoreError::WithoutTables(without_password(&config.store)),
            };
            report.failure("store.open", error.into(), DEFAULT_REMEDY);
        }
        Ok(Some(tables)) if tables.applied < tables.known => {
            let found = format!(
                "the tables are of an older version (migration {} of {}); the content was not checked",
                tables.applied, tables.known
            );
            report.warning("store.open", found, "nothing, if this is intended: sealjar serve migrates the tables");
        }
        Ok(Some(_)) => match store.check_in_use().await {
            Err(error) => report.failure("store.open", error.into(), DEFAULT_REMEDY),
            Ok(()) => match store.state().await {
                Err(error) => report.failure("store.open", error.into(), DEFAULT_REMEDY),
                Ok(_) => {
                    report.ok("store.open", "the database exists, has the tables of this version, and is in use");
                    check_nodes(store, ring, report).await;
                    return true;
                }
            },
        },
    }
    false
}

async fn check_nodes(store: &Store, ring: Option<&KeyRing>, report: &mut Report) {
    const CHECK: &str = "store.nodes";
    let Some(ring) = ring else {
        return report
            .skipped(CHECK, "no key of this directory can be read, so the keys of the nodes cannot be compared");
    };
    let read = async { Ok::<_, StoreError>((store.revoked_keys().await?, store.nodes().await?)) };
    match read.await {
        Err(error) => report.failure(CHECK, error.into(), DEFAULT_REMEDY),
        Ok((refused, nodes)) => {
            let now = Now::read().wall;
            // A key that the revocation log refuses counts as revoked, even if its key file says that it is valid.
            let in_files = ring;
            let ring = ring.without_refusals().with_refused_keys(&refused);
            if let (Some(active), None) = (in_files.sealing_key(now), ring.sealing_key(now)) {
                let found = format!(
                    "the store refuses {}, so no key is active, although the key file says that it is",
                    active.kid()
                );
                report.problem(CHECK, found, "sealjar keys rotate --activate-in 0s");
            }
            let live: Vec<&Node> = nodes.iter().filter(|node| node.is_live()).collect();
            for fault in live.iter().filter_map(|node| Compared::of(node, &ring, now).fault()) {
                let remedy = "see in the node's log whether it can read its keys, then check with: sealjar keys status";
                report.problem(CHECK, format!("the node {fault}"), remedy);
            }
            report
                .ok_otherwise(CHECK, format!("the keys of {} match the key directory", count(live.len(), "live node")));
        }
    }
}

async fn check_damage(url: &StoreUrl, store: &Store, report: &mut Report) {
    const CHECK: &str = "store.whole";
    let StoreUrl::Sqlite(path) = url else {
        return;
    };
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > MAX_CHECKED_BYTES {
        let found = format!("not checked, because the file has {} MiB; run: sqlite3", bytes >> 20);
        return report.skipped(CHECK, format!("{found} {} 'PRAGMA quick_check'", path.display()));
    }
    match store.damage().await {
        Ok(None) => report.ok(CHECK, "SQLite finds no damage"),
        Ok(Some(damage)) => report.problem(CHECK, format!("the file is damaged: {}", damage.trim()), DAMAGED_REMEDY),
        Err(error) => report.failure(CHECK, error.into(), DEFAULT_REMEDY),
    }
}

async fn check_server(config: &Config, store: &Store, report: &mut Report) {
    const CHECK: &str = "store.server";
    let ServerSettings { version, fsync, full_page_writes, standbys, synchronous, connections } =
        match store.server_facts().await {
            Ok(None) => return,
            Ok(Some(facts)) => facts,
            Err(error) => return report.failure(CHECK, error.into(), DEFAULT_REMEDY),
        };
    if !fsync {
        let found = "fsync is off, so a crash of the machine loses confirmed logouts";
        report.problem(CHECK, found, "ALTER SYSTEM SET fsync = on, and restart PostgreSQL");
    }
    if !full_page_writes {
        let found = "full_page_writes is off, so a crash of the machine may damage the database";
        report.problem(CHECK, found, "ALTER SYSTEM SET full_page_writes = on, and reload PostgreSQL");
    }
    if standbys > 0 && synchronous.is_empty() {
        let found = format!(
            "{}, none of which confirms commits: a failover may lose logouts",
            count(standbys.unsigned_abs() as usize, "standby server")
        );
        let remedy =
            "set synchronous_standby_names (docs/nodes.md), or run after each failover: sealjar store restored";
        report.warning(CHECK, found, remedy);
    }
    let nodes = store.nodes().await.map_or(0, |nodes| nodes.iter().filter(|node| node.is_live()).count()).max(1);
    let wanted = (u64::from(config.postgres.max_connections) + OTHER_CONNECTIONS) * nodes as u64;
    if wanted > connections.unsigned_abs() {
        let found = format!("{nodes} nodes may open {wanted} connections, but PostgreSQL allows {connections}");
        report.warning(CHECK, found, "raise max_connections of PostgreSQL, or lower postgres.max_connections");
    }
    let name = without_password(&config.store);
    report.ok_otherwise(
        CHECK,
        format!("PostgreSQL {version} at {name}, the primary; it confirms a commit when it is on disk"),
    );
}
