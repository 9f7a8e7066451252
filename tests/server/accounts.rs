//! The `users` commands that show, change, import and delete accounts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use crate::database;
use crate::harness::{Home, PASSWORD, Response, Server, client, text, wait_until};

/// Valid Argon2id hash for imported accounts. No test logs in with its password.
const HASH: &str = "$argon2id$v=19$m=7168,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

async fn login_verdict(server: &Server<'_>, login: &str, password: &str) -> String {
    let body = Server::login_body(login, password);
    let response = client().post(server.url("/auth/login")).json(&body).send().await.expect("a response");
    Response::of(response).await.verdict()
}

fn show(home: &Home, login: &str) -> Value {
    serde_json::from_str(&home.run_ok(&["users", "show", login, "--json"])).expect("JSON")
}

/// Runs a command that must succeed, and returns its standard error.
fn stderr_of(home: &Home, arguments: &[&str]) -> String {
    let output = home.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stderr)
}

/// Writes a file with one JSON value per line.
fn write(home: &Home, name: &str, lines: &[Value]) {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    fs::write(home.path(name), lines.join("\n")).expect("writes");
}

fn logins(home: &Home) -> Vec<String> {
    let accounts: Value = serde_json::from_str(&home.run_ok(&["users", "list", "--json"])).expect("JSON");
    let accounts = accounts.as_array().expect("a list").iter();
    accounts.map(|account| account["login"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn a_change_of_names_or_address_ends_sessions_that_hold_them() {
    let home = Home::new();
    home.add_user("bob");
    let server = home.start();
    let bob = server.login("bob").await;
    let changes: [(&[&str], &str, &str, &str); 4] = [
        (&["--email", "alice@example.com"], "alice", "email", "alice@example.com"),
        (&["--display-name", "Alice A."], "alice", "display_name", "Alice A."),
        (&["--email", ""], "alice", "email", ""),
        (&["--login", "Ann", "--email", "ann@example.com"], "ann", "login_name", "ann"),
    ];
    for (change, login, field, value) in changes {
        let session = server.login("alice").await;
        let generation = show(&home, "alice")["generation"].clone();
        let stderr = stderr_of(&home, &[&["users", "set", "alice"], change].concat());
        assert!(stderr.contains("its sessions have ended") && stderr.contains("profile-set"), "{stderr}");
        server.until_status(&session, "401 revoked").await;
        assert!(show(&home, login)["generation"].as_u64() > generation.as_u64(), "{change:?}");
        let session = server.login(login).await;
        let response = server.get("/auth/status", &session.cookie()).await.json();
        assert_eq!(response[field], value, "{change:?}");
        // The same command again changes nothing.
        let stderr = stderr_of(&home, &[&["users", "set", login], change].concat());
        assert!(stderr.contains("nothing was changed") && !stderr.contains("sealjar::audit"), "{stderr}");
        assert_eq!(show(&home, login)["generation"].as_u64(), generation.as_u64().map(|before| before + 1));
        assert_eq!(server.status(&session).await, "200", "{change:?}");
    }
    assert_eq!(login_verdict(&server, "alice", PASSWORD).await, "401 credentials", "no account has this name any more");
    assert_eq!(server.status(&bob).await, "200", "no other account is logged out");
}

#[tokio::test]
async fn a_change_without_effect_ends_no_session() {
    let home = Home::new();
    let server = home.start();
    let generation = || show(&home, "alice")["generation"].as_u64();
    for (change, ends_sessions) in [
        (&["roles", "alice", "b", "a"][..], true),
        (&["roles", "alice", "a", "b", "a"], false),
        (&["enable", "alice"], false),
        (&["roles", "alice"], true),
        (&["roles", "alice"], false),
    ] {
        let session = server.login("alice").await;
        let before = generation();
        let stderr = stderr_of(&home, &[&["users"], change].concat());
        assert_eq!(stderr.contains("nothing was changed"), !ends_sessions, "{change:?}: {stderr}");
        assert_eq!(stderr.contains("sealjar::audit"), ends_sessions, "{change:?}: {stderr}");
        assert_eq!(generation() > before, ends_sessions, "{change:?}");
        if ends_sessions {
            server.until_status(&session, "401 revoked").await;
        } else {
            assert_eq!(server.status(&session).await, "200", "{change:?}");
        }
    }
    for (change, is_different) in [("disable", true), ("disable", false), ("enable", true), ("enable", false)] {
        let stderr = stderr_of(&home, &["users", change, "alice"]);
        assert_eq!(stderr.contains("sealjar::audit"), is_different, "{change}: {stderr}");
        assert_eq!(stderr.contains("nothing was changed"), !is_different, "{change}: {stderr}");
    }
}

#[tokio::test]
async fn a_released_login_name_can_belong_to_another_account() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let stderr = stderr_of(&home, &["users", "set", "alice", "--login", "ann"]);
    assert!(stderr.contains(r#""login":"ann","old_login":"alice""#), "{stderr}");
    home.add_user("alice");
    let ann = show(&home, "ann");
    let alice = show(&home, "alice");
    assert_ne!(ann["sub"], alice["sub"]);
    server.until_status(&session, "401 revoked").await;
    let taken = home.run(&["users", "set", "ann", "--login", "alice", "--email", "a@b"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(text(&taken.stderr).contains("there is an account named alice already"), "{}", text(&taken.stderr));
    assert_eq!(show(&home, "ann"), ann, "no part of the command was carried out");
    let without_change = home.run(&["users", "set", "ann"]);
    assert_eq!(without_change.status.code(), Some(2), "{}", text(&without_change.stderr));
}

async fn hash_of(database: &mut SqliteConnection, login: &str) -> String {
    let query = sqlx::query("SELECT password_hash FROM account WHERE login_name = ?").bind(login);
    query.fetch_one(database).await.expect("an account").get(0)
}

#[tokio::test]
async fn accounts_move_to_another_store_with_their_passwords() {
    let home = Home::new();
    home.add_user("bob");
    home.run_ok(&["users", "disable", "bob"]);
    home.run_ok(&["users", "set", "alice", "--display-name", "J\u{f6}rg \"A\"", "--email", "alice@example.com"]);
    let mut database = database::open(&home, "sealjar.db").await;
    let mut accounts: Value = serde_json::from_str(&home.run_ok(&["users", "list", "--json"])).expect("JSON");
    for account in accounts.as_array_mut().expect("a list") {
        let login = account["login"].as_str().expect("text").to_owned();
        account["password_hash"] = hash_of(&mut database, &login).await.into();
    }
    fs::write(home.path("list.json"), accounts.to_string()).expect("writes");
    write(&home, "lines.jsonl", accounts.as_array().expect("a list"));
    for (file, store) in [("list.json", "sqlite://list.db"), ("lines.jsonl", "sqlite://lines.db")] {
        let stderr = stderr_of(&home, &["users", "import", file, "--store", store]);
        assert!(stderr.contains("every user of this machine can read"), "{stderr}");
        assert!(stderr.contains(r#""change":"accounts-imported""#) && stderr.contains(r#""accounts":2"#), "{stderr}");
        let server = home.start_with(&["--store", store], &[]);
        let session = server.login("alice").await;
        let status = server.get("/auth/status", &session.cookie()).await.json();
        assert_eq!(status["display_name"], "J\u{f6}rg \"A\"");
        assert_eq!(status["roles"], json!(["staff"]));
        assert_ne!(status["sub"], accounts[0]["sub"], "the import creates a new account");
        assert_eq!(login_verdict(&server, "bob", PASSWORD).await, "401 credentials", "the account is still disabled");
    }
    fs::set_permissions(home.path("list.json"), fs::Permissions::from_mode(0o600)).expect("changes");
    let stderr = stderr_of(&home, &["users", "import", "list.json", "--store", "sqlite://other.db"]);
    assert!(!stderr.contains("every user of this machine"), "{stderr}");
}

#[tokio::test]
async fn generated_passwords_are_printed_and_work() {
    let home = Home::new();
    let printed = home.run_ok(&["users", "add", "bob", "--generate", "--must-change"]);
    let bob = printed.strip_suffix('\n').expect("one line");
    write(&home, "new.jsonl", &[json!({"login": "carol"}), json!({"login": "dora", "password_hash": HASH})]);
    let printed = home.run_ok(&["users", "import", "new.jsonl", "--generate", "--must-change"]);
    let (login, carol) = printed.trim_end().split_once('\t').expect("one line");
    assert_eq!((login, bob.len(), carol.len()), ("carol", 24, 24));
    let server = home.start();
    assert_eq!(login_verdict(&server, "bob", bob).await, "403 must-change");
    assert_eq!(login_verdict(&server, "carol", carol).await, "403 must-change");
    assert_eq!(show(&home, "dora")["must_change"], false, "no password was generated for this account");
    assert!(!home.run_ok(&["users", "show", "dora"]).contains("$argon2id"), "a hash is never shown");
}

#[test]
fn a_password_that_cannot_be_printed_is_not_set() {
    let home = Home::new();
    write(&home, "new.jsonl", &[json!({"login": "carol"})]);
    for arguments in [&["users", "add", "bob", "--generate"][..], &["users", "import", "new.jsonl", "--generate"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a full device");
        let closed = std::io::pipe().expect("a pipe").1;
        for stdout in [Stdio::from(full), Stdio::from(closed), Stdio::null()] {
            let output = home.command(arguments).stdout(stdout).output().expect("the binary runs");
            assert_eq!(output.status.code(), Some(74), "{arguments:?}: {}", text(&output.stderr));
            assert!(text(&output.stderr).contains("nothing was changed"), "{}", text(&output.stderr));
        }
    }
    assert_eq!(logins(&home), ["alice"]);
}

#[test]
fn a_password_is_read_from_no_more_than_one_line() {
    let home = Home::new();
    let endless = fs::File::open("/dev/zero").expect("a device");
    let output = home.command(&["users", "add", "bob"]).stdin(endless).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("a password has at most 1024 bytes"), "{}", text(&output.stderr));
    let output = home.run_with_input(&["users", "passwd", "alice"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("standard input is empty"), "{}", text(&output.stderr));
    assert_eq!(logins(&home), ["alice"]);
}

#[test]
fn a_file_with_an_error_imports_nothing_and_names_the_line() {
    let home = Home::new();
    let big = HASH.replace("m=7168", "m=262144");
    let too_costly = HASH.replace("m=7168", "m=4294967295");
    let cases: [(Value, &str); 16] = [
        (json!({"login": "Bob ", "password_hash": HASH}), "login: a login name must not begin or end with whitespace"),
        (json!({"login": "b,b", "password_hash": HASH}), "login: a login name is 1 to 64"),
        (json!({"password_hash": HASH}), "login: it is missing"),
        (json!({"login": 7, "password_hash": HASH}), "login: it must be a text"),
        (json!({"login": "alice", "password_hash": HASH}), "login: the store already has an account named alice"),
        (json!({"login": "FIRST", "password_hash": HASH}), "login: first is already in line 1"),
        (json!({"login": "bob", "emial": "x", "password_hash": HASH}), "emial: unknown field; did you mean email?"),
        (json!({"login": "bob", "shoe": 43, "password_hash": HASH}), "shoe: unknown field; the fields are login,"),
        (json!({"login": "bob", "email": "bob", "password_hash": HASH}), "email: an email address is"),
        (
            json!({"login": "bob", "display_name": "a\u{1b}b", "password_hash": HASH}),
            "display_name: a display name has",
        ),
        (json!({"login": "bob", "roles": "a,b", "password_hash": HASH}), "roles: they must be a list"),
        (json!({"login": "bob", "disabled": "no", "password_hash": HASH}), "disabled: it must be true or false"),
        (json!({"login": "bob"}), "password_hash: it is missing"),
        (json!({"login": "bob", "password_hash": "$2b$10$abc"}), "password_hash: it is not an Argon2id hash"),
        (
            json!({"login": "bob", "password_hash": big}),
            "password_hash: the password memory of the server is too small to check it",
        ),
        (json!({"login": "bob", "password_hash": too_costly}), "password_hash: no server can check this hash"),
    ];
    for (account, fault) in cases {
        write(&home, "new.jsonl", &[json!({"login": "first", "password_hash": HASH}), account]);
        let output = home.run(&["users", "import", "new.jsonl"]);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(&format!("line 2: {fault}")), "{fault}: {message}");
        assert!(!message.contains("sealjar::audit"), "{message}");
    }
    let long = format!("[[{}0]]", "0,".repeat(20_000)).into_bytes();
    for (content, fault) in [
        (&b"{\"login\":\"bob\",}"[..], "line 1: the account is not well-formed JSON"),
        (b"\n\n[]", "the file has no accounts"),
        (b"", "the file has no accounts"),
        (b"[{\"login\":\"bob\"},", "account 2: the list is not well-formed JSON"),
        (b"\"bob\"", "line 1: the account is not a JSON object"),
        (b"{\"login\":\"b\xff\"}", "line 1: the account is not well-formed JSON"),
        (&[b'x'; 20_000], "line 1: the account is longer than 16384 bytes"),
        (b"{\"login\":\"bob\",\"password\":\"correct horse\"}", "password: plain passwords are not imported"),
        (br#"{"login":"bob","login":"carol"}"#, "line 1: login: this field occurs twice"),
        (br#"[{"login":"bob","disabled":true,"disabled":false}]"#, "account 1: disabled: this field occurs twice"),
        (br#"{"login":"bob","\u001b[2J":1,"\u001b[2J":1}"#, r"\u{1b}[2J: this field occurs twice"),
        (&long, "account 1: the account is longer than 16384 bytes"),
    ] {
        fs::write(home.path("new.jsonl"), content).expect("writes");
        let output = home.run(&["users", "import", "new.jsonl", "--generate"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(fault), "{fault}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty(), "no password is printed without an account");
    }
    let many: Vec<Value> = (0..1_000).map(|_| json!({"login": "x y"})).collect();
    write(&home, "new.jsonl", &many);
    let message = text(&home.run(&["users", "import", "new.jsonl", "--generate"]).stderr);
    assert!(message.contains("and 980 more") && message.lines().count() < 30, "{message}");
    assert_eq!(logins(&home), ["alice"]);
}

#[test]
fn accounts_are_imported_from_standard_input_with_any_line_ends() {
    let home = Home::new();
    let line = |login: &str| json!({"login": login, "password_hash": HASH}).to_string();
    let input = format!("\u{feff}{}\r\n\r\n{}", line("bob"), line("carol"));
    assert!(home.run_with_input(&["users", "import", "-"], &input).status.success());
    assert_eq!(logins(&home), ["alice", "bob", "carol"]);
}

#[test]
fn several_batches_are_imported_as_one_change() {
    let home = Home::new();
    let accounts: Vec<Value> = (0..1_201).map(|n| json!({"login": format!("u{n}"), "password_hash": HASH})).collect();
    write(&home, "new.jsonl", &accounts);
    let stderr = stderr_of(&home, &["users", "import", "new.jsonl"]);
    assert_eq!(
        stderr.lines().filter(|line| line.contains("sealjar::audit")).count(),
        1,
        "one event for the whole import: {stderr}"
    );
    assert_eq!(logins(&home).len(), 1_202);
}

#[test]
fn an_import_that_is_interrupted_changes_nothing() {
    let home = Home::with_settings(&["password.passes=40"]);
    let accounts: Vec<Value> = (0..2_000).map(|n| json!({"login": format!("u{n}")})).collect();
    write(&home, "new.jsonl", &accounts);
    let mut command = home.command(&["users", "import", "new.jsonl", "--generate"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let tasks = format!("/proc/{}/task", child.id());
    let is_hashing = |task: fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.starts_with("password-"))
    };
    wait_until("passwords are hashed", || fs::read_dir(&tasks).expect("the process runs").flatten().any(is_hashing));
    // SIGTERM and not SIGINT, because a process that a script starts in the background ignores SIGINT.
    let interrupted = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    assert!(interrupted.expect("kill runs").success());
    let output = child.wait().expect("the process exits");
    assert!(!output.success());
    assert_eq!(logins(&home), ["alice"]);
}

/// Width of the terminal in characters.
const COLUMNS: usize = 100;

/// Runs a command in a new terminal with this keyboard input.
fn at_terminal(home: &Home, arguments: &[&str], typed: &str) -> Output {
    let command = home.command(arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().expect("text"))).collect();
    let mut script = Command::new("script");
    let command = format!("stty cols {COLUMNS}; {}", words.join(" "));
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(home.path("."));
    let pipes = script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("script of util-linux runs");
    let _ = child.stdin.take().expect("piped").write_all(typed.as_bytes());
    child.wait_with_output().expect("the process exits")
}

#[test]
fn irreversible_commands_need_confirmation_only_at_a_terminal() {
    let home = Home::new();
    home.run_ok(&["users", "set", "alice", "--display-name", "Alice A."]);
    for (arguments, prompt) in [
        (&["users", "delete", "alice"][..], "delete the account alice (Alice A.)"),
        (&["revoke", "--everyone"], "(accounts: 1)? Everybody must log in again"),
    ] {
        for input in ["n\n", "\n", "yess\n"] {
            let output = at_terminal(&home, arguments, input);
            let shown = text(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {shown}");
            assert!(shown.contains(prompt) && shown.contains("nothing was changed"), "{shown}");
        }
        assert_eq!(logins(&home), ["alice"]);
    }
    assert_eq!(at_terminal(&home, &["revoke", "--everyone"], "y\n").status.code(), Some(0));
    let confirmed = at_terminal(&home, &["revoke", "--everyone", "--yes"], "");
    assert!(confirmed.status.success() && !text(&confirmed.stdout).contains("[y/N]"), "{}", text(&confirmed.stdout));
    assert_eq!(at_terminal(&home, &["users", "delete", "alice"], "YES\n").status.code(), Some(0));
    assert!(logins(&home).is_empty());
    home.add_user("alice");
    assert!(home.run(&["users", "delete", "alice"]).status.success(), "a script needs no confirmation");
}

#[test]
fn lines_of_the_list_fit_a_terminal() {
    let home = Home::new();
    let name = "A Very Long Name ".repeat(10);
    home.run_ok(&["users", "set", "alice", "--display-name", name.trim(), "--email", "alice@example.com"]);
    let shown = text(&at_terminal(&home, &["users", "list"], "").stdout);
    let width = |line: &str| line.trim_end().chars().count();
    let lines: Vec<&str> = shown.lines().filter(|line| line.contains("alice")).collect();
    assert!(lines.len() == 1 && lines[0].contains("alice@example.com"), "{shown}");
    assert!(width(lines[0]) <= COLUMNS && lines[0].contains('\u{2026}'), "{shown}");
    let whole = home.run_ok(&["users", "list"]);
    assert!(whole.contains(name.trim()), "{whole}");
}
