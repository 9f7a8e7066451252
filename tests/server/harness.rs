//! A test directory with keys, a database and accounts ([`Home`]), and a running server ([`Server`]).
//!
//! Both run the built binary, as an operator does. `tests/cluster` and `tests/load` also include this file.

#[path = "../routes/response.rs"]
mod response;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use response::{Response, Session};

/// Password of every account that [`Home::add_user`] creates.
pub(crate) const PASSWORD: &str = "correct horse battery";
/// Maximum time that a test waits for anything. It is long enough for a loaded machine; a successful test never takes this long.
pub(crate) const WAIT_TIMEOUT: Duration = Duration::from_secs(120);

/// Polls a condition until it is true. Fails the test if that takes longer than [`WAIT_TIMEOUT`].
pub(crate) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !is_true() {
        assert!(started.elapsed() < WAIT_TIMEOUT, "timed out waiting until {what}");
    }
}

/// A directory with a key ring and a database with the account `alice`.
pub(crate) struct Home {
    directory: TempDir,
    settings: Vec<String>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with_settings(&[])
    }

    /// Creates a home whose commands all run with these settings, such as `session.idle=10s`. Password hashing costs as little as
    /// the server allows, and the number of logins is not limited.
    pub(crate) fn with_settings(settings: &[&str]) -> Self {
        let mut all = vec![
            "password.memory_kib=7168",
            "password.passes=1",
            "password.queue=256",
            "throttle.success_burst=1000000",
        ];
        all.extend_from_slice(settings);
        let settings = all.into_iter().map(str::to_owned).collect();
        let home = Self { directory: tempfile::tempdir().expect("a directory"), settings };
        home.run_ok(&["keys", "init"]);
        home.add_user("alice");
        home
    }

    /// Makes every later command use another store.
    #[allow(dead_code, reason = "only `cluster`, which includes this file, uses this")]
    pub(crate) fn use_store(&mut self, url: &str) {
        self.settings.retain(|setting| !setting.starts_with("store="));
        self.settings.push(format!("store={url}"));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn add_user(&self, login: &str) {
        let output = self.run_with_input(&["users", "add", login, "--role", "staff"], &format!("{PASSWORD}\n"));
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// Returns the command with the home's settings inserted before the flags of `arguments`. If two flags set the same setting,
    /// the earlier one is removed, because the program rejects two different values of a setting.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let flags = arguments.iter().position(|argument| argument.starts_with("--")).unwrap_or(arguments.len());
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealjar"));
        command.current_dir(self.directory.path()).args(&arguments[..flags]);
        // Environment variables that the program would read as settings.
        command.env_remove("SEALJAR_CONFIG").env_remove("SEALJAR_SOAK").env_remove("SEALJAR_POSTGRES");
        let settings = self.settings.iter().flat_map(|setting| ["--set", setting]);
        command.args(without_replaced(&settings.chain(arguments[flags..].iter().copied()).collect::<Vec<_>>()));
        command
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("the binary runs");
        // A command that reads no input may have exited already.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("the command ends")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub(crate) fn run_ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// Returns the output of `sealjar keys list --json`.
    pub(crate) fn keys(&self) -> Vec<Value> {
        let listed: Value = serde_json::from_str(&self.run_ok(&["keys", "list", "--json"])).expect("JSON");
        listed.as_array().expect("a list").clone()
    }

    pub(crate) fn start(&self) -> Server<'_> {
        self.start_with(&[], &[])
    }

    /// Starts a server with these arguments and variables in addition to the home's settings.
    pub(crate) fn start_with(&self, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Server<'_> {
        let mut command = self.serve(arguments);
        command.envs(environment.iter().copied());
        Server::run(command)
    }

    /// Starts a server with a limit of open files, given as options of `ulimit`, such as `-n 1000`.
    pub(crate) fn start_with_ulimit(&self, option: &str) -> Server<'_> {
        let limited = |serve: &Command| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("ulimit {option} && exec \"$0\" \"$@\"")]).arg(serve.get_program());
            command.args(serve.get_args()).current_dir(self.directory.path());
            command
        };
        self.start_through(limited, &[])
    }

    /// Starts a server through another command, which `wrap` creates from the server's command. That command must execute the
    /// server in its own process, so that the process id is the server's.
    pub(crate) fn start_through(&self, wrap: impl FnOnce(&Command) -> Command, arguments: &[&str]) -> Server<'_> {
        Server::run(wrap(&self.serve(arguments)))
    }

    /// Returns the command of a server that listens on free ports, and whose own events are logged at the level `debug`, except
    /// the access log. `arguments` can override the ports and the level.
    fn serve(&self, arguments: &[&str]) -> Command {
        let mut all = vec!["serve"];
        for listen in ["--listen", "--admin-listen"] {
            if !arguments.contains(&listen) {
                all.extend([listen, "127.0.0.1:0"]);
            }
        }
        all.extend(["--set", "log.format=json", "--set", "log.level=sealjar=debug,sealjar::access=off"]);
        self.command(&[&all, arguments].concat())
    }

    /// Returns the library that makes the disk fail when it is preloaded. It is compiled once per test run.
    pub(crate) fn disk_fault_library() -> &'static Path {
        static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
        let (_, library) = LIBRARY.get_or_init(|| {
            let directory = tempfile::tempdir().expect("a directory");
            let library = directory.path().join("disk.so");
            let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/disk.c");
            let mut compiler = Command::new("cc");
            compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
            assert!(compiler.status().expect("a C compiler, which Rust needs too").success());
            (directory, library)
        });
        library
    }

    /// Starts a server whose disk behaves as [`Home::set_disk`] selects.
    pub(crate) fn start_on_faulty_disk(&self) -> Server<'_> {
        let fault = self.path("disk-fault");
        let library = Self::disk_fault_library();
        self.start_with(&[], &[("LD_PRELOAD", library.as_os_str()), ("DISK_FAULT", fault.as_os_str())])
    }

    /// Selects how the disk behaves: `fail`, `full`, `hang` or `works`. The file that selects it is replaced atomically.
    pub(crate) fn set_disk(&self, fault: &str) {
        let new = self.path("disk-fault.new");
        std::fs::write(&new, fault).expect("writes");
        std::fs::rename(new, self.path("disk-fault")).expect("renames");
    }
}

