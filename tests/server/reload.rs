//! Reloads of the configuration while the server runs.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::harness::{Home, Response, Server, Session, client, text};

/// Flags that name the configuration file.
const FILE: [&str; 2] = ["--config", "sealjar.toml"];

fn write(home: &Home, text: &str) {
    std::fs::write(home.path("sealjar.toml"), text).expect("writes");
}

/// Returns the verdict for a request to this host.
async fn verdict_at(server: &Server<'_>, host: &str) -> String {
    let request = client().get(server.url("/auth/status")).header("host", host);
    Response::of(request.send().await.expect("a response")).await.verdict()
}

/// Returns the value of a metric.
async fn metric(server: &Server<'_>, name: &str) -> f64 {
    let response = client().get(format!("http://{}/metrics", server.admin)).send().await.expect("a response");
    let text = response.text().await.expect("a body");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).expect("the metric exists");
    line.parse().expect("a number")
}

#[tokio::test]
async fn a_changed_file_takes_effect_and_its_settings_are_logged() {
    let home = Home::new();
    write(&home, "[http]\npublic_origins = [\"https://a.example\"]\n");
    let mut server = home.start_with(&FILE, &[]);
    assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
    assert_eq!(verdict_at(&server, "b.example").await, "421 misdirected");
    let at_start = metric(&server, "sealjar_config_last_reload_success_timestamp_seconds").await;

    write(
        &home,
        "[http]\npublic_origins = [\"https://b.example\"]\nmax_body_bytes = 2048\ntrusted_proxies = [\"127.0.0.1\"]\n\
         [throttle]\nnetwork_burst = 1\n",
    );
    let changed = server.wait_for("the configuration changed");
    assert_eq!(
        changed["settings"],
        "http.max_body_bytes http.public_origins http.trusted_proxies throttle.network_burst"
    );
    assert_eq!(verdict_at(&server, "a.example").await, "421 misdirected");
    assert_eq!(verdict_at(&server, "b.example").await, "401 missing");
    let attempt = |password: String| {
        let body = Server::login_body("alice", &password);
        let fields = [("host", "b.example"), ("x-forwarded-for", "203.0.113.9")];
        let post = client().post(server.url("/auth/login")).json(&body);
        let post = fields.into_iter().fold(post, |post, (name, value)| post.header(name, value));
        async move { Response::of(post.send().await.expect("a response")).await.verdict() }
    };
    assert_eq!(attempt("x".repeat(4096)).await, "413 too-large");
    assert_eq!(attempt("wrong password".to_owned()).await, "401 credentials");
    assert_eq!(attempt("wrong password".to_owned()).await, "429 throttled");
    assert_eq!(server.event("sign-in-failed")["client"], "203.0.113.0/24");
    assert!(metric(&server, "sealjar_config_last_reload_success_timestamp_seconds").await >= at_start);
}

#[tokio::test]
async fn the_pages_change_their_title_and_home_but_not_their_logo() {
    let home = Home::new();
    let pages = |more: &str| {
        let origins = "[http]\npublic_origins = [\"https://a.example\"]\n";
        write(&home, &format!("{origins}[pages]\n{more}"));
    };
    std::fs::write(home.path("logo.svg"), "<svg/>").expect("writes");
    pages("title = \"Before\"\nhome = \"/before\"\n");
    let mut server = home.start_with(&FILE, &[]);
    let url = server.url("/auth/login");
    let page = async || {
        let request = client().get(&url).header("host", "a.example").header("accept", "text/html");
        request.send().await.expect("a response").text().await.expect("a page")
    };
    let html = page().await;
    assert!(html.contains("<title>Sign in · Before</title>") && html.contains("name=\"rd\" value=\"/before\""));
    let logo = home.path("logo.svg");
    pages(&format!("title = \"After\"\nhome = \"/after\"\nlogo = {:?}\n", logo.display().to_string()));
    assert_eq!(server.wait_for("the configuration changed")["settings"], "pages.home pages.title");
    assert_eq!(server.wait_for("it takes effect at the next start")["setting"], "pages.logo");
    let html = page().await;
    assert!(html.contains("<title>Sign in · After</title>") && html.contains("name=\"rd\" value=\"/after\""));
    assert!(!html.contains("<img"));
}

