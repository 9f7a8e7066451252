//! A PostgreSQL server for one test. It is started from Debian's packages, writes every commit to disk, and can be killed,
//! suspended and queried with `psql`.

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

use crate::harness::{remove_faketime_shared_memory, text};
pub(crate) use system::run_checked;
use system::{children, free_port, pid, program, unprivileged};

/// Content of `pg_hba.conf`: a password is required over TCP; `psql` and standbys use the Unix socket without a password.
const ACCESS: &str = "local all,replication all trust\nhost all all all scram-sha-256\n";
/// Statements that create the nodes' role. It owns its database and is not a superuser.
const ROLE: &str = "SET password_encryption = 'scram-sha-256'; CREATE ROLE sealjar LOGIN PASSWORD 'sealjar'";
/// Time limit for the server's reactions, long enough for a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A database server with the empty database `sealjar`. Dropping it stops the server and deletes its files.
pub(crate) struct Postgres {
    directory: TempDir,
    address: String,
    port: u16,
    settings: Vec<String>,
    environment: Vec<(&'static str, &'static OsStr)>,
    server: Child,
}

/// Options of a server that differ from the default.
pub(crate) struct ServerOptions<'s> {
    pub(crate) address: &'s str,
    /// Content of `pg_hba.conf`.
    pub(crate) access: &'s str,
    /// Returns the settings. The argument is the server's own directory.
    pub(crate) settings: &'s dyn Fn(&Path) -> Vec<String>,
    pub(crate) environment: &'s dyn Fn(&Path) -> Vec<(&'static str, &'static OsStr)>,
}

impl Default for ServerOptions<'_> {
    fn default() -> Self {
        Self { address: "127.0.0.1", access: ACCESS, settings: &|_| Vec::new(), environment: &|_| Vec::new() }
    }
}

impl Postgres {
    pub(crate) fn start() -> Self {
        Self::start_with_options(&ServerOptions::default())
    }

    pub(crate) fn start_with_options(options: &ServerOptions<'_>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        if geteuid().is_root() {
            run_checked(Command::new("chown").arg("postgres:").arg(directory.path()));
        }
        let data = directory.path().join("data");
        let mut initdb = unprivileged(&program("initdb"));
        // `--no-sync`: data from before the server's start does not have to survive a crash of the machine.
        initdb.args(["--no-sync", "--auth=trust", "--username=postgres", "--locale=C.UTF-8", "--pgdata"]).arg(&data);
        run_checked(&mut initdb);
        fs::write(data.join("pg_hba.conf"), options.access).expect("writes");
        let mut postgres = Self {
            address: options.address.to_owned(),
            port: free_port(),
            settings: (options.settings)(directory.path()),
            environment: (options.environment)(directory.path()),
            // Placeholder until `restart`.
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

    /// Returns the value for the setting `store`.
    pub(crate) fn url(&self, database: &str, query: &str) -> String {
        format!("postgres://sealjar:sealjar@{}:{}/{database}?{query}", self.address, self.port)
    }

    /// Returns the setting `store=…` for the database `sealjar`, without TLS.
    pub(crate) fn store(&self) -> String {
        format!("store={}", self.url("sealjar", "sslmode=disable"))
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements on the database `sealjar` with `psql`, and returns their result.
    pub(crate) fn sql(&self, statements: &str) -> String {
        self.sql_in("sealjar", statements)
    }

    pub(crate) fn sql_in(&self, database: &str, statements: &str) -> String {
        text(&run_checked(self.psql(database).args(["-c", statements])).stdout).trim().to_owned()
    }

    /// Opens a connection that stays open, for transactions over several calls.
    pub(crate) fn connection(&self) -> Connection {
        let mut psql = self.psql("sealjar");
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("psql runs");
        let input = psql.stdin.take().expect("piped");
        let output = psql.stdout.take().expect("piped");
        Connection { psql, input, output: BufReader::new(output) }
    }

    /// Returns a backup of the database `sealjar`, as statements that replace the contents of the database.
    pub(crate) fn dump(&self) -> String {
        let mut dump = Command::new(program("pg_dump"));
        dump.args(["--clean", "--if-exists", "-U", "postgres", "-d", "sealjar", "-h"]).arg(self.directory.path());
        text(&run_checked(dump.arg("-p").arg(self.port.to_string())).stdout)
    }

    /// Restores a backup in one transaction.
    pub(crate) fn restore(&self, dump: &str) {
        let file = self.path("dump");
        fs::write(&file, dump).expect("writes");
        run_checked(self.psql("sealjar").args(["--single-transaction", "-f"]).arg(file));
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-h"]);
        psql.arg(self.directory.path()).arg("-p").arg(self.port.to_string());
        psql
    }

    /// Sends SIGKILL to all processes of the server.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.server.wait().expect("the server ends");
    }

    /// Starts the server, and waits until it accepts connections.
    pub(crate) fn restart(&mut self) {
        self.server = self.spawn();
        // Shared memory or processes of a killed server may prevent the start for a short time.
        let deadline = Instant::now() + TIMEOUT;
        while !self.psql("postgres").args(["-c", ""]).output().expect("psql runs").status.success() {
            assert!(Instant::now() < deadline, "PostgreSQL does not start: {}", self.log());
            if self.server.try_wait().expect("the server was started").is_some() {
                self.server = self.spawn();
            }
        }
    }

    fn spawn(&self) -> Child {
        let directory = self.directory.path();
        let log = fs::File::options().create(true).append(true).open(directory.join("log")).expect("opens");
        // `env` sets the variables, because they must not apply to the program that changes the user.
        let mut server = unprivileged(Path::new("env"));
        for (name, value) in &self.environment {
            let mut assignment = OsString::from(format!("{name}="));
            assignment.push(value);
            server.arg(assignment);
        }
        server.arg(program("postgres")).arg("-D").arg(directory.join("data")).arg("-k").arg(directory);
        server.args(["-h", &self.address, "-p", &self.port.to_string()]);
        server.args(self.settings.iter().flat_map(|setting| ["-c", setting]));
        server.stdout(Stdio::null()).stderr(log).spawn().expect("PostgreSQL starts")
    }

    /// Suspends all processes of the server.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let main = pid(&self.server);
        // The main process is suspended first, so that it does not start other processes meanwhile.
        let _ = kill_process(main, Signal::STOP);
        for process in children(main) {
            let _ = kill_process(process, signal);
        }
        let _ = kill_process(main, signal);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the server's log.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Ok(None) = self.server.try_wait() {
            self.resume();
            // SIGQUIT stops the server at once. SIGKILL would not remove its shared memory.
            let _ = kill_process(pid(&self.server), Signal::QUIT);
            let _ = self.server.wait();
        }
        remove_faketime_shared_memory(self.server.id());
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log:\n{}", self.log());
        }
    }
}

/// An open connection of `psql`.
pub(crate) struct Connection {
    psql: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Connection {
    /// Runs statements, and returns the lines of their results.
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
