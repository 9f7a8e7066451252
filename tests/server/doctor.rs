//! `sealjar doctor`: finds each fault that a test introduces, and prints a remedy.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use sqlx::Connection;

use crate::database::{open, run};
use crate::faketime::faketime;
use crate::harness::{Home, text, wait_until};

/// Checks whose result depends on the machine that runs the tests: its user, NTP, load and free disk space.
const MACHINE_DEPENDENT: [&str; 4] = ["process.user", "clock.ntp", "password.time", "store.disk"];
/// Document that must name every check.
const PROMISES: &str = include_str!("../../docs/security/promises.md");
/// Flags that set a public origin.
const SITE: [&str; 2] = ["--public-origin", "https://app.example.com"];

/// Creates a home in which the doctor finds no fault.
fn home() -> Home {
    Home::with_settings(&[
        "password.passes=5",
        "password.memory_budget_kib=65536",
        "http.max_connections=100",
        "http.listen=127.0.0.1:0",
        "http.admin_listen=127.0.0.1:0",
    ])
}

/// Exit code and findings of `sealjar doctor --json`.
pub(crate) struct Report {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Report {
    fn of(output: &Output) -> Self {
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("no JSON: {}{}", text(&output.stdout), text(&output.stderr)));
        let findings = report["findings"].as_array().expect("a list").clone();
        for level in ["problem", "warning", "skipped", "ok"] {
            let count = findings.iter().filter(|finding| finding["level"] == level).count();
            let name = if level == "skipped" || level == "ok" { level.to_owned() } else { format!("{level}s") };
            assert_eq!(report["counts"][&name], count, "{report}");
        }
        Self { code: output.status.code(), findings }
    }

    /// Returns the levels of all findings of a check.
    pub(crate) fn levels(&self, check: &str) -> Vec<&str> {
        let of_check = self.findings.iter().filter(|finding| finding["check"] == check);
        of_check.map(|finding| finding["level"].as_str().expect("a level")).collect()
    }

    /// Asserts that the check has a finding of this level whose remedy contains `remedy`, and that the exit code fits the
    /// findings.
    #[track_caller]
    pub(crate) fn assert_has(&self, check: &str, level: &str, remedy: &str) {
        let matches = |finding: &&Value| {
            let text = finding["remedy"].as_str().unwrap_or_default();
            finding["check"] == check && finding["level"] == level && text.contains(remedy)
        };
        let others: Vec<_> = self.findings.iter().filter(|finding| finding["level"] != "ok").collect();
        assert!(
            self.findings.iter().any(|finding| matches(&finding)),
            "{check} has no {level} with {remedy:?}: {others:#?}"
        );
        let has_problem = self.findings.iter().any(|finding| finding["level"] == "problem");
        assert_eq!(self.code, Some(i32::from(has_problem)));
    }
}

/// Returns the doctor command, run without core dumps, as the server should run.
fn command(home: &Home, arguments: &[&str]) -> Command {
    command_with_ulimit(home, "-c 0", arguments)
}

/// Returns the doctor command, run with these options of `ulimit`.
fn command_with_ulimit(home: &Home, option: &str, arguments: &[&str]) -> Command {
    let doctor = home.command(&[&["doctor", "--json"], arguments].concat());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {option} && exec \"$0\" \"$@\"")]).arg(doctor.get_program());
    command.args(doctor.get_args()).current_dir(home.path(""));
    command
}

pub(crate) fn doctor(home: &Home, arguments: &[&str]) -> Report {
    Report::of(&command(home, arguments).output().expect("runs"))
}

/// Runs the doctor with this offset of the wall clock.
fn doctor_at(home: &Home, offset: &str, arguments: &[&str]) -> Report {
    Report::of(&command(home, arguments).envs(faketime(offset, home)).output().expect("runs"))
}

/// Returns the paths of the key files. A new home has one.
fn key_files(home: &Home) -> Vec<PathBuf> {
    let entries = fs::read_dir(home.path("keys")).expect("a directory").map(|entry| entry.expect("an entry").path());
    entries.filter(|path| path.extension() == Some(OsStr::new("key"))).collect()
}

fn key_file(home: &Home) -> PathBuf {
    key_files(home).into_iter().next().expect("a key")
}

fn copy_key(home: &Home, to: &str) {
    fs::copy(key_file(home), home.path(to)).expect("copied");
}

/// Replaces `HOME` in a remedy with the path of the home. Remedies have absolute paths, so that they work in any directory.
fn with_home_path(home: &Home, remedy: &str) -> String {
    let path = home.path("");
    remedy.replace("HOME", path.to_str().expect("text").trim_end_matches('/'))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changes the mode");
}