#[tokio::test]
async fn an_invalid_file_keeps_the_old_settings_and_logs_the_reason() {
    let home = Home::new();
    let good = "[http]\npublic_origins = [\"https://a.example\"]\n";
    write(&home, good);
    let mut server = home.start_with(&FILE, &[]);
    for (bad, reason) in [
        ("[http]\npublic_origins = [\"https://b.example\"", "line 2: "),
        ("[http]\npublic_origins = [\"https://b.example\"]\nlisen = \"x\"\n", "unknown setting http.lisen"),
        ("[http]\npublic_origins = [\"http://b.example\"]\n", "http.public_origins (file sealjar.toml)"),
        ("[http]\npublic_origins = [\"https://b.example\"]\n[throttle]\nnetwork_interval = \"0s\"\n", "at least 1s"),
        ("[http]\ntrusted_proxies = [\"nowhere\"]\n", "http.trusted_proxies (file sealjar.toml)"),
    ] {
        write(&home, bad);
        let line = server.wait_for("the configuration cannot be used; the old one stays in force");
        assert_eq!(line["level"], "ERROR");
        let error = line["error"].as_str().expect("a reason");
        assert!(error.contains(reason) && !error.contains('\n'), "{error}");
        assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
        assert_eq!(verdict_at(&server, "b.example").await, "421 misdirected");
        assert_eq!(metric(&server, "sealjar_config_last_reload_successful").await, 0.0);
        write(&home, good);
        server.wait_for("the configuration can be used again");
        assert_eq!(metric(&server, "sealjar_config_last_reload_successful").await, 1.0);
    }
    std::fs::remove_file(home.path("sealjar.toml")).expect("removes");
    let line = server.wait_for("the configuration cannot be used");
    assert!(line["error"].as_str().is_some_and(|error| error.contains("No such file")), "{line}");
    assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
    write(&home, "[http]\npublic_origins = [\"https://b.example\"]\n");
    server.wait_for("the configuration changed");
    assert_eq!(verdict_at(&server, "b.example").await, "401 missing");
}

/// Replaces the configuration file atomically with the file that `make` creates.
fn replace_config(home: &Home, make: impl FnOnce(&Path)) {
    let new = home.path("new");
    make(&new);
    std::fs::rename(new, home.path("sealjar.toml")).expect("renames");
}

fn fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
}

#[tokio::test]
async fn a_pipe_device_or_endless_file_does_not_block_reloads() {
    let home = Home::new();
    write(&home, "");
    let mut server = home.start_with(&FILE, &[]);
    let link = |to: &'static str| move |path: &Path| std::os::unix::fs::symlink(to, path).expect("links");
    let sparse = |path: &Path| std::fs::File::create(path).and_then(|file| file.set_len(1 << 40)).expect("writes");
    let cases = [
        (&fifo as &dyn Fn(&Path), "sealjar.toml: it is not a regular file"),
        (&link("/dev/zero"), "sealjar.toml: it is not a regular file"),
        (&link("keys"), "sealjar.toml: it is not a regular file"),
        (&sparse, "sealjar.toml: it is longer than 1048576 bytes"),
    ];
    for (number, (make, reason)) in cases.into_iter().enumerate() {
        replace_config(&home, make);
        let line = server.wait_for("the configuration cannot be used; the old one stays in force");
        assert!(line["error"].as_str().is_some_and(|error| error.contains(reason)), "{line}");
        // Keys are still reloaded, and so is the configuration when it is a regular file again.
        home.run_ok(&["keys", "rotate"]);
        server.wait_for("the key ring changed");
        let repaired = format!("[http]\nbody_timeout = \"{}s\"\n", 40 + number);
        replace_config(&home, |path| std::fs::write(path, repaired).expect("writes"));
        assert_eq!(server.wait_for("the configuration changed")["settings"], "http.body_timeout");
    }
}

