//! "An answered sign-out is for good", and "the database" if it is stolen: who can read it, whether it is whole and in use, and
//! whether what it confirmed is kept.

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

/// For errors that other commands have no hint for. It must not advise a restore, which ends every session: most of these errors are
/// not of the data.
const OTHERWISE: &str = "the database's log may say more; docs/troubleshooting.md lists messages and remedies";
const DAMAGED: &str = "put back a backup as docs/backup.md says, then run: sealjar store restored";
/// With less there is no room for a checkpoint of the log.
const TOO_LITTLE_SPACE: u64 = 16 << 20;
const LITTLE_SPACE: u64 = 256 << 20;
/// A check of a larger file would take more than a second or two.
const QUICKLY_CHECKED: u64 = 256 << 20;
/// Those that a node has besides `postgres.max_connections`.
const OTHER_CONNECTIONS: u64 = 5;

/// Returns the store if it is one that `serve` would use as it is, opened for looking only.
pub(super) async fn check(config: &Config, ring: Option<&KeyRing>, report: &mut Report) -> Option<Store> {
    // What is wrong with the address was found with the settings.
    let url = StoreUrl::parse(&config.store).ok()?;
    match &url {
        StoreUrl::Sqlite(path) if path.is_file() => check_file(path, config, report),
        StoreUrl::Sqlite(_) => {}
        StoreUrl::Postgres(_) => {
            check_way(url.transport(), report);
            check_password_file(&config.store, report);
        }
    }
    let store = match Store::open_to_inspect(&url, config.postgres.limits()).await {
        Ok(store) => store,
        Err(error) => {
            report.failure("store.open", error.into(), OTHERWISE);
            return None;
        }
    };
    if check_contents(&store, &url, config, ring, report).await {
        check_whole(&url, &store, report).await;
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

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn check_file(path: &Path, config: &Config, report: &mut Report) {
    const CHECK: &str = "store.file";
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for file in ["", "-wal", "-shm"].map(|suffix| beside(path, suffix)) {
        let (shown, mode) = (file.display(), files::mode(&file).unwrap_or_default());
        if mode & (OTHERS | GROUP_WRITES) != 0 {
            let found = format!("{shown} has mode {mode:04o}, so others get at accounts and password hashes");
            report.problem(
                CHECK,
                found,
                format!("chmod 600 {}; if others may have read it, new passwords", shell_path(&file)),
            );
        }
        if file.exists() && access(&file, Access::READ_OK | Access::WRITE_OK).is_err() {
            let remedy = "let it belong to the server's user, and run doctor as that user: chown sealjar";
            report.problem(
                CHECK,
                format!("{shown} cannot be read and written by this user"),
                format!("{remedy} {}", shell_path(&file)),
            );
        }
    }
    if let Some(above) = files::open_directory_above(path) {
        let found = format!("others can put another file in the place of {}, in {}", path.display(), above.display());
        report.problem(CHECK, found, format!("chmod o-w {}", shell_path(&above)));
    }
    let same =
        |a: &Path, b: &Path| std::fs::canonicalize(a).ok().is_some_and(|a| std::fs::canonicalize(b).ok() == Some(a));
    if same(directory, &config.keys.dir) {
        let found = "the database is in the directory of the keys: a backup of the one is a backup of both";
        report.warning(CHECK, found, "keep them apart, by store or keys.dir");
    }
    report.ok_otherwise(CHECK, format!("{}, which its owner alone can write", path.display()));
    check_disk(directory, report);
}

fn check_disk(directory: &Path, report: &mut Report) {
    const CHECK: &str = "store.disk";
    let Ok(facts) = statvfs(directory) else {
        return report.skipped(CHECK, format!("cannot ask what {} lies on", directory.display()));
    };
    let free = facts.f_bavail.saturating_mul(facts.f_frsize);
    let (shown, mebibytes) = (directory.display(), free >> 20);
    let remedy = "make room, or move the database: a sign-out that cannot be written is answered with 503";
    if files::is_mounted_read_only(directory) {
        report.problem(CHECK, format!("{shown} is mounted read-only"), "mount it for writing, or name another store");
    } else if free < TOO_LITTLE_SPACE {
        report.problem(CHECK, format!("{mebibytes} MiB are free in {shown}"), remedy);
    } else if free < LITTLE_SPACE {
        report.warning(CHECK, format!("{mebibytes} MiB are free in {shown}"), remedy);
    }
    if is_on_network(directory) {
        let found =
            format!("{shown} is on a network file system, where SQLite's locks and flushes are not to be relied on");
        report.problem(CHECK, found, "put the database on a local disk, or use PostgreSQL: sealjar migrate");
    }
    report.ok_otherwise(CHECK, format!("{mebibytes} MiB are free"));
}

/// NFS, SMB in its three generations, AFS and Ceph, as `statfs(2)` calls them.
#[cfg(target_os = "linux")]
fn is_on_network(directory: &Path) -> bool {
    const NETWORK: [u32; 6] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x5346_414f, 0x00c3_6400];
    rustix::fs::statfs(directory).is_ok_and(|facts| NETWORK.contains(&(facts.f_type as u32)))
}

#[cfg(not(target_os = "linux"))]
fn is_on_network(_: &Path) -> bool {
    false
}

/// How a PostgreSQL is spoken to.
fn check_way(way: Transport, report: &mut Report) {
    const CHECK: &str = "store.tls";
    let remedy = "take sslmode out of the store's address (then it is verify-full)";
    match way {
        Transport::Local => report.ok(CHECK, "the database is on this machine"),
        Transport::VerifiedTls => report.ok(CHECK, "TLS, and the database's server must prove its name"),
        Transport::UnverifiedTls => {
            report.warning(CHECK, "TLS, but the database's server need not prove its name", remedy)
        }
        Transport::Unencrypted => report.problem(CHECK, "password hashes may cross the network in the clear", remedy),
    }
}

/// Whether it is of this version and in use, who serves it, and with which keys. Returns whether it can be looked into.
async fn check_contents(
    store: &Store,
    url: &StoreUrl,
    config: &Config,
    ring: Option<&KeyRing>,
    report: &mut Report,
) -> bool {
    match store.tables().await {
        Err(error) => report.failure("store.open", error.into(), OTHERWISE),
        Ok(None) => {
            let error = match (url, store.has_other_tables().await) {
                (_, Err(error)) => error,
                (StoreUrl::Sqlite(path), Ok(true)) => StoreError::Foreign(path.clone()),
                (_, Ok(_)) => StoreError::WithoutTables(without_password(&config.store)),
            };
            report.failure("store.open", error.into(), OTHERWISE);
        }
        Ok(Some(tables)) if tables.applied < tables.known => {
            let found = format!(
                "the tables are of an older version (migration {} of {}); the rest of it was not looked at",
                tables.applied, tables.known
            );
            report.warning("store.open", found, "nothing, if that is meant: sealjar serve brings them up to date");
        }
        Ok(Some(_)) => match store.check_in_use().await {
            Err(error) => report.failure("store.open", error.into(), OTHERWISE),
            Ok(()) => match store.state().await {
                Err(error) => report.failure("store.open", error.into(), OTHERWISE),
                Ok(_) => {
                    report.ok("store.open", "it is there, of this version, and in use");
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
        return report.skipped(CHECK, "without a ring there is nothing to hold the nodes' keys against");
    };
    let read = async { Ok::<_, StoreError>((store.revoked_keys().await?, store.nodes().await?)) };
    match read.await {
        Err(error) => report.failure(CHECK, error.into(), OTHERWISE),
        Ok((refused, nodes)) => {
            let now = Now::read().wall;
            // A key that the log refuses is revoked, whatever its file here says.
            let in_files = ring;
            let ring = ring.without_refusals().with_refused_keys(&refused);
            if let (Some(active), None) = (in_files.sealing_key(now), ring.sealing_key(now)) {
                let found = format!("the store refuses {}, so no key is active, whatever the files say", active.kid());
                report.problem(CHECK, found, "sealjar keys rotate --activate-in 0s");
            }
            let live: Vec<&Node> = nodes.iter().filter(|node| node.is_live()).collect();
            for fault in live.iter().filter_map(|node| Compared::of(node, &ring, now).fault()) {
                let remedy = "see in that node's log whether it can read its keys: sealjar keys status";
                report.problem(CHECK, format!("the node {fault}"), remedy);
            }
            report.ok_otherwise(CHECK, format!("{}, and each holds this ring", count(live.len(), "live node")));
        }
    }
}

async fn check_whole(url: &StoreUrl, store: &Store, report: &mut Report) {
    const CHECK: &str = "store.whole";
    let StoreUrl::Sqlite(path) = url else {
        return;
    };
    let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > QUICKLY_CHECKED {
        let found = format!("{} MiB are too much for now; run: sqlite3", bytes >> 20);
        return report.skipped(CHECK, format!("{found} {} 'PRAGMA quick_check'", path.display()));
    }
    match store.damage().await {
        Ok(None) => report.ok(CHECK, "SQLite finds no damage"),
        Ok(Some(damage)) => report.problem(CHECK, format!("the file is damaged: {}", damage.trim()), DAMAGED),
        Err(error) => report.failure(CHECK, error.into(), OTHERWISE),
    }
}

async fn check_server(config: &Config, store: &Store, report: &mut Report) {
    const CHECK: &str = "store.server";
    let ServerSettings { version, fsync, full_page_writes, standbys, synchronous, connections } =
        match store.server_facts().await {
            Ok(None) => return,
            Ok(Some(keeping)) => keeping,
            Err(error) => return report.failure(CHECK, error.into(), OTHERWISE),
        };
    if !fsync {
        let found = "fsync is off, so a crash of the machine loses sign-outs that were answered";
        report.problem(CHECK, found, "ALTER SYSTEM SET fsync = on, and restart PostgreSQL");
    }
    if !full_page_writes {
        let found = "full_page_writes is off, so a crash of the machine may damage the database";
        report.problem(CHECK, found, "ALTER SYSTEM SET full_page_writes = on, and reload PostgreSQL");
    }
    if standbys > 0 && synchronous.is_empty() {
        let found = format!(
            "{}, none of which confirms commits: a failover may lose sign-outs",
            count(standbys.unsigned_abs() as usize, "standby server")
        );
        let remedy =
            "set synchronous_standby_names (docs/nodes.md), or run after each failover: sealjar store restored";
        report.warning(CHECK, found, remedy);
    }
    let nodes = store.nodes().await.map_or(0, |nodes| nodes.iter().filter(|node| node.is_live()).count()).max(1);
    let wanted = (u64::from(config.postgres.max_connections) + OTHER_CONNECTIONS) * nodes as u64;
    if wanted > connections.unsigned_abs() {
        let found = format!("{nodes} nodes may want {wanted} connections, and PostgreSQL has {connections}");
        report.warning(CHECK, found, "raise max_connections of PostgreSQL, or lower postgres.max_connections");
    }
    let name = without_password(&config.store);
    report.ok_otherwise(CHECK, format!("PostgreSQL {version} at {name}, the primary; what it confirms is on disk"));
}