/// Returns the arguments without the flags whose setting a later flag sets again.
fn without_replaced<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    const FLAGS: [(&str, &str); 4] = [
        ("--listen", "http.listen"),
        ("--admin-listen", "http.admin_listen"),
        ("--store", "store"),
        ("--keys", "keys.dir"),
    ];
    // Each argument with its value, and the setting that it sets.
    let mut groups: Vec<(Option<&str>, &[&str])> = Vec::new();
    let mut index = 0;
    while index < arguments.len() {
        let rest = &arguments[index..];
        let setting = match rest {
            ["--set", value, ..] => value.split_once('=').map(|(setting, _)| setting),
            [flag, _, ..] => FLAGS.iter().find(|(name, _)| name == flag).map(|(_, setting)| *setting),
            _ => None,
        };
        let length = 1 + usize::from(setting.is_some());
        groups.push((setting, &rest[..length]));
        index += length;
    }
    let is_replaced = |index: usize| {
        let (setting, _) = groups[index];
        setting.is_some() && groups[index + 1..].iter().any(|(later, _)| *later == setting)
    };
    (0..groups.len()).filter(|index| !is_replaced(*index)).flat_map(|index| groups[index].1.iter().copied()).collect()
}

/// A running server. It is killed when this value is dropped.
pub(crate) struct Server<'h> {
    _home: PhantomData<&'h Home>,
    child: Child,
    log: Receiver<Value>,
    log_gate: Arc<LogGate>,
    /// Log lines up to and including the line that reports the listeners.
    pub(crate) startup_log: Vec<Value>,
    /// Address of the public listener.
    pub(crate) public: String,
    /// Address of the admin listener.
    pub(crate) admin: String,
}

