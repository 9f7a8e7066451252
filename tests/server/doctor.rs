//! `sealjar doctor`: each thing that can be wrong is made wrong, and is found, with what to do about it.

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
use crate::harness::{Home, text, until};

/// What depends on the machine that runs the tests: who runs them, who keeps its clock, how busy and how full it is.
const OF_THE_MACHINE: [&str; 4] = ["process.user", "clock.ntp", "password.time", "store.disk"];
const PROMISES: &str = include_str!("../../docs/security/promises.md");
const SITE: [&str; 2] = ["--public-origin", "https://app.example.com"];

/// A home in which nothing is wrong.
fn home() -> Home {
    Home::with_settings(&[
        "password.passes=5",
        "password.memory_budget_kib=65536",
        "http.max_connections=100",
        "http.listen=127.0.0.1:0",
        "http.admin_listen=127.0.0.1:0",
    ])
}

pub(crate) struct Found {
    code: Option<i32>,
    findings: Vec<Value>,
}

impl Found {
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

    pub(crate) fn levels(&self, check: &str) -> Vec<&str> {
        let of_it = self.findings.iter().filter(|finding| finding["check"] == check);
        of_it.map(|finding| finding["level"].as_str().expect("a level")).collect()
    }

    /// That the check came out like this, with these words in the remedy; and the code accordingly.
    #[track_caller]
    pub(crate) fn has(&self, check: &str, level: &str, remedy: &str) {
        let is_it = |finding: &&Value| {
            let words = finding["remedy"].as_str().unwrap_or_default();
            finding["check"] == check && finding["level"] == level && words.contains(remedy)
        };
        let others: Vec<_> = self.findings.iter().filter(|finding| finding["level"] != "ok").collect();
        assert!(
            self.findings.iter().any(|finding| is_it(&finding)),
            "{check} is no {level} with {remedy:?}: {others:#?}"
        );
        let problems = self.findings.iter().any(|finding| finding["level"] == "problem");
        assert_eq!(self.code, Some(i32::from(problems)));
    }
}

/// Without core dumps, as the server should be.
fn command(home: &Home, arguments: &[&str]) -> Command {
    limited(home, "-c 0", arguments)
}

fn limited(home: &Home, option: &str, arguments: &[&str]) -> Command {
    let doctor = home.command(&[&["doctor", "--json"], arguments].concat());
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit {option} && exec \"$0\" \"$@\"")]).arg(doctor.get_program());
    command.args(doctor.get_args()).current_dir(home.path(""));
    command
}

pub(crate) fn doctor(home: &Home, arguments: &[&str]) -> Found {
    Found::of(&command(home, arguments).output().expect("runs"))
}

fn doctor_at(home: &Home, offset: &str, arguments: &[&str]) -> Found {
    Found::of(&command(home, arguments).envs(faketime(offset, home)).output().expect("runs"))
}

/// The key files, of which a new home has one.
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

/// A remedy, with the path of the home: whoever pastes it into a shell is in another directory.
fn in_home(home: &Home, remedy: &str) -> String {
    let path = home.path("");
    remedy.replace("HOME", path.to_str().expect("text").trim_end_matches('/'))
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changes the mode");
}

/// Everything below the directory that a change would show in.
fn traces(directory: &Path) -> BTreeMap<PathBuf, (u32, u64, i64, i64)> {
    let mut found = BTreeMap::new();
    for path in fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let facts = fs::metadata(&path).expect("there");
        if facts.is_dir() {
            found.extend(traces(&path));
        }
        found.insert(path, (facts.mode(), facts.len(), facts.mtime(), facts.mtime_nsec()));
    }
    found
}

