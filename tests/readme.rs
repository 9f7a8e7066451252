//! The README's transcript, replayed as printed against `serve --demo`.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

const README: &str = include_str!("../README.md");
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
fn readme_names_every_setting_and_every_command() {
    let sealjar = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_sealjar")).args(arguments).output().expect("the binary runs");
        String::from_utf8(output.stdout).expect("text")
    };
    for line in sealjar(&["config"]).lines() {
        let (setting, _) = line.split_once(" = ").expect("a setting and its value");
        // Some share a row: the section with the first of them.
        let (section, name) = setting.split_once('.').unwrap_or(("", setting));
        let named = README.contains(&format!("`{setting}`")) || README.contains(&format!("`{name}`"));
        assert!(named && README.contains(section), "{setting} is not in the README");
    }
    for (group, arguments) in [("", &["--help"][..]), ("keys ", &["keys", "--help"]), ("users ", &["users", "--help"])]
    {
        let help = sealjar(arguments);
        let (_, commands) = help.split_once("Commands:\n").expect("a list of commands");
        for line in commands.lines().take_while(|line| !line.is_empty()) {
            let name = line.split_whitespace().next().expect("a name");
            let named = ["`", " "].iter().any(|end| README.contains(&format!("`{group}{name}{end}")));
            let shared = README.contains(&format!("· `{name}`"));
            assert!(
                name == "help" || ["keys", "users"].contains(&name) || named || shared,
                "{group}{name} is not in the README"
            );
        }
    }
}