impl Server<'_> {
    /// Runs a command that starts a server in the same process, and waits until the server listens.
    pub(crate) fn run(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let (log, log_gate) = read_log_lines(child.stderr.take().expect("piped"));
        let mut server = Self {
            _home: PhantomData,
            child,
            log,
            log_gate,
            startup_log: Vec::new(),
            public: String::new(),
            admin: String::new(),
        };
        server.startup_log = server.lines_until("listening");
        let line = server.startup_log.last().expect("the line that was waited for");
        let address = |name: &str| line[name].as_str().expect("an address").to_owned();
        let public = address("public");
        let admin = address("admin");
        server.public = public;
        server.admin = admin;
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    /// Pauses, resumes or ends the reading of the log. At most one more line is read before the change takes effect.
    pub(crate) fn set_log_reader(&self, state: LogReader) {
        self.log_gate.set(state);
    }

    /// Returns every log line up to and including the first whose message contains `text`.
    pub(crate) fn lines_until(&mut self, text: &str) -> Vec<Value> {
        let mut lines: Vec<Value> = Vec::new();
        let matches = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(text));
        while !lines.last().is_some_and(matches) {
            lines.push(self.next_line(text));
        }
        lines
    }

    /// Returns the next log line. `what` is the text that the test waits for, and is used in the panic message.
    fn next_line(&mut self, what: &str) -> Value {
        self.log.recv_timeout(WAIT_TIMEOUT).unwrap_or_else(|error| match error {
            RecvTimeoutError::Timeout => panic!("no log line with {what:?}"),
            RecvTimeoutError::Disconnected => {
                panic!("the server ended before it logged {what:?}: {:?}", self.child.wait())
            }
        })
    }

    /// Waits for a log line whose message contains `text`.
    pub(crate) fn wait_for(&mut self, text: &str) -> Value {
        self.wait_for_line(text, |line| line["message"].as_str().is_some_and(|message| message.contains(text)))
    }

    /// Waits for the next audit event of this name, and returns its log line.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.wait_for_line(name, |line| line["target"] == "sealjar::audit" && line["event"] == name)
    }

    /// Returns the subjects of all audit events of this name up to the last log line of a server that is stopping.
    pub(crate) fn events_until_exit(&mut self, name: &str) -> Vec<String> {
        let mut subjects = Vec::new();
        loop {
            let line = match self.log.recv_timeout(WAIT_TIMEOUT) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return subjects,
                Err(RecvTimeoutError::Timeout) => panic!("the server does not exit"),
            };
            if line["target"] == "sealjar::audit" && line["event"] == name {
                subjects.push(line["sub"].as_str().expect("a subject").to_owned());
            }
        }
    }

    /// Returns the next audit event of this name if it was logged already. Does not wait.
    pub(crate) fn try_event(&mut self, name: &str) -> Option<Value> {
        self.log.try_iter().find(|line| line["target"] == "sealjar::audit" && line["event"] == name)
    }

    fn wait_for_line(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let started = tokio::time::Instant::now();
        loop {
            let line = self.next_line(what);
            if matches(&line) {
                return line;
            }
            // If other lines keep arriving, `next_line` never times out.
            assert!(started.elapsed() < WAIT_TIMEOUT, "no log line with {what:?}");
        }
    }

    /// Returns the messages of all log lines up to and including the first that contains `text`.
    pub(crate) fn messages_until(&mut self, text: &str) -> Vec<String> {
        let mut messages = Vec::new();
        while !messages.last().is_some_and(|last: &String| last.contains(text)) {
            let line = self.next_line(text);
            messages.push(line["message"].as_str().unwrap_or_default().to_owned());
        }
        messages
    }

    pub(crate) fn signal(&self, name: &str) {
        let exit_status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status();
        assert!(exit_status.expect("sh runs").success());
    }

    /// Kills the process with SIGKILL, and waits until it has exited.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process runs");
        self.child.wait().expect("the process exits");
    }

    /// Sends a signal repeatedly until the process exits, and returns the exit code. It is sent repeatedly because the kernel may
    /// merge two pending signals into one.
    pub(crate) fn exit_code_after_signals(&mut self, signal: &str) -> Option<i32> {
        while self.child.try_wait().expect("the process runs").is_none() {
            self.signal(signal);
        }
        self.exit_code()
    }

    /// Waits until the process exits, and returns its exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("the process exits").code()
    }

    pub(crate) fn login_body(login: &str, password: &str) -> Value {
        json!({ "login": login, "password": password })
    }

    pub(crate) async fn login(&self, login: &str) -> Session {
        let body = Self::login_body(login, PASSWORD);
        let response = client().post(self.url("/auth/login")).json(&body).send().await.expect("a response");
        let response = Response::of(response).await;
        assert_eq!(response.verdict(), "200");
        response.session.expect("a session cookie")
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Response {
        Response::of(client().get(self.url(path)).header("cookie", cookie).send().await.expect("a response")).await
    }

    pub(crate) async fn post(&self, path: &str, cookie: &str) -> Response {
        Response::of(client().post(self.url(path)).header("cookie", cookie).send().await.expect("a response")).await
    }

    /// Returns the status and body of `/readyz`.
    pub(crate) async fn readiness(&self) -> (u16, Value) {
        let response = client().get(format!("http://{}/readyz", self.admin)).send().await.expect("a response");
        (response.status().as_u16(), response.json().await.expect("JSON"))
    }

    /// Returns the value of a metric. `name` includes the labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let response = client().get(format!("http://{}/metrics", self.admin)).send().await.expect("a response");
        let text = response.text().await.expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name}")).parse().expect("a number")
    }

    /// Returns `200` for a valid session, or the status and reason of the refusal.
    pub(crate) async fn status(&self, session: &Session) -> String {
        self.get("/auth/status", &session.cookie()).await.verdict()
    }

    pub(crate) async fn logout(&self, session: &Session) -> String {
        self.post("/auth/logout", &session.cookie()).await.verdict()
    }

    /// Polls the status of the session until it is `verdict`, and returns the elapsed time. The documentation promises one
    /// second; the test allows [`WAIT_TIMEOUT`], so that it does not fail on a loaded machine.
    pub(crate) async fn until_status(&self, session: &Session, verdict: &str) -> Duration {
        let started = tokio::time::Instant::now();
        loop {
            let current = self.status(session).await;
            if current == verdict {
                return started.elapsed();
            }
            assert!(started.elapsed() < WAIT_TIMEOUT, "the status is {current}, not {verdict}");
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove_faketime_shared_memory(self.pid());
    }
}