/// A home whose database is one file, as a server that was stopped leaves it.
async fn home_at_rest() -> Home {
    let home = home();
    let mut database = open(&home, "sealjar.db").await;
    run(&mut database, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    database.close().await.expect("closes, the last that has it open");
    assert!(!home.path("sealjar.db-wal").exists());
    home
}

#[tokio::test]
async fn a_sound_home_is_well_and_looking_changes_nothing() {
    let home = home_at_rest().await;
    let before = traces(&home.path(""));
    let found = doctor(&home, &[]);
    assert_eq!(traces(&home.path("")), before);
    for finding in &found.findings {
        let check = finding["check"].as_str().expect("a name");
        let expected = if check == "server.ready" { "skipped" } else { "ok" };
        assert!(finding["level"] == expected || OF_THE_MACHINE.contains(&check), "{finding}");
        let needs_remedy = finding["level"] == "warning" || finding["level"] == "problem";
        assert_eq!(finding["remedy"].is_string(), needs_remedy, "{finding}");
        assert!(finding["found"].as_str().is_some_and(|found| !found.is_empty()), "{finding}");
        assert_eq!(finding.as_object().expect("an object").len(), 4);
        assert!(check == "config" || PROMISES.contains(&format!("`{check}`")), "{check} belongs to no promise");
    }
    assert_eq!(found.code, Some(0));
}

#[test]
fn asks_a_running_server_whether_it_is_ready_and_has_the_keys() {
    let home = home();
    let mut server = home.start_with(&["--set", "http.shutdown_delay=10m"], &[]);
    let admin = server.admin.clone();
    until("it has reported its keys", || {
        let found = doctor(&home, &["--admin-listen", &admin]);
        let one = |finding: &Value| finding["found"].as_str().expect("text").starts_with("1 live node,");
        found.levels("server.ready") == ["ok"] && found.findings.iter().any(one)
    });
    // Another ring than the node's.
    home.ok(&["keys", "init", "--keys", "other"]);
    doctor(&home, &["--admin-listen", &admin, "--keys", "other"]).has("store.nodes", "problem", "sealjar keys status");
    assert_eq!(doctor(&home, &["--admin-listen", &admin]).levels("server.hardening"), ["ok"]);
    server.signal("TERM");
    server.wait_for("stopping");
    doctor(&home, &["--admin-listen", &admin]).has("server.ready", "problem", "shutting down");
}

#[test]
fn what_answers_in_the_place_of_the_server_is_none() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the doctor comes");
        let _ = stream.read(&mut [0; 1024]);
        stream.write_all(b"SSH-2.0-other\r\n").expect("written");
    });
    doctor(&home(), &["--admin-listen", &address]).has("server.ready", "problem", "http.admin_listen");
    other.join().expect("it answered");
}

#[test]
fn settings_that_are_weak_or_do_not_fit_are_found() {
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
            "tls.private_key name PEM files",
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
        let found = doctor(&home, &arguments);
        found.has(check, level, remedy);
        assert_eq!(found.levels("keys.active"), ["ok"], "whatever else is wrong: {arguments:?}");
    }
    let dumpable = ["--set", "process.dumpable=true"];
    let shell = Found::of(&limited(&home, "-S -c 1", &dumpable).output().expect("runs"));
    shell.has("process.core_dumps", "warning", "LimitCORE=0");
}

#[test]
fn a_value_that_cannot_be_used_hides_nothing_about_the_rest() {
    let home = home();
    for (setting, meant) in [
        ("no.such=setting", "sealjar config --explain"),
        ("session.idel=5m", "did you mean session.idle?"),
        ("session.idle=5", "--explain session.idle"),
        ("password.queue=many", "--explain password.queue"),
        ("log.level=warning", "--explain log.level"),
        ("http.listen=nowhere", "--explain http.listen"),
    ] {
        let found = doctor(&home, &["--set", setting]);
        found.has("config", "problem", meant);
        assert_eq!(found.levels("config"), ["problem"], "{setting}");
        assert_eq!((found.levels("keys.active"), found.levels("store.whole")), (vec!["ok"], vec!["ok"]), "{setting}");
    }
    let both = ["--set", "session.idle=5", "--set", "no.such=setting"];
    assert_eq!(doctor(&home, &both).levels("config"), ["problem", "problem"]);
    let unreadable = command(&home, &["--config", "nowhere.toml"]).output().expect("runs");
    assert!(text(&unreadable.stderr).contains("nothing was checked"));
}

#[test]
fn warnings_fail_if_strict_and_a_bad_configuration_fails_apart() {
    let home = home();
    let code = |arguments: &[&str]| command(&home, arguments).output().expect("runs").status.code();
    assert_eq!(code(&["--set", "log.level=off"]), Some(0));
    assert_eq!(code(&["--set", "log.level=off", "--strict"]), Some(1));
    assert_eq!(code(&["--config", "nowhere.toml"]), Some(78));
}

