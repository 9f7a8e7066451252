//! What the documents say holds: the README's transcript, replayed as printed against `serve --demo`; its lifetimes; and
//! SECURITY.md's table of ASVS, which names the tests that prove it.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

const README: &str = include_str!("../README.md");
const SECURITY: &str = include_str!("../SECURITY.md");
const MARK: &str = "<!-- tests/readme.rs replays this. -->\n```console\n";

/// The commands of the marked blocks, each with the lines it is said to print.
fn transcript() -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for block in README.split(MARK).skip(1) {
        let (block, _) = block.split_once("\n```").expect("the block ends");
        for line in block.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix("$ ") {
                Some(command) => steps.push((command.to_owned(), Vec::new())),
                None => steps.last_mut().expect("a command comes first").1.push(line.to_owned()),
            }
        }
    }
    steps
}

/// A line without what differs from session to session.
fn comparable(line: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    for name in ["sid", "sub", "authenticated_at", "idle_deadline", "absolute_deadline", "csrf_token"] {
        if let Some(value) = fields.get_mut(name) {
            assert!(value.is_u64() || value.as_str().is_some_and(|text| !text.is_empty()), "{name} is {value}");
            *value = Value::Null;
        }
    }
    Value::Object(fields).to_string()
}

#[test]
fn readme_transcript_is_what_happens() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_sealjar"));
    command.current_dir(directory.path()).args([
        "serve",
        "--demo",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    let mut server = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut after = |prefix: &str| {
        let line = lines.find(|line| line.trim_start().starts_with(prefix)).expect("the demo prints it");
        line.trim_start()[prefix.len()..].trim().to_owned()
    };
    let (origin, password) = (after("sealjar demo at"), after("password"));

    let steps = transcript();
    assert!(steps.len() >= 6, "the transcript was found");
    for (command, expected) in steps {
        let real = command.replace("http://localhost:8080", &origin).replace("PASSWORD", &password);
        let output = Command::new("sh").current_dir(directory.path()).args(["-c", &real]).output().expect("sh runs");
        let printed: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(comparable).collect();
        let expected: Vec<String> = expected.iter().map(|line| comparable(line)).collect();
        assert_eq!(printed, expected, "{command}");
    }
    // By the signal of Ctrl-C, so that the demo's directory goes.
    let stopped = Command::new("sh").arg("-c").arg(format!("kill -INT {}", server.id())).status();
    assert!(stopped.expect("sh runs").success());
    server.wait().expect("it ends");
}

#[test]
fn readme_says_how_long_sessions_last_by_default() {
    let output = Command::new(env!("CARGO_BIN_EXE_sealjar")).arg("config").output().expect("the binary runs");
    let config = String::from_utf8(output.stdout).expect("text");
    let default = |setting: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(&format!("session.{setting} = \"")));
        line.and_then(|line| line.split_once('"')).unwrap_or_else(|| panic!("no {setting} in {config}")).0
    };
    for (session, idle, absolute) in
        [("ordinary", "idle", "absolute"), ("remembered", "remembered_idle", "remembered_absolute")]
    {
        let row = format!("| {session} | `{}` | `{}` |\n", default(idle), default(absolute));
        assert!(README.contains(&row), "{row}");
    }
}

/// The requirements of ASVS 5.0.0 that the table answers, each section with the levels of its requirements in order.
const ASVS: [(&str, &[u8]); 9] = [
    ("3.3", &[1, 2, 2, 2, 3]),
    ("3.5", &[1, 1, 1, 2, 2, 3, 3, 3]),
    ("6.3", &[1, 1, 2, 2, 3, 3, 3, 3]),
    ("7.1", &[2, 2, 2]),
    ("7.2", &[1, 1, 1, 1]),
    ("7.3", &[2, 2]),
    ("7.4", &[1, 1, 2, 2, 2]),
    ("7.5", &[2, 2, 3]),
    ("7.6", &[2, 2]),
];

/// The cells of the table's rows: id with level, requirement, how, test.
fn asvs_rows() -> Vec<[&'static str; 4]> {
    let (_, section) = SECURITY.split_once("\n## ASVS 5.0\n").expect("the section");
    let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id"));
    let cells = |row: &'static str| row.trim_matches(['|', ' ']).split(" | ").collect::<Vec<_>>();
    rows.map(|row| cells(row).try_into().unwrap_or_else(|_| panic!("not four cells: {row}"))).collect()
}

#[test]
fn the_asvs_table_has_every_requirement_once_with_its_level() {
    let mut expected: Vec<String> = vec!["3.7.2 (L2)".to_owned()];
    for (section, levels) in ASVS {
        expected.extend(levels.iter().zip(1..).map(|(level, number)| format!("{section}.{number} (L{level})")));
    }
    expected.sort();
    let found: Vec<&str> = asvs_rows().iter().map(|[id, ..]| *id).collect();
    assert_eq!(found, expected, "in order, and no other");
}

#[test]
fn the_asvs_table_agrees_with_the_lists_above_it() {
    const VERDICTS: [&str; 4] = ["Met", "In part", "Not met", "Does not apply"];
    for verdict in VERDICTS {
        let said = format!("**{verdict}.** ");
        let rows = asvs_rows().into_iter().filter(|[_, _, how, _]| how.starts_with(&said));
        let ids: Vec<&str> = rows.map(|[id, ..]| id.split(' ').next().expect("an id")).collect();
        let listed = verdict == "Met" || SECURITY.contains(&format!("\n{verdict}: {}.\n", ids.join(", ")));
        assert!(listed, "{verdict}: {ids:?}");
    }
    for [id, requirement, how, tests] in asvs_rows() {
        let verdict = VERDICTS.iter().find(|verdict| how.starts_with(&format!("**{verdict}.** ")));
        let verdict = verdict.unwrap_or_else(|| panic!("{id}: no verdict"));
        assert!(!requirement.is_empty() && how.len() > verdict.len() + 10, "{id}");
        let proven = tests.contains("::");
        assert!(proven || !["Met", "In part"].contains(verdict), "{id} is {verdict}, and no test is named");
    }
}

#[test]
fn every_test_that_the_asvs_table_names_exists() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for [id, _, _, tests] in asvs_rows() {
        for name in tests.split('`').filter(|text| text.contains("::")) {
            let (file, test) = name.split_once("::").expect("it has them");
            let source =
                std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{id}: {file}: {error}"));
            assert!(is_test(&source, file, test), "{id}: {file} has no test {test}");
            named += 1;
        }
    }
    assert!(named > 50, "only {named} were found");
    assert!(!is_test(README, "README.md", "x") && !is_test("fn helper() {}", "a.rs", "helper"));
}

/// Whether a source has a function of this name that is run as a test.
fn is_test(source: &str, file: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim_start).collect();
    if file.ends_with(".py") {
        return name.starts_with("test_") && lines.iter().any(|line| line.starts_with(&format!("def {name}(")));
    }
    let head = format!("fn {name}(");
    let found = lines.iter().position(|line| line.starts_with(&head) || line.starts_with(&format!("async {head}")));
    let attribute = |line: &&&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    found.is_some_and(|at| {
        lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(|line| attribute(&line))
    })
}
