//! A prepared home (keys, database, accounts) and a running server, both through the binary itself.

#[path = "../routes/answer.rs"]
mod answer;

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

pub(crate) use answer::{Answer, Session};

pub(crate) const PASSWORD: &str = "correct horse battery";
/// Long enough for a loaded machine; a test that gets what it waits for never waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Looks again and again until it holds; a failure, not an endless test, if it never does.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let started = tokio::time::Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "never came about: {what}");
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

    /// Settings for every command run here, such as `session.idle=10s`. Hashing is as cheap as the server allows, and nothing limits
    /// how often a test signs in.
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
        home.ok(&["keys", "init"]);
        home.add_user("alice");
        home
    }

    /// Uses another store from now on.
    #[allow(dead_code, reason = "the binary `cluster` includes this file, too")]
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

    /// The home's settings come before the flags among the arguments. A later flag of a setting takes the place of an earlier
    /// one, because the command refuses two that differ.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let flags = arguments.iter().position(|argument| argument.starts_with("--")).unwrap_or(arguments.len());
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealjar"));
        command.current_dir(self.directory.path()).args(&arguments[..flags]);
        // Variables that are settings, or look like some.
        command.env_remove("SEALJAR_CONFIG").env_remove("SEALJAR_SOAK").env_remove("SEALJAR_POSTGRES");
        let own = self.settings.iter().flat_map(|setting| ["--set", setting]);
        command.args(without_replaced(&own.chain(arguments[flags..].iter().copied()).collect::<Vec<_>>()));
        command
    }

    pub(crate) fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("the binary runs");
        // A command that reads no input may be gone already.
        let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
        child.wait_with_output().expect("the command ends")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Runs a command that must succeed; returns its standard output.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn keys(&self) -> Vec<Value> {
        let listed: Value = serde_json::from_str(&self.ok(&["keys", "list", "--json"])).expect("JSON");
        listed.as_array().expect("a list").clone()
    }

    pub(crate) fn start(&self) -> Server<'_> {
        self.start_with(&[], &[])
    }

    /// Starts a server with these arguments and variables besides the home's own.
    pub(crate) fn start_with(&self, arguments: &[&str], environment: &[(&str, &OsStr)]) -> Server<'_> {
        let mut command = self.serve(arguments);
        command.envs(environment.iter().copied());
        Server::run(command)
    }

    /// Starts a server whose open files are limited by this option of `ulimit`, such as `-n 1000`.
    pub(crate) fn start_with_ulimit(&self, option: &str) -> Server<'_> {
        let limited = |serve: &Command| {
            let mut command = Command::new("sh");
            command.args(["-c", &format!("ulimit {option} && exec \"$0\" \"$@\"")]).arg(serve.get_program());
            command.args(serve.get_args()).current_dir(self.directory.path());
            command
        };
        self.start_by(limited, &[])
    }

    /// Starts a server by another command that becomes it.
    pub(crate) fn start_by(&self, by: impl FnOnce(&Command) -> Command, arguments: &[&str]) -> Server<'_> {
        Server::run(by(&self.serve(arguments)))
    }

    /// On any free ports and with all of our log, unless the arguments say otherwise.
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

    /// The library to load so that the disk can be made to fail, built once per run.
    pub(crate) fn disk_faults() -> &'static Path {
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

    /// Starts a server whose disk fails as [`Home::set_disk`] says.
    pub(crate) fn start_on_faulty_disk(&self) -> Server<'_> {
        let fault = self.path("disk-fault");
        let library = Self::disk_faults();
        self.start_with(&[], &[("LD_PRELOAD", library.as_os_str()), ("DISK_FAULT", fault.as_os_str())])
    }

    /// `fail`, `full`, `hang` or `works`; the file changes at once as a whole.
    pub(crate) fn set_disk(&self, fault: &str) {
        let new = self.path("disk-fault.new");
        std::fs::write(&new, fault).expect("writes");
        std::fs::rename(new, self.path("disk-fault")).expect("renames");
    }
}

