//! A standby of a test's PostgreSQL, and its promotion to primary.

use std::process::Command;
use std::time::Instant;

use rustix::process::{Signal, geteuid, kill_process};

use super::system::{free_port, pid, program, run_checked, unprivileged};
use super::{Postgres, TIMEOUT};

impl Postgres {
    /// Starts another server with a copy of this server's data, which replicates this server.
    pub(crate) fn standby(&self) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        if geteuid().is_root() {
            run_checked(Command::new("chown").arg("postgres:").arg(directory.path()));
        }
        let mut copy = unprivileged(&program("pg_basebackup"));
        copy.args(["--no-sync", "--write-recovery-conf", "--checkpoint=fast", "--username=postgres", "--host"]);
        copy.arg(self.directory.path()).arg(format!("--port={}", self.port)).arg("--pgdata");
        run_checked(copy.arg(directory.path().join("data")));
        let mut standby = Self {
            address: self.address.clone(),
            port: free_port(),
            settings: self.settings.clone(),
            environment: self.environment.clone(),
            server: Command::new("true").spawn().expect("true runs"),
            directory,
        };
        standby.restart();
        standby
    }

    /// Configures synchronous replication: from now on, a commit is confirmed only after a standby has stored it as well.
    pub(crate) fn wait_for_standbys(&self) {
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        let deadline = Instant::now() + TIMEOUT;
        while self.sql("SELECT sync_state FROM pg_stat_replication") != "sync" {
            assert!(Instant::now() < deadline, "no synchronous standby is connected: {}", self.log());
        }
    }

    /// Promotes this standby to primary, at the address of the killed primary.
    pub(crate) fn take_over(&mut self, killed: &Self) {
        assert_eq!(self.sql("SELECT pg_promote()"), "t");
        self.sql("ALTER SYSTEM RESET synchronous_standby_names");
        kill_process(pid(&self.server), Signal::INT).expect("the server runs");
        self.server.wait().expect("the server ends");
        self.port = killed.port;
        self.restart();
    }
}
