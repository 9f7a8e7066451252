//! A standby of a test's PostgreSQL, and how it takes the primary's place.

use std::process::Command;
use std::time::Instant;

use rustix::process::{Signal, geteuid, kill_process};

use super::system::{done, free_port, pid, program, unprivileged};
use super::{PATIENCE, Postgres};

impl Postgres {
    /// Another server, with all that this one has, which follows it.
    pub(crate) fn standby(&self) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        if geteuid().is_root() {
            done(Command::new("chown").arg("postgres:").arg(directory.path()));
        }
        let mut copy = unprivileged(&program("pg_basebackup"));
        copy.args(["--no-sync", "--write-recovery-conf", "--checkpoint=fast", "--username=postgres", "--host"]);
        copy.arg(self.directory.path()).arg(format!("--port={}", self.port)).arg("--pgdata");
        done(copy.arg(directory.path().join("data")));
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

    /// From now on a commit is confirmed only when a standby has it, too.
    pub(crate) fn wait_for_standbys(&self) {
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        let deadline = Instant::now() + PATIENCE;
        while self.sql("SELECT sync_state FROM pg_stat_replication") != "sync" {
            assert!(Instant::now() < deadline, "no standby: {}", self.log());
        }
    }

    /// Becomes the primary, at the address of the one that is dead.
    pub(crate) fn take_over(&mut self, dead: &Self) {
        assert_eq!(self.sql("SELECT pg_promote()"), "t");
        self.sql("ALTER SYSTEM RESET synchronous_standby_names");
        kill_process(pid(&self.server), Signal::INT).expect("it runs");
        self.server.wait().expect("it ends");
        self.port = dead.port;
        self.restart();
    }
}