/// The arguments without each flag of a setting that a later one sets.
fn without_replaced<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    const FLAGS: [(&str, &str); 4] = [
        ("--listen", "http.listen"),
        ("--admin-listen", "http.admin_listen"),
        ("--store", "store"),
        ("--keys", "keys.dir"),
    ];
    // Each argument with its value, and the setting that both set.
    let mut words: Vec<(Option<&str>, &[&str])> = Vec::new();
    let mut at = 0;
    while at < arguments.len() {
        let rest = &arguments[at..];
        let setting = match rest {
            ["--set", value, ..] => value.split_once('=').map(|(setting, _)| setting),
            [flag, _, ..] => FLAGS.iter().find(|(own, _)| own == flag).map(|(_, setting)| *setting),
            _ => None,
        };
        let length = 1 + usize::from(setting.is_some());
        words.push((setting, &rest[..length]));
        at += length;
    }
    let is_replaced = |at: usize| {
        let (setting, _) = words[at];
        setting.is_some() && words[at + 1..].iter().any(|(later, _)| *later == setting)
    };
    (0..words.len()).filter(|at| !is_replaced(*at)).flat_map(|at| words[at].1.iter().copied()).collect()
}

/// A running server; killed when dropped.
pub(crate) struct Server<'h> {
    _home: PhantomData<&'h Home>,
    child: Child,
    log: Receiver<Value>,
    reading: Arc<LogGate>,
    /// Lines that it logged until it listened.
    pub(crate) at_start: Vec<Value>,
    pub(crate) public: String,
    pub(crate) admin: String,
}

impl Server<'_> {
    /// Runs a command that becomes a server, and waits until it listens.
    pub(crate) fn run(mut command: Command) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary runs");
        let (log, reading) = follow(child.stderr.take().expect("piped"));
        let mut server = Self {
            _home: PhantomData,
            child,
            log,
            reading,
            at_start: Vec::new(),
            public: String::new(),
            admin: String::new(),
        };
        server.at_start = server.lines_until("listening");
        let line = server.at_start.last().expect("the line that was waited for");
        let address = |name: &str| line[name].as_str().expect("an address").to_owned();
        (server.public, server.admin) = (address("public"), address("admin"));
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.public)
    }

    /// Stops to read the log, after the next line at the latest; or goes on; or closes it.
    pub(crate) fn read_log(&self, reading: Reading) {
        self.reading.set(reading);
    }

    /// Every line of the log up to one whose message contains `text`.
    pub(crate) fn lines_until(&mut self, text: &str) -> Vec<Value> {
        let mut lines: Vec<Value> = Vec::new();
        let is_it = |line: &Value| line["message"].as_str().is_some_and(|message| message.contains(text));
        while !lines.last().is_some_and(is_it) {
            lines.push(self.next_line(text));
        }
        lines
    }

    /// The next line of the log, while one about `what` is waited for.
    fn next_line(&mut self, what: &str) -> Value {
        self.log.recv_timeout(PATIENCE).unwrap_or_else(|error| match error {
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

    /// Waits for the next audit event of this name.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        self.wait_for_line(name, |line| line["target"] == "sealjar::audit" && line["event"] == name)
    }

    /// The subjects of all audit events of this name, to the last line of a server that stops.
    pub(crate) fn events_until_the_end(&mut self, name: &str) -> Vec<String> {
        let mut subjects = Vec::new();
        loop {
            let line = match self.log.recv_timeout(PATIENCE) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return subjects,
                Err(RecvTimeoutError::Timeout) => panic!("the server does not end"),
            };
            if line["target"] == "sealjar::audit" && line["event"] == name {
                subjects.push(line["sub"].as_str().expect("a subject").to_owned());
            }
        }
    }

    /// The next audit event of this name, if it is there already.
    pub(crate) fn event_so_far(&mut self, name: &str) -> Option<Value> {
        self.log.try_iter().find(|line| line["target"] == "sealjar::audit" && line["event"] == name)
    }

    fn wait_for_line(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let started = tokio::time::Instant::now();
        loop {
            let line = self.next_line(what);
            if is_it(&line) {
                return line;
            }
            // Others may come on and on.
            assert!(started.elapsed() < PATIENCE, "no log line with {what:?}");
        }
    }

    /// The messages of all log lines up to one that contains `text`.
    pub(crate) fn messages_until(&mut self, text: &str) -> Vec<String> {
        let mut messages = Vec::new();
        while !messages.last().is_some_and(|last: &String| last.contains(text)) {
            let line = self.next_line(text);
            messages.push(line["message"].as_str().unwrap_or_default().to_owned());
        }
        messages
    }

    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status();
        assert!(sent.expect("sh runs").success());
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Sends a signal again and again until the process ends: two that come at once may count as one.
    pub(crate) fn exit_code_under(&mut self, signal: &str) -> Option<i32> {
        while self.child.try_wait().expect("it runs").is_none() {
            self.signal(signal);
        }
        self.exit_code()
    }

    /// Waits for the process to end by itself.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().expect("it ends").code()
    }

    pub(crate) fn login_body(login: &str, password: &str) -> Value {
        json!({ "login": login, "password": password })
    }

    pub(crate) async fn login(&self, login: &str) -> Session {
        let body = Self::login_body(login, PASSWORD);
        let response = client().post(self.url("/auth/login")).json(&body).send().await.expect("an answer");
        let answer = Answer::of(response).await;
        assert_eq!(answer.verdict(), "200");
        answer.session.expect("a session cookie")
    }

    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Answer {
        Answer::of(client().get(self.url(path)).header("cookie", cookie).send().await.expect("an answer")).await
    }

    pub(crate) async fn post(&self, path: &str, cookie: &str) -> Answer {
        Answer::of(client().post(self.url(path)).header("cookie", cookie).send().await.expect("an answer")).await
    }

    /// The status and body of `/readyz`.
    pub(crate) async fn readiness(&self) -> (u16, Value) {
        let answer = client().get(format!("http://{}/readyz", self.admin)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    /// The value of a metric, given with its labels.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let answer = client().get(format!("http://{}/metrics", self.admin)).send().await.expect("an answer");
        let text = answer.text().await.expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("no metric {name}")).parse().expect("a number")
    }

    /// `200`, or the status and reason of a refusal.
    pub(crate) async fn status(&self, session: &Session) -> String {
        self.get("/auth/status", &session.cookie()).await.verdict()
    }

    pub(crate) async fn logout(&self, session: &Session) -> String {
        self.post("/auth/logout", &session.cookie()).await.verdict()
    }

    /// Asks again and again until the session's verdict is this; the promise is one second, the test's patience is longer so
    /// that a loaded machine does not fail it, and the time taken is returned.
    pub(crate) async fn until_status(&self, session: &Session, verdict: &str) -> Duration {
        let started = tokio::time::Instant::now();
        loop {
            let found = self.status(session).await;
            if found == verdict {
                return started.elapsed();
            }
            assert!(started.elapsed() < PATIENCE, "{found} and not {verdict}");
        }
    }
}