#[test]
fn finds_what_is_wrong_with_key_files_and_everything_else() {
    type Harm = fn(&Home);
    let cases: [(Harm, &str, &str, &str); 11] = [
        (|home| chmod(&home.path("keys"), 0o755), "keys.directory", "warning", "chmod 700 HOME/keys"),
        (|home| chmod(&home.path("keys"), 0o770), "keys.directory", "problem", "chmod 700 HOME/keys"),
        (|home| chmod(&home.path("keys"), 0o777), "keys.directory", "problem", "chmod 700 HOME/keys"),
        (|home| chmod(&home.path(""), 0o777), "keys.directory", "problem", "chmod o-w"),
        (|home| chmod(&home.path(""), 0o777), "store.file", "problem", "chmod o-w"),
        (|home| chmod(&key_file(home), 0o644), "keys.files", "problem", "chmod 600 HOME/keys/"),
        (|home| copy_key(home, "keys/copy.key"), "keys.files", "problem", "rm HOME/keys/copy.key"),
        (|home| copy_key(home, "keys/.backup"), "keys.copies", "warning", "rm HOME/keys/.backup"),
        (|home| fs::write(key_file(home), "").expect("written"), "keys.files", "problem", "put the file back"),
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
    for (harm, check, level, remedy) in cases {
        let home = home();
        harm(&home);
        let found = doctor(&home, &[]);
        found.has(check, level, &in_home(&home, remedy));
        assert_eq!(found.levels("store.open"), ["ok"]);
        if check == "keys.directory" {
            assert_eq!(found.levels("keys.files"), ["ok"], "said once");
        }
    }
}

#[test]
fn keys_that_are_old_left_behind_or_spent_are_found() {
    let home = home();
    assert_eq!(doctor_at(&home, "+89d", &[]).levels("keys.age"), ["ok"]);
    doctor_at(&home, "+91d", &[]).has("keys.age", "warning", "sealjar keys rotate");
    let every = ["--set", "keys.rotate_every=30d"];
    assert_eq!(doctor_at(&home, "+31d", &every).levels("keys.age"), ["ok"]);
    doctor_at(&home, "+40d", &every).has("keys.age", "warning", "sealjar keys rotate");
    // Made by a clock that is two hours ahead of this one.
    let early = doctor_at(&home, "-2h", &[]);
    early.has("clock.keys", "problem", "NTP");
    early.has("keys.active", "problem", "sealjar keys rotate --activate-in 0s");

    home.ok(&["keys", "rotate", "--activate-in", "0s"]);
    assert_eq!(doctor_at(&home, "+89d", &[]).levels("keys.retired"), ["ok"]);
    doctor_at(&home, "+91d", &[]).has("keys.retired", "warning", "sealjar keys prune");

    home.ok(&["keys", "rotate", "--activate-in", "60d"]);
    doctor(&home, &[]).has("keys.published", "warning", "sealjar keys revoke");
    let latest = home.keys().into_iter().find(|key| key["state"] == "published").expect("the new one");
    let path = home.path(&format!("keys/{}.key", latest["kid"].as_str().expect("an id")));
    let file = fs::read_to_string(&path).expect("read");
    let undated: Vec<&str> = file.lines().filter(|line| !line.starts_with("activates_at")).collect();
    fs::write(&path, undated.join("\n")).expect("written");
    assert_eq!(doctor(&home, &[]).levels("keys.published"), ["ok"], "somebody may wait for it");
    doctor_at(&home, "+2h", &[]).has("keys.published", "warning", "sealjar keys rotate --wait");
}

#[test]
fn a_clock_behind_what_a_server_counted_on_is_found() {
    let home = home();
    drop(home.start());
    assert_eq!(doctor(&home, &[]).levels("clock.store"), ["ok"]);
    doctor_at(&home, "-2h", &[]).has("clock.store", "problem", "NTP");
}

#[tokio::test]
async fn finds_what_is_wrong_with_the_database_and_everything_else() {
    let harm = |statement: &'static str| {
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
        let home = harm(statement)(home()).await;
        let found = doctor(&home, &[]);
        found.has(check, level, remedy);
        assert_eq!(found.levels("keys.active"), ["ok"]);
    }

    type Harm = fn(&Home);
    let cases: [(Harm, &str, &str); 5] = [
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
            |home| drop(home.ok(&["migrate", "--from", "sqlite://sealjar.db", "--to", "sqlite://other.db"])),
            "store.open",
            "name that database as the store",
        ),
    ];
    for (harm, check, remedy) in cases {
        let home = home_at_rest().await;
        harm(&home);
        let found = doctor(&home, &[]);
        found.has(check, "problem", &in_home(&home, remedy));
        assert_eq!(found.levels("keys.active"), ["ok"]);
    }

    let home = home_at_rest().await;
    damage(&home).await;
    let found = doctor(&home, &[]);
    found.has("store.whole", "problem", "sealjar store restored");
    assert_eq!(found.levels("keys.active"), ["ok"]);
}

/// Overwrites an index of the database, which nothing reads that only opens it.
async fn damage(home: &Home) {
    let mut database = open(home, "sealjar.db").await;
    let root = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'revocation_expires_at'");
    let root: i64 = root.fetch_one(&mut database).await.expect("an index");
    database.close().await.expect("closes, the last that has it open");
    let path = home.path("sealjar.db");
    let mut bytes = fs::read(&path).expect("read");
    let end = usize::try_from(root).expect("a page") * 4096;
    bytes[end - 4096..end].fill(0xff);
    fs::write(&path, bytes).expect("written");
}