/// Returns mode, size and modification time of everything below the directory. Any change shows in one of them.
fn snapshot(directory: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for path in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let metadata = fs::metadata(&path).expect("the entry exists");
        if metadata.is_dir() {
            found.extend(snapshot(&path));
        }
        found.insert(path, (metadata.mode(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()));
    }
    found
}

/// Creates a home whose database is a single file, as after the regular exit of a server.
async fn home_with_closed_database() -> Home {
    let home = home();
    let mut database = open(&home, "sealjar.db").await;
    run(&mut database, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    database.close().await.expect("closes the last connection");
    assert!(!home.path("sealjar.db-wal").exists());
    home
}

#[tokio::test]
async fn a_correct_setup_has_no_findings_and_is_not_changed() {
    let home = home_with_closed_database().await;
    let before = snapshot(&home.path(""));
    let report = doctor(&home, &[]);
    assert_eq!(snapshot(&home.path("")), before);
    for finding in &report.findings {
        let check = finding["check"].as_str().expect("a name");
        let expected = if check == "server.ready" { "skipped" } else { "ok" };
        assert!(finding["level"] == expected || MACHINE_DEPENDENT.contains(&check), "{finding}");
        let needs_remedy = finding["level"] == "warning" || finding["level"] == "problem";
        assert_eq!(finding["remedy"].is_string(), needs_remedy, "{finding}");
        assert!(finding["found"].as_str().is_some_and(|found| !found.is_empty()), "{finding}");
        assert_eq!(finding.as_object().expect("an object").len(), 4);
        assert!(
            check == "config" || PROMISES.contains(&format!("`{check}`")),
            "{check} is not named in docs/security/promises.md"
        );
    }
    assert_eq!(report.code, Some(0));
}

#[test]
fn checks_readiness_and_keys_of_a_running_server() {
    let home = home();
    let mut server = home.start_with(&["--set", "http.shutdown_delay=10m"], &[]);
    let admin = server.admin.clone();
    wait_until("the server has reported its keys", || {
        let report = doctor(&home, &["--admin-listen", &admin]);
        let is_match =
            |finding: &Value| finding["found"].as_str().expect("text").starts_with("the keys of 1 live node match");
        report.levels("server.ready") == ["ok"] && report.findings.iter().any(is_match)
    });
    // Check a key ring that differs from the ring of the node.
    home.run_ok(&["keys", "init", "--keys", "other"]);
    doctor(&home, &["--admin-listen", &admin, "--keys", "other"]).assert_has(
        "store.nodes",
        "problem",
        "sealjar keys status",
    );
    assert_eq!(doctor(&home, &["--admin-listen", &admin]).levels("server.hardening"), ["ok"]);
    server.signal("TERM");
    server.wait_for("stopping");
    doctor(&home, &["--admin-listen", &admin]).assert_has("server.ready", "problem", "shutting down");
}

#[test]
fn another_program_on_the_admin_port_is_a_problem() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let other_program = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the doctor connects");
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"SSH-2.0-other\r\n").expect("written");
    });
    doctor(&home(), &["--admin-listen", &address]).assert_has("server.ready", "problem", "http.admin_listen");
    other_program.join().expect("the thread finishes");
}

