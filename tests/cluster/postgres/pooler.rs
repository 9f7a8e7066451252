//! A connection pooler ([PgBouncer](https://www.pgbouncer.org/)) in front of a test's PostgreSQL.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use rustix::process::geteuid;
use tempfile::TempDir;

use super::Postgres;
use super::system::{free_port, run_checked, unprivileged};

/// Running pooler. Dropping it stops its process.
pub(crate) struct Pooler {
    /// Value for the setting `store`.
    pub(crate) url: String,
    process: Child,
    _directory: TempDir,
}

impl Postgres {
    /// Starts a pooler in this mode. In the mode `session`, each client has its own connection until it disconnects.
    pub(crate) fn pooler(&self, mode: &str) -> Pooler {
        let directory = tempfile::tempdir().expect("a directory");
        let users = directory.path().join("users");
        let settings = directory.path().join("settings");
        let port = free_port();
        fs::write(&users, "\"sealjar\" \"sealjar\"\n").expect("writes");
        let lines = [
            "[databases]".to_owned(),
            format!("sealjar = host={} port={}", self.address, self.port),
            "[pgbouncer]".to_owned(),
            format!("listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir ="),
            format!("pool_mode = {mode}\nauth_type = scram-sha-256\nauth_file = {}", users.display()),
            // The pool has fewer connections than PostgreSQL accepts.
            "default_pool_size = 60\nmax_client_conn = 200\nserver_login_retry = 1".to_owned(),
        ];
        fs::write(&settings, lines.join("\n")).expect("writes");
        if geteuid().is_root() {
            run_checked(std::process::Command::new("chown").args(["-R", "postgres:"]).arg(directory.path()));
        }
        let mut pgbouncer = unprivileged(Path::new("/usr/sbin/pgbouncer"));
        let process = pgbouncer.arg("-q").arg(&settings).stdout(Stdio::null()).stderr(Stdio::null());
        let process = process.spawn().expect("this test needs PgBouncer (Debian: apt-get install pgbouncer)");
        Pooler {
            url: format!("postgres://sealjar:sealjar@127.0.0.1:{port}/sealjar?sslmode=disable"),
            process,
            _directory: directory,
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
