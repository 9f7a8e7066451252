//! A PostgreSQL of the test's own, with every commit on disk: started from Debian's packages, killed, paused, and asked by `psql`.

mod pooler;
mod standby;
mod system;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::harness::{remove_traces_of_faketime, text};
pub(crate) use system::done;
use system::{children, free_port, pid, program, unprivileged};

/// Everybody with a password over TCP; the tests' own `psql`, and standbys, come through the socket.
const ACCESS: &str = "local all,replication all trust\nhost all all all scram-sha-256\n";
/// The nodes' role, which owns its database and is no superuser.
const ROLE: &str = "SET password_encryption = 'scram-sha-256'; CREATE ROLE sealjar LOGIN PASSWORD 'sealjar'";
/// Long enough for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A database server with the empty database `sealjar`; gone when dropped, with all that it wrote.
pub(crate) struct Postgres {
    directory: TempDir,
    address: String,
    port: u16,
    settings: Vec<String>,
    environment: Vec<(&'static str, &'static OsStr)>,
    server: Child,
}

/// How a server is to be different from the usual one.
pub(crate) struct Special<'s> {
    pub(crate) address: &'s str,
    /// Who is let in: `pg_hba.conf`.
    pub(crate) access: &'s str,
    /// Made of the directory, which is the server's own.
    pub(crate) settings: &'s dyn Fn(&Path) -> Vec<String>,
    pub(crate) environment: &'s dyn Fn(&Path) -> Vec<(&'static str, &'static OsStr)>,
}

impl Default for Special<'_> {
    fn default() -> Self {
        Self { address: "127.0.0.1", access: ACCESS, settings: &|_| Vec::new(), environment: &|_| Vec::new() }
    }
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_special(&Special::default())
    }

    pub(crate) fn start_special(special: &Special<'_>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        if geteuid().is_root() {
            done(Command::new("chown").arg("postgres:").arg(directory.path()));
        }
        let data = directory.path().join("data");
        let mut initdb = unprivileged(&program("initdb"));
        // What is written before the server starts may be lost with the machine, but nothing later.
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--locale=C.UTF-8", "--pgdata"]).arg(&data);
        done(&mut initdb);
        fs::write(data.join("pg_hba.conf"), special.access).expect("writes");
        let mut postgres = Self {
            address: special.address.to_owned(),
            port: free_port(),
            settings: (special.settings)(directory.path()),
            environment: (special.environment)(directory.path()),
            // Until it is waited for.
            server: Command::new("true").spawn().expect("true runs"),
            directory,
        };
        postgres.restart();
        postgres.sql_in("postgres", ROLE);
        postgres.create_database("sealjar");
        postgres
    }

    pub(crate) fn create_database(&self, name: &str) {
        self.sql_in("postgres", &format!("CREATE DATABASE {name} OWNER sealjar"));
    }

    /// As the setting `store` has it.
    pub(crate) fn url(&self, database: &str, query: &str) -> String {
        format!("postgres://sealjar:sealjar@{}:{}/{database}?{query}", self.address, self.port)
    }

    /// The setting for the database `sealjar`, without TLS.
    pub(crate) fn store(&self) -> String {
        format!("store={}", self.url("sealjar", "sslmode=disable"))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements on the database `sealjar`, past any node; returns what they returned.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.sql_in("sealjar", statements)
    }

    pub(crate) fn sql_in(&self, database: &str, statements: &str) -> String {
        text(&done(self.psql(database).args(["-c", statements])).stdout).trim().to_owned()
    }

    /// A connection that is kept, for a transaction that stays open.
    pub(crate) fn connection(&self) -> Connection {
        let mut psql = self.psql("sealjar");
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql runs");
        let (input, output) = (psql.stdin.take().expect("piped"), psql.stdout.take().expect("piped"));
        Connection { psql, input, output: BufReader::new(output) }
    }

    /// Everything in the database `sealjar`, as statements that put it back in the place of what is there then.
    pub(crate) fn dump(&self) -> String {
        let mut dump = Command::new(program("pg_dump"));
        dump.args(["--clean", "--if-exists", "-U", "postgres", "-d", "sealjar", "-h"]).arg(self.directory.path());
        text(&done(dump.arg("-p").arg(self.port.to_string())).stdout)
    }

    /// Puts back what was dumped, in one transaction.
    pub(crate) fn put_back(&self, dump: &str) {
        let file = self.path("dump");
        fs::write(&file, dump).expect("writes");
        done(self.psql("sealjar").args(["--single-transaction", "-f"]).arg(file));
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        psql.arg(self.directory.path()).arg("-p").arg(self.port.to_string());
        psql
    }

    /// `kill -9` of every process at once.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.server.wait().expect("it ends");
    }

    pub(crate) fn restart(&mut self) {
        self.server = self.spawn();
        // What a killed one left behind may keep it from starting for a moment.
        let deadline = Instant::now() + PATIENCE;
        while !self.psql("postgres").args(["-c", ""]).output().expect("psql runs").status.success() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", self.log());
            if self.server.try_wait().expect("it runs or has ended").is_some() {
                self.server = self.spawn();
            }
        }
    }

    fn spawn(&self) -> Child {
        let directory = self.directory.path();
        let log = fs::File::options().create(true).append(true).open(directory.join("log")).expect("opens");
        // Whoever takes rights away must not be given variables that are for the server.
        let mut server = unprivileged(Path::new("env"));
        for (name, value) in &self.environment {
            let mut assignment = OsString::from(format!("{name}="));
            assignment.push(value);
            server.arg(assignment);
        }
        server.arg(program("postgres")).arg("-D").arg(directory.join("data")).arg("-k").arg(directory);
        server.args(["-h", &self.address, "-p", &self.port.to_string()]);
        server.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        server.stdout(Stdio::null()).stderr(log).spawn().expect("it runs")
    }

    /// Stops every process where it is.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let main = pid(&self.server);
        // Stopped first, it starts no other process meanwhile.
        let _ = kill_process(main, Signal::STOP);
        for process in children(main) {
            let _ = kill_process(process, signal);
        }
        let _ = kill_process(main, signal);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(None) = self.server.try_wait() {
            self.resume();
            // At once, but not by `kill -9`: that would leave its shared memory behind.
            let _ = kill_process(pid(&self.server), Signal::QUIT);
            let _ = self.server.wait();
        }
        remove_traces_of_faketime(self.server.id());
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log:\n{}", self.log());
        }
    }
}

/// A connection of `psql`.
pub(crate) struct Connection {
    psql: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Connection {
    /// Runs statements; returns the lines that they returned.
    pub(crate) fn run(&mut self, statements: &str) -> Vec<String> {
        writeln!(self.input, "{statements}\n\\echo done").expect("psql reads");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.output.read_line(&mut line).expect("text");
            assert!(read > 0, "psql ended in {statements}");
            match line.trim_end() {
                "done" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}
