//! The README's examples work: its transcript is replayed against `serve --demo`, and its files are those in the repository.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

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
    let mut server = Demo(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs"));
    let mut lines = BufReader::new(server.0.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut after = |prefix: &str| {
        let line = lines.find(|line| line.trim_start().starts_with(prefix)).expect("the demo prints it");
        line.trim_start()[prefix.len()..].trim().to_owned()
    };
    let origin = after("sealjar demo at");
    let password = after("password");

    let steps = transcript();
    assert!(steps.len() >= 6, "the transcript was found");
    for (command, expected) in steps {
        let real = command.replace("http://localhost:8080", &origin).replace("PASSWORD", &password);
        let output = Command::new("sh").current_dir(directory.path()).args(["-c", &real]).output().expect("sh runs");
        let printed: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(comparable).collect();
        let expected: Vec<String> = expected.iter().map(|line| comparable(line)).collect();
        assert_eq!(printed, expected, "{command}");
    }
}

/// A demo that is stopped when it is dropped, also by a test that fails.
struct Demo(Child);

impl Drop for Demo {
    /// Sends the signal of Ctrl-C, so that the demo removes its directory.
    fn drop(&mut self) {
        let stopped = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.0.id())).status();
        let ended = self.0.wait();
        if !std::thread::panicking() {
            assert!(stopped.expect("sh runs").success() && ended.expect("it ends").success());
        }
    }
}

#[test]
fn readmes_caddyfile_is_the_one_in_deploy() {
    let file = include_str!("../deploy/caddy/Caddyfile").lines().map(str::trim_end);
    let file: Vec<&str> = file.filter(|line| !line.is_empty() && !line.trim_start().starts_with('#')).collect();
    assert_eq!(marked("deploy/caddy/Caddyfile"), file);
}

#[test]
fn readmes_library_example_is_in_the_example() {
    let example: Vec<&str> = include_str!("../examples/embed.rs").lines().map(str::trim).collect();
    let shown: Vec<&str> = marked("examples/embed.rs").into_iter().map(str::trim).collect();
    assert!(shown.len() >= 8, "the block was found");
    for paragraph in shown.split(|line| line.is_empty()) {
        assert!(example.windows(paragraph.len()).any(|lines| lines == paragraph), "{paragraph:#?}");
    }
}

/// The lines of the block that is compared with a file.
fn marked(file: &str) -> Vec<&'static str> {
    let mark = format!("<!-- tests/readme.rs compares this with {file}. -->\n");
    let (_, block) = README.split_once(&mark).expect("the mark");
    let (_, block) = block.split_once('\n').expect("the fence");
    block.split_once("\n```").expect("the block ends").0.lines().collect()
}

#[test]
fn running_says_how_long_sessions_last_by_default() {
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
        let in_words = |setting| default(setting).replace('m', " minutes").replace('h', " hours").replace('d', " days");
        let beside_the_limits = format!("| {session} session | {} | {} |\n", in_words(idle), in_words(absolute));
        for row in [row, beside_the_limits] {
            assert!(include_str!("../docs/running.md").contains(&row), "{row}");
        }
    }
}

/// `make bench` writes both from the same figures.
#[test]
fn readmes_figures_are_those_of_the_page_of_performance() {
    let performance = include_str!("../docs/performance.md");
    let (_, table) = README.split_once("<!-- bench:begin -->\n").expect("the beginning");
    let (table, _) = table.split_once("<!-- bench:end -->\n").expect("the end");
    let results: Vec<&str> = table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next()).collect();
    let mut found = 0;
    // The time of a start is rounded to tenths of a second in the README.
    for result in results.into_iter().filter(|result| result.starts_with(|first: char| first.is_ascii_digit())) {
        let figure = result.strip_suffix(" ns").unwrap_or(result);
        let is_rounded = result.ends_with(" s");
        assert!(is_rounded || performance.contains(&format!("| {figure} |")), "docs/performance.md lacks {result}");
        found += 1;
    }
    assert!(found > 6, "only {found} were found");
}

/// Two versions of Salvo in one application do not compile together, and the compiler does not say why.
#[test]
fn the_lines_for_an_application_fit_this_crates_salvo() {
    let table = |text: &str, name: &str| toml::from_str::<toml::Table>(text).expect("TOML")[name].clone();
    let own = table(include_str!("../Cargo.toml"), "dependencies");
    let features = table(include_str!("../Cargo.toml"), "features");
    let page = include_str!("../docs/library.md");
    let documented = include_str!("../src/embed.rs").replace("//! ", "").replace("//!", "");
    for text in [page, &documented] {
        let (_, lines) = text.split_once("```toml\n").expect("the lines");
        let (lines, _) = lines.split_once("```").expect("the end");
        let dependencies = table(lines, "dependencies");
        for (name, dependency) in
            dependencies.as_table().expect("a table").iter().filter(|(name, _)| *name != "sealjar")
        {
            let version = |dependency: &toml::Value| dependency["version"].as_str().expect("a version").to_owned();
            let ours = version(&own[name]);
            let theirs = version(dependency);
            assert!(ours == theirs || ours.starts_with(&format!("{theirs}.")), "{name}: {theirs} and not {ours}");
        }
        assert_eq!(dependencies["salvo"]["version"], own["salvo"]["version"]);
        let chosen = dependencies["sealjar"]["features"][0].as_str().expect("a feature");
        assert!(features.get(chosen).is_some(), "{chosen}");
    }
}