#[test]
fn weak_or_inconsistent_settings_are_found() {
    let home = home();
    let site = |settings: &[&'static str]| -> Vec<&'static str> {
        SITE.into_iter().chain(settings.iter().flat_map(|setting| ["--set", setting])).collect()
    };
    let set = |setting: &'static str| vec!["--set", setting];
    let trusting = "http.trusted_proxies=10.0.0.4";
    for (arguments, check, level, remedy) in [
        (set("session.idle=1s"), "config", "problem", "sealjar config"),
        (set("cookie.plain_http=true"), "cookie.attributes", "problem", "cookie.plain_http = false"),
        (site(&[trusting, "cookie.domain=example.com"]), "cookie.attributes", "warning", "cookie.domain"),
        (
            vec![
                "--public-origin",
                "https://app.example.co.uk",
                "--set",
                "cookie.domain=co.uk",
                "--set",
                "http.trusted_proxies=10.0.0.4",
            ],
            "cookie.domain",
            "warning",
            "example.co.uk",
        ),
        (set("session.idle=2h"), "session.lifetimes", "warning", "session.idle"),
        (set("session.absolute=30d"), "session.lifetimes", "warning", "session.absolute"),
        (set("session.remembered_idle=60d"), "session.lifetimes", "warning", "session.remembered_idle"),
        (set("session.remembered_absolute=100d"), "session.lifetimes", "warning", "session.remembered_absolute"),
        (set("session.copy_detection=false"), "session.copy_detection", "warning", "session.copy_detection = true"),
        (set("session.idle=17m"), "session.copy_detection", "warning", "session.idle to 18m"),
        (set("session.remembered_idle=17m"), "session.copy_detection", "warning", "session.remembered_idle to 18m"),
        (set("session.absolute=30m"), "session.copy_detection", "warning", "session.absolute to a longer time"),
        (set("session.remembered_absolute=100d"), "keys.lifetime", "warning", "sealjar keys rotate"),
        (set("revocation.when_stale=allow"), "revocation", "warning", "revocation.when_stale"),
        (set("revocation.max_staleness=10m"), "revocation", "warning", "revocation.max_staleness"),
        (set("log.level=off"), "log.audit", "warning", "sealjar::audit=info"),
        (set("log.level=off"), "log.level", "warning", "log.level to error"),
        (set("log.level=sealjar=off"), "log.level", "warning", "log.level to error"),
        (site(&[]), "http.trusted_proxies", "problem", "X-Forwarded-For"),
        (site(&["http.trusted_proxies=0.0.0.0/0"]), "http.trusted_proxies", "problem", "addresses"),
        (site(&["http.trusted_proxies=::/0"]), "http.trusted_proxies", "problem", "addresses"),
        (site(&["http.trusted_proxies=203.0.112.0/20"]), "http.trusted_proxies", "warning", "addresses"),
        (
            site(&["http.trusted_proxies=unix", "http.unix_mode=0666"]),
            "http.trusted_proxies",
            "problem",
            "http.unix_mode",
        ),
        ([&SITE[..], &["--tls-self-signed"]].concat(), "tls.certificate", "warning", "PEM files"),
        (
            site(&["tls.certificate=nowhere", "tls.private_key=nowhere"]),
            "tls.certificate",
            "problem",
            "tls.private_key to PEM files",
        ),
        (set("pages.logo=nowhere.svg"), "pages.logo", "problem", "at most 256 KiB"),
        (site(&[trusting, "http.idle_timeout=60s"]), "http.idle_timeout", "warning", "75s"),
        ([&SITE[..], &SITE].concat(), "http.public_origins", "warning", "once"),
        ([&SITE[..], &["--public-origin", "http://localhost"]].concat(), "http.public_origins", "warning", "localhost"),
        (site(&[trusting, "http.listen=0.0.0.0:8080"]), "http.listen", "warning", "127.0.0.1"),
        (site(&[trusting, "http.listen=0.0.0.0:8080"]), "http.verify_authorities", "warning", "verify_authorities"),
        (site(&[trusting, "http.listen=203.0.113.5:8080"]), "http.listen", "problem", "127.0.0.1"),
        (vec!["--admin-listen", "[::]:0"], "http.admin_listen", "warning", "firewall"),
        (vec!["--admin-listen", "203.0.113.5:0"], "http.admin_listen", "problem", "127.0.0.1"),
        (set("http.max_connections=4000000000"), "http.max_connections", "warning", "LimitNOFILE"),
        (set("process.dumpable=true"), "process.dumpable", "warning", "process.dumpable = false"),
        (set("process.landlock=false"), "process.landlock", "warning", "process.landlock = true"),
        (set("throttle.network_burst=0"), "throttle", "warning", "throttle.network_burst = 100"),
        (set("throttle.success_burst=0"), "throttle", "warning", "throttle.success_burst = 60"),
        (set("password.passes=4"), "password.cost", "problem", "sealjar users calibrate"),
        (set("password.passes=6"), "password.stored", "warning", "next login"),
        (set("password.memory_budget_kib=4000000000"), "password.memory_budget_kib", "warning", "lower"),
    ] {
        let report = doctor(&home, &arguments);
        report.assert_has(check, level, remedy);
        assert_eq!(report.levels("keys.active"), ["ok"], "the other checks still run: {arguments:?}");
    }
    let dumpable = ["--set", "process.dumpable=true"];
    let shell = Report::of(&command_with_ulimit(&home, "-S -c 1", &dumpable).output().expect("runs"));
    shell.assert_has("process.core_dumps", "warning", "LimitCORE=0");
}

#[test]
fn an_invalid_setting_does_not_hide_other_checks() {
    let home = home();
    for (setting, hint) in [
        ("no.such=setting", "sealjar config --explain"),
        ("session.idel=5m", "did you mean session.idle?"),
        ("session.idle=5", "--explain session.idle"),
        ("password.queue=many", "--explain password.queue"),
        ("log.level=warning", "--explain log.level"),
        ("http.listen=nowhere", "--explain http.listen"),
    ] {
        let report = doctor(&home, &["--set", setting]);
        report.assert_has("config", "problem", hint);
        assert_eq!(report.levels("config"), ["problem"], "{setting}");
        assert_eq!((report.levels("keys.active"), report.levels("store.whole")), (vec!["ok"], vec!["ok"]), "{setting}");
    }
    let both = ["--set", "session.idle=5", "--set", "no.such=setting"];
    assert_eq!(doctor(&home, &both).levels("config"), ["problem", "problem"]);
    let unreadable = command(&home, &["--config", "nowhere.toml"]).output().expect("runs");
    assert!(text(&unreadable.stderr).contains("nothing was checked"));
}

#[test]
fn strict_fails_on_warnings_and_a_bad_configuration_exits_78() {
    let home = home();
    let code = |arguments: &[&str]| command(&home, arguments).output().expect("runs").status.code();
    assert_eq!(code(&["--set", "log.level=off"]), Some(0));
    assert_eq!(code(&["--set", "log.level=off", "--strict"]), Some(1));
    assert_eq!(code(&["--config", "nowhere.toml"]), Some(78));
}

#[test]
fn damaged_key_files_are_found_and_other_checks_still_run() {
    type Fault = fn(&Home);
    let cases: [(Fault, &str, &str, &str); 11] = [
        (|home| chmod(&home.path("keys"), 0o755), "keys.directory", "warning", "chmod 700 HOME/keys"),
        (|home| chmod(&home.path("keys"), 0o770), "keys.directory", "problem", "chmod 700 HOME/keys"),
        (|home| chmod(&home.path("keys"), 0o777), "keys.directory", "problem", "chmod 700 HOME/keys"),
        (|home| chmod(&home.path(""), 0o777), "keys.directory", "problem", "chmod o-w"),
        (|home| chmod(&home.path(""), 0o777), "store.file", "problem", "chmod o-w"),
        (|home| chmod(&key_file(home), 0o644), "keys.files", "problem", "chmod 600 HOME/keys/"),
        (|home| copy_key(home, "keys/copy.key"), "keys.files", "problem", "rm HOME/keys/copy.key"),
        (|home| copy_key(home, "keys/.backup"), "keys.copies", "warning", "rm HOME/keys/.backup"),
        (
            |home| fs::write(key_file(home), "").expect("written"),
            "keys.files",
            "problem",
            "restore the file from a backup",
        ),
        (
            |home| fs::remove_file(key_file(home)).expect("removed"),
            "keys.active",
            "problem",
            "first check whether a server uses these keys",
        ),
        (
            |home| fs::remove_dir_all(home.path("keys")).expect("removed"),
            "keys.files",
            "problem",
            "first check whether a server uses these keys",
        ),
    ];
    for (introduce_fault, check, level, remedy) in cases {
        let home = home();
        introduce_fault(&home);
        let report = doctor(&home, &[]);
        report.assert_has(check, level, &with_home_path(&home, remedy));
        assert_eq!(report.levels("store.open"), ["ok"]);
        if check == "keys.directory" {
            assert_eq!(report.levels("keys.files"), ["ok"], "reported once");
        }
    }
}

#[test]
fn old_unused_and_retired_keys_are_found() {
    let home = home();
    assert_eq!(doctor_at(&home, "+89d", &[]).levels("keys.age"), ["ok"]);
    doctor_at(&home, "+91d", &[]).assert_has("keys.age", "warning", "sealjar keys rotate");
    let every = ["--set", "keys.rotate_every=30d"];
    assert_eq!(doctor_at(&home, "+31d", &every).levels("keys.age"), ["ok"]);
    doctor_at(&home, "+40d", &every).assert_has("keys.age", "warning", "sealjar keys rotate");
    // The key was created by a clock that is two hours ahead of the present clock.
    let early = doctor_at(&home, "-2h", &[]);
    early.assert_has("clock.keys", "problem", "NTP");
    early.assert_has("keys.active", "problem", "sealjar keys rotate --activate-in 0s");

    home.run_ok(&["keys", "rotate", "--activate-in", "0s"]);
    assert_eq!(doctor_at(&home, "+89d", &[]).levels("keys.retired"), ["ok"]);
    doctor_at(&home, "+91d", &[]).assert_has("keys.retired", "warning", "sealjar keys prune");

    home.run_ok(&["keys", "rotate", "--activate-in", "60d"]);
    doctor(&home, &[]).assert_has("keys.published", "warning", "sealjar keys revoke");
    let latest = home.keys().into_iter().find(|key| key["state"] == "published").expect("the new key");
    let path = home.path(&format!("keys/{}.key", latest["kid"].as_str().expect("an id")));
    let file = fs::read_to_string(&path).expect("read");
    let undated: Vec<&str> = file.lines().filter(|line| !line.starts_with("activates_at")).collect();
    fs::write(&path, undated.join("\n")).expect("written");
    assert_eq!(doctor(&home, &[]).levels("keys.published"), ["ok"], "a `keys rotate --wait` may still be waiting");
    doctor_at(&home, "+2h", &[]).assert_has("keys.published", "warning", "sealjar keys rotate --wait");
}

#[test]
fn a_clock_behind_the_recorded_time_is_found() {
    let home = home();
    drop(home.start());
    assert_eq!(doctor(&home, &[]).levels("clock.store"), ["ok"]);
    doctor_at(&home, "-2h", &[]).assert_has("clock.store", "problem", "NTP");
}

#[tokio::test]
async fn a_damaged_database_is_found_and_other_checks_still_run() {
    let with_statement = |statement: &'static str| {
        move |home: Home| async move {
            run(&mut open(&home, "sealjar.db").await, statement).await;
            home
        }
    };
    for (statement, check, level, remedy) in [
        ("UPDATE account SET password_hash = 'x'", "password.stored", "problem", "sealjar users passwd alice"),
        (
            "UPDATE account SET password_hash = replace(password_hash, '$m=7168,', '$m=262144,')",
            "password.stored",
            "problem",
            "password.memory_budget_kib = ",
        ),
        (
            "UPDATE account SET password_hash = replace(password_hash, ',t=5,', ',t=6,')",
            "password.stored",
            "warning",
            "sealjar users passwd alice",
        ),
        (
            "UPDATE account SET password_hash = replace(password_hash, ',t=5,', ',t=11,')",
            "password.stored",
            "warning",
            "replaced at the next login",
        ),
        ("DELETE FROM account", "password.stored", "warning", "sealjar users add"),
        ("UPDATE state SET needs = 99", "store.open", "problem", "newer version"),
        (
            "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)",
            "store.open",
            "warning",
            "sealjar serve",
        ),
        ("UPDATE state SET pruned_through = unixepoch() + 7200", "clock.store", "problem", "docs/troubleshooting.md"),
    ] {
        let home = with_statement(statement)(home()).await;
        let report = doctor(&home, &[]);
        report.assert_has(check, level, remedy);
        assert_eq!(report.levels("keys.active"), ["ok"]);
    }

    type Fault = fn(&Home);
    let cases: [(Fault, &str, &str); 5] = [
        (|home| chmod(&home.path("sealjar.db"), 0o644), "store.file", "chmod 600 HOME/sealjar.db"),
        (|home| chmod(&home.path("sealjar.db"), 0o620), "store.file", "chmod 600 HOME/sealjar.db"),
        (
            |home| fs::remove_file(home.path("sealjar.db")).expect("removed"),
            "store.open",
            "first check whether a server uses this store",
        ),
        (
            |home| fs::write(home.path("sealjar.db"), "no database").expect("written"),
            "store.open",
            "sealjar store restored",
        ),
        (
            |home| drop(home.run_ok(&["migrate", "--from", "sqlite://sealjar.db", "--to", "sqlite://other.db"])),
            "store.open",
            "name that database as the store",
        ),
    ];
    for (introduce_fault, check, remedy) in cases {
        let home = home_with_closed_database().await;
        introduce_fault(&home);
        let report = doctor(&home, &[]);
        report.assert_has(check, "problem", &with_home_path(&home, remedy));
        assert_eq!(report.levels("keys.active"), ["ok"]);
    }

    let home = home_with_closed_database().await;
    damage_index(&home).await;
    let report = doctor(&home, &[]);
    report.assert_has("store.whole", "problem", "sealjar store restored");
    assert_eq!(report.levels("keys.active"), ["ok"]);
}

/// Overwrites an index of the database. Opening the database does not read this index.
async fn damage_index(home: &Home) {
    let mut database = open(home, "sealjar.db").await;
    let root = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'revocation_expires_at'");
    let root: i64 = root.fetch_one(&mut database).await.expect("an index");
    database.close().await.expect("closes the last connection");
    let path = home.path("sealjar.db");
    let mut bytes = fs::read(&path).expect("read");
    let end = usize::try_from(root).expect("a page") * 4096;
    bytes[end - 4096..end].fill(0xff);
    fs::write(&path, bytes).expect("written");
}