/// Removes the shared memory that libfaketime does not free if its process is killed.
pub(crate) fn remove_faketime_shared_memory(pid: u32) {
    for prefix in ["faketime_shm", "sem.faketime_sem"] {
        let _ = std::fs::remove_file(format!("/dev/shm/{prefix}_{pid}"));
    }
}

impl Response {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Self::new(status, headers, response.text().await.expect("a body"))
    }
}

/// Returns the HTTP client of the test. It does not follow redirects.
pub(crate) fn client() -> &'static reqwest::Client {
    thread_local! {
        // One client per test: its connections belong to the Tokio runtime that created them.
        static CLIENT: &'static reqwest::Client = Box::leak(Box::new(
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(WAIT_TIMEOUT).build().expect("a client"),
        ));
    }
    CLIENT.with(|client| *client)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// State of the thread that reads the server's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogReader {
    /// The thread reads every line.
    #[default]
    Active,
    /// The thread reads nothing, so the pipe fills up.
    Paused,
    /// The thread has closed the pipe.
    Closed,
}

/// Gate at which the thread that reads the log waits before each line while it is paused.
#[derive(Default)]
struct LogGate {
    state: Mutex<LogReader>,
    changed: Condvar,
}

impl LogGate {
    fn set(&self, state: LogReader) {
        *self.state.lock().expect("no panic") = state;
        self.changed.notify_one();
    }

    /// Waits while the reader is paused. Returns `false` if the log is to be closed.
    fn wait(&self) -> bool {
        let is_paused = |state: &mut LogReader| *state == LogReader::Paused;
        let state = self.changed.wait_while(self.state.lock().expect("no panic"), is_paused);
        *state.expect("no panic") == LogReader::Active
    }
}

/// Reads the log in a thread, as JSON lines. A line that is not JSON becomes a message.
fn read_log_lines(stderr: impl std::io::Read + Send + 'static) -> (Receiver<Value>, Arc<LogGate>) {
    let (sender, receiver) = channel();
    let gate = Arc::new(LogGate::default());
    let gate_of_thread = gate.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        while gate_of_thread.wait()
            && let Some(line) = lines.next()
        {
            let line = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "message": line }));
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (receiver, gate)
}