impl Drop for Server<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        remove_traces_of_faketime(self.pid());
    }
}

/// What libfaketime leaves behind in shared memory, if the process had it and was killed.
pub(crate) fn remove_traces_of_faketime(pid: u32) {
    for trace in ["faketime_shm", "sem.faketime_sem"] {
        let _ = std::fs::remove_file(format!("/dev/shm/{trace}_{pid}"));
    }
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Self::new(status, headers, response.text().await.expect("a body"))
    }
}

pub(crate) fn client() -> &'static reqwest::Client {
    thread_local! {
        // One per test: a client's connections belong to the runtime that made them.
        static CLIENT: &'static reqwest::Client = Box::leak(Box::new(
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build().expect("a client"),
        ));
    }
    CLIENT.with(|client| *client)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether somebody reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reading {
    #[default]
    On,
    Stopped,
    Closed,
}

/// What the thread that reads the log asks before each line.
#[derive(Default)]
struct LogGate {
    reading: Mutex<Reading>,
    changed: Condvar,
}

impl LogGate {
    fn set(&self, reading: Reading) {
        *self.reading.lock().expect("no panic") = reading;
        self.changed.notify_one();
    }

    /// Returns `false` if the log is to be closed.
    fn wait(&self) -> bool {
        let stopped = |reading: &mut Reading| *reading == Reading::Stopped;
        let reading = self.changed.wait_while(self.reading.lock().expect("no panic"), stopped);
        *reading.expect("no panic") == Reading::On
    }
}

fn follow(stderr: impl std::io::Read + Send + 'static) -> (Receiver<Value>, Arc<LogGate>) {
    let (sender, receiver) = channel();
    let gate = Arc::new(LogGate::default());
    let reading = gate.clone();
    std::thread::spawn(move || {
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        while gate.wait()
            && let Some(line) = lines.next()
        {
            let line = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "message": line }));
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    (receiver, reading)
}