#[tokio::test]
async fn a_configuration_from_a_pipe_is_read_once() {
    let home = Home::new();
    fifo(&home.path("pipe"));
    let path = home.path("pipe");
    let writer = std::thread::spawn(move || {
        std::fs::write(path, "[http]\npublic_origins = [\"https://a.example\"]\n").expect("the server reads the pipe");
    });
    let mut server = home.start_with(&["--config", "pipe"], &[]);
    writer.join().expect("the thread finishes");
    server.wait_for("the configuration came through a pipe and is not read again");
    assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
    assert_eq!(verdict_at(&server, "b.example").await, "421 misdirected");
    server.signal("HUP");
    server.wait_for("SIGHUP: reading keys and certificate again");
    home.run_ok(&["keys", "rotate"]);
    let messages = server.messages_until("the key ring changed");
    assert!(!messages.iter().any(|message| message.contains("configuration")), "{messages:?}");
    assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
}

#[test]
fn a_configuration_from_standard_input_is_read_up_to_a_limit() {
    let home = Home::new();
    let arguments = ["config", "--config", "/dev/stdin"];
    let comments = |length: usize| format!("[http]\nbody_timeout = \"7s\"\n{}", "#".repeat(length));
    let listed = home.run_with_input(&arguments, &comments(1_000_000));
    assert!(text(&listed.stdout).contains("http.body_timeout = \"7s\"  # file /dev/stdin"), "{}", text(&listed.stderr));
    let refused = home.run_with_input(&arguments, &comments(1 << 20));
    assert_eq!(refused.status.code(), Some(78));
    assert!(text(&refused.stderr).contains("/dev/stdin: it is longer than 1048576 bytes"), "{}", text(&refused.stderr));
}

#[test]
fn a_pipe_that_never_ends_does_not_block_startup() {
    let home = Home::new();
    fifo(&home.path("pipe"));
    // Nothing is ever written to the first pipe. The second gets one line, and is not closed.
    let unwritten = home.command(&["config", "--config", "pipe"]).output().expect("the process exits");
    let mut unfinished = home.command(&["serve", "--config", "/dev/stdin"]);
    let pipes = unfinished.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the binary runs");
    let mut input = child.stdin.take().expect("piped");
    input.write_all(b"[http]\n").expect("the process reads its input");
    let unfinished = child.wait_with_output().expect("the process exits");
    drop(input);
    for output in [unwritten, unfinished] {
        assert_eq!(output.status.code(), Some(78));
        assert!(text(&output.stderr).contains("the pipe did not end within 5 s"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_sighup_during_startup_is_handled_after_it() {
    // Waits until the parent process has opened the database, and then sends SIGHUP to it.
    const HANG_UP: &str = "while [ -e /proc/$$ ] && ! ls -l /proc/$$/fd | grep -q sealjar.db; do :; done; kill -HUP $$";
    let home = Home::new();
    let with_early_hangup = |serve: &Command| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("({HANG_UP}) & exec \"$0\" \"$@\"")]).arg(serve.get_program());
        command.args(serve.get_args()).current_dir(home.path(""));
        command
    };
    // Only root could read /proc/PID/fd of a process that is not dumpable.
    home.start_through(with_early_hangup, &["--set", "process.dumpable=true"]).wait_for("SIGHUP: reading");
}

#[tokio::test]
async fn a_sighup_reloads_at_once_and_repeats_the_error() {
    let home = Home::new();
    write(&home, "");
    let mut server = home.start_with(&FILE, &[]);
    write(&home, "[http\n");
    server.wait_for("the configuration cannot be used");
    server.signal("HUP");
    server.wait_for("reading keys, certificate and configuration again");
    server.wait_for("the configuration cannot be used");
    write(&home, "[http]\nbody_timeout = \"5s\"\n");
    server.signal("HUP");
    assert_eq!(server.wait_for("the configuration changed")["settings"], "http.body_timeout");
}

#[tokio::test]
async fn flags_still_take_precedence_and_an_error_is_logged_once() {
    let home = Home::new();
    write(&home, "");
    let flags = [&FILE[..], &["--public-origin", "https://a.example"]].concat();
    let mut server = home.start_with(&flags, &[("SEALJAR_THROTTLE__NETWORK_BURST", "50".as_ref())]);
    write(
        &home,
        "[http]\npublic_origins = [\"https://b.example\"]\nshutdown_delay = \"1s\"\n[throttle]\nnetwork_burst = 1\n",
    );
    assert_eq!(server.wait_for("the configuration changed")["settings"], "http.shutdown_delay");
    assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
    write(&home, "[nowhere]\nx = 1\n");
    server.wait_for("the configuration cannot be used");
    write(&home, "[http]\nshutdown_delay = \"2s\"\n");
    let messages = server.messages_until("the configuration changed");
    assert!(!messages.iter().any(|message| message.contains("cannot be used")), "{messages:?}");
}

#[tokio::test]
async fn settings_that_need_a_restart_are_logged_once() {
    let home = Home::new();
    write(&home, "");
    let mut server = home.start_with(&FILE, &[]);
    let session = server.login("alice").await;
    write(&home, "[session]\nidle = \"20s\"\n[http]\nidle_timeout = \"9s\"\nbody_timeout = \"9s\"\n");
    let messages = server.messages_until("session.idle changed; it takes effect at the next start");
    let count_of = |messages: &[String], setting: &str| {
        messages.iter().filter(|message| message.starts_with(&format!("{setting} changed"))).count()
    };
    assert_eq!(count_of(&messages, "http.idle_timeout"), 1, "{messages:?}");
    assert!(messages.iter().any(|message| message == "the configuration changed"), "{messages:?}");
    write(&home, "[session]\nidle = \"20s\"\n[http]\nidle_timeout = \"9s\"\nbody_timeout = \"8s\"\n");
    let messages = server.messages_until("the configuration changed");
    assert_eq!(count_of(&messages, "session.idle") + count_of(&messages, "http.idle_timeout"), 0, "{messages:?}");
    let view = server.get("/auth/status", &session.cookie()).await.json();
    let seconds = |name: &str| view[name].as_u64().expect("an instant");
    assert_eq!(seconds("idle_deadline") - seconds("authenticated_at"), 30 * 60, "as at the start");
}

#[cfg(unix)]
#[test]
fn an_unused_password_file_is_not_logged_at_each_reload() {
    let home = Home::new();
    write(&home, "");
    let passwords = home.path("pgpass");
    std::fs::write(&passwords, "*:*:*:*:secret").expect("writes");
    std::fs::set_permissions(&passwords, std::fs::Permissions::from_mode(0o440)).expect("changes");
    let mut server = home.start_with(&FILE, &[("PGPASSFILE", passwords.as_os_str())]);
    let store = "store = \"postgres://alice@127.0.0.1:1/sealjar\"\n";
    write(&home, store);
    let mut messages = server.messages_until("store changed; it takes effect at the next start");
    write(&home, &format!("{store}[http]\nshutdown_delay = \"2s\"\n"));
    messages.extend(server.messages_until("the configuration changed"));
    assert!(!messages.iter().any(|message| message.contains("Permissions are not strict")), "{messages:?}");
}

#[tokio::test]
async fn a_file_behind_replaced_symlinks_is_reloaded() {
    let home = Home::new();
    let link = |to: &str| {
        let new = home.path("..new");
        let data = home.path("..data");
        std::os::unix::fs::symlink(to, &new).expect("links");
        std::fs::rename(new, data).expect("renames");
    };
    for (directory, origin) in [("one", "https://a.example"), ("two", "https://b.example")] {
        std::fs::create_dir(home.path(directory)).expect("creates the directory");
        let text = format!("[http]\npublic_origins = [\"{origin}\"]\n");
        std::fs::write(home.path(directory).join("sealjar.toml"), text).expect("writes");
    }
    link("one");
    std::os::unix::fs::symlink(Path::new("..data").join("sealjar.toml"), home.path("sealjar.toml")).expect("links");
    let mut server = home.start_with(&FILE, &[]);
    assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
    link("two");
    server.wait_for("the configuration changed");
    assert_eq!(verdict_at(&server, "b.example").await, "401 missing");
}

#[tokio::test]
async fn a_reload_changes_the_client_format_in_the_log() {
    let home = Home::new();
    let proxies = "[http]\ntrusted_proxies = [\"127.0.0.1\"]\n";
    write(&home, proxies);
    let mut server = home.start_with(&FILE, &[]);
    for (form, clients) in [
        ("full", ["203.0.113.9", "2001:db8:1:2::9"]),
        ("network", ["203.0.113.0/24", "2001:db8:1::/48"]),
        ("full", ["203.0.113.9", "2001:db8:1:2::9"]),
    ] {
        write(&home, &format!("{proxies}[log]\nclient = \"{form}\"\n"));
        assert_eq!(server.wait_for("the configuration changed")["settings"], "log.client");
        for (address, client_in_log) in ["203.0.113.9", "2001:db8:1:2::9"].into_iter().zip(clients) {
            let body = Server::login_body("alice", "wrong password");
            let post = client().post(server.url("/auth/login")).json(&body).header("x-forwarded-for", address);
            assert_eq!(post.send().await.expect("a response").status(), 401);
            assert_eq!(server.event("sign-in-failed")["client"], client_in_log, "{form}");
        }
    }
}

#[tokio::test]
async fn a_value_in_a_separate_file_is_reloaded() {
    let home = Home::new();
    let value = home.path("origins");
    std::fs::write(&value, "https://a.example\n").expect("writes");
    let mut server = home.start_with(&[], &[("SEALJAR_HTTP__PUBLIC_ORIGINS_FILE", value.as_os_str())]);
    assert_eq!(verdict_at(&server, "a.example").await, "401 missing");
    std::fs::write(&value, "https://b.example\n").expect("writes");
    assert_eq!(server.wait_for("the configuration changed")["settings"], "http.public_origins");
    assert_eq!(verdict_at(&server, "b.example").await, "401 missing");
    std::fs::remove_file(&value).expect("removes");
    let line = server.wait_for("the configuration cannot be used; the old one stays in force");
    let error = line["error"].as_str().expect("a reason");
    assert!(error.contains("SEALJAR_HTTP__PUBLIC_ORIGINS_FILE") && error.contains("No such file"), "{error}");
    assert_eq!(verdict_at(&server, "b.example").await, "401 missing");
}

#[tokio::test]
async fn trusting_a_very_large_network_logs_a_warning() {
    const WARNING: &str = "http.trusted_proxies has a network that is too large";
    let home = Home::new();
    write(&home, "[http]\ntrusted_proxies = [\"10.0.0.4\", \"0.0.0.0/0\"]\n");
    let mut server = home.start_with(&FILE, &[]);
    let is_warning = |line: &&serde_json::Value| line["message"].as_str().is_some_and(|text| text.contains(WARNING));
    let warned: Vec<_> = server.startup_log.iter().filter(is_warning).map(|line| line["network"].clone()).collect();
    assert_eq!(warned, ["0.0.0.0/0"]);
    for network in ["::/0", "128.0.0.0/1"] {
        write(&home, &format!("[http]\ntrusted_proxies = [\"{network}\"]\n"));
        assert_eq!(server.wait_for(WARNING)["network"], network);
    }
}

/// Returns the command without the log level of the harness, which would take precedence over the file.
fn without_level(serve: &Command) -> Command {
    let arguments: Vec<_> = serve.get_args().collect();
    let level = arguments
        .iter()
        .position(|argument| *argument == "log.level=sealjar=debug,sealjar::access=off")
        .expect("the level is among the arguments");
    let mut command = Command::new(serve.get_program());
    command.args(&arguments[..level - 1]).args(&arguments[level + 1..]);
    command.current_dir(serve.get_current_dir().expect("the home"));
    command
}

#[tokio::test]
async fn an_invalid_log_level_keeps_the_old_one() {
    let home = Home::new();
    write(&home, "");
    let mut server = home.start_through(without_level, &FILE);
    for (bad, hint) in [
        ("[log]\nlevel = \"warning\"\n", "did you mean warn?"),
        ("[log]\nlevel = \"sealjarr=debug\"\n", "did you mean sealjar?"),
        ("[log]\nlevle = \"info\"\n", "did you mean log.level?"),
    ] {
        write(&home, bad);
        let line = server.wait_for("the configuration cannot be used; the old one stays in force");
        assert!(line["hint"].is_string() && line.to_string().contains(hint), "{line}");
        server.login("alice").await;
        server.event("sign-in");
        write(&home, "");
        server.wait_for("the configuration can be used again");
    }
}

#[tokio::test]
async fn a_reload_changes_the_log_level() {
    let home = Home::new();
    write(&home, "[log]\nlevel = \"info,salvo_core=warn\"\n");
    let mut server = home.start_through(without_level, &FILE);
    server.login("alice").await;
    server.event("sign-in");
    write(&home, "[log]\nlevel = \"info,salvo_core=warn,sealjar::audit=error\"\n");
    server.wait_for("the configuration changed");
    server.login("alice").await;
    write(&home, "[log]\nlevel = \"info,salvo_core=warn\"\n");
    server.wait_for("the configuration changed");
    server.login("alice").await;
    server.event("sign-in");
    assert!(server.try_event("sign-in").is_none(), "the second login was not logged");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_of_a_live_session_fails_while_settings_change() {
    const CHANGES: usize = 8;
    let home = Home::new();
    // The requests depend only on values that are the same in all configurations.
    let configuration = |number: usize| {
        let others = ["https://b.example", "https://c.example"];
        let proxies = ["127.0.0.0/8", "10.0.0.0/8"];
        format!(
            "[http]\npublic_origins = [\"https://a.example\", \"{}\"]\ntrusted_proxies = [\"{}\"]\nmax_body_bytes = {}\n",
            others[number % 2],
            proxies[number % 2],
            2048 + number
        )
    };
    write(&home, &configuration(0));
    let mut server = home.start_with(&FILE, &[]);
    let body = Server::login_body("alice", crate::harness::PASSWORD);
    let login = client().post(server.url("/auth/login")).header("host", "a.example").json(&body);
    let session = Session::of(login.send().await.expect("a response").headers()).expect("a session");
    let stop = Arc::new(AtomicBool::new(false));
    let requests = Arc::new(AtomicUsize::new(0));
    let users: Vec<_> = ["/auth/status", "/protected", "/auth/verify", "/auth/logout/nowhere"]
        .into_iter()
        .map(|path| {
            let stop = stop.clone();
            let requests = requests.clone();
            let url = server.url(path);
            let cookie = session.cookie();
            let expected = if path.ends_with("nowhere") { 404 } else { 200 };
            tokio::spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    let request = client().get(&url).header("host", "a.example").header("cookie", &cookie);
                    assert_eq!(request.send().await.expect("a response").status(), expected, "{url}");
                    requests.fetch_add(1, Ordering::AcqRel);
                }
            })
        })
        .collect();
    for number in 1..=CHANGES {
        write(&home, &configuration(number));
        server.signal("HUP");
        server.wait_for("the configuration changed");
    }
    stop.store(true, Ordering::Release);
    for user in users {
        user.await.expect("no request failed");
    }
    println!("{} requests during {CHANGES} changes, none failed", requests.load(Ordering::Acquire));
}
