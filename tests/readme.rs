//! Tests of the examples in the README: runs its commands against `serve --demo`, and compares its files with those in the
//! repository.
#![allow(missing_docs)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

const README: &str = include_str!("../README.md");
const TRANSCRIPT_MARK: &str = "<!-- tests/readme.rs replays this. -->\n```console\n";

/// Returns the commands of the marked blocks, each with its expected output lines.
fn transcript() -> Vec<(String, Vec<String>)> {
    let mut steps: Vec<(String, Vec<String>)> = Vec::new();
    for block in README.split(TRANSCRIPT_MARK).skip(1) {
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

/// Removes the values that differ between sessions from a line of output.
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
fn the_commands_in_the_readme_print_the_documented_output() {
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
    let mut text_after = |prefix: &str| {
        let line = lines.find(|line| line.trim_start().starts_with(prefix)).expect("the demo prints the line");
        line.trim_start()[prefix.len()..].trim().to_owned()
    };
    let origin = text_after("sealjar demo at");
    let password = text_after("password");

    let steps = transcript();
    assert!(steps.len() >= 6, "the transcript was found");
    for (command, expected) in steps {
        let shell_command = command.replace("http://localhost:8080", &origin).replace("PASSWORD", &password);
        let output =
            Command::new("sh").current_dir(directory.path()).args(["-c", &shell_command]).output().expect("sh runs");
        let printed: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(comparable).collect();
        let expected: Vec<String> = expected.iter().map(|line| comparable(line)).collect();
        assert_eq!(printed, expected, "{command}");
    }
}

/// Demo server that is stopped when it is dropped, also if the test fails.
struct Demo(Child);

impl Drop for Demo {
    /// Sends SIGINT, like Ctrl-C, so that the demo removes its directory.
    fn drop(&mut self) {
        let killed = Command::new("sh").arg("-c").arg(format!("kill -INT {}", self.0.id())).status();
        let status = self.0.wait();
        if !std::thread::panicking() {
            assert!(killed.expect("sh runs").success() && status.expect("the demo ends").success());
        }
    }
}

#[test]
fn the_caddyfile_in_the_readme_is_the_one_in_deploy() {
    let file = include_str!("../deploy/caddy/Caddyfile").lines().map(str::trim_end);
    let file: Vec<&str> = file.filter(|line| !line.is_empty() && !line.trim_start().starts_with('#')).collect();
    assert_eq!(marked_block("deploy/caddy/Caddyfile"), file);
}

#[test]
fn the_library_example_in_the_readme_is_in_examples() {
    let example: Vec<&str> = include_str!("../examples/embed.rs").lines().map(str::trim).collect();
    let in_readme: Vec<&str> = marked_block("examples/embed.rs").into_iter().map(str::trim).collect();
    assert!(in_readme.len() >= 8, "the block was found");
    for paragraph in in_readme.split(|line| line.is_empty()) {
        assert!(example.windows(paragraph.len()).any(|lines| lines == paragraph), "{paragraph:#?}");
    }
}

/// Returns the lines of the block in the README that is compared with `file`.
fn marked_block(file: &str) -> Vec<&'static str> {
    let mark = format!("<!-- tests/readme.rs compares this with {file}. -->\n");
    let (_, block) = README.split_once(&mark).expect("the mark");
    let (_, block) = block.split_once('\n').expect("the fence");
    block.split_once("\n```").expect("the block ends").0.lines().collect()
}

#[test]
fn running_has_the_default_timeouts_of_sessions() {
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
        let row_in_words = format!("| {session} session | {} | {} |\n", in_words(idle), in_words(absolute));
        for row in [row, row_in_words] {
            assert!(include_str!("../docs/running.md").contains(&row), "{row}");
        }
    }
}

/// `make bench` writes the figures in both files from the same results.
#[test]
fn the_figures_in_the_readme_are_those_in_performance_md() {
    let performance = include_str!("../docs/performance.md");
    let (_, table) = README.split_once("<!-- bench:begin -->\n").expect("the beginning");
    let (table, _) = table.split_once("<!-- bench:end -->\n").expect("the end");
    let results: Vec<&str> = table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit(" | ").next()).collect();
    let mut count = 0;
    // In the README, the startup time is rounded to tenths of a second, so it is not compared.
    for result in results.into_iter().filter(|result| result.starts_with(|first: char| first.is_ascii_digit())) {
        let figure = result.strip_suffix(" ns").unwrap_or(result);
        let is_rounded = result.ends_with(" s");
        assert!(is_rounded || performance.contains(&format!("| {figure} |")), "docs/performance.md lacks {result}");
        count += 1;
    }
    assert!(count > 6, "only {count} figures were found");
}

/// An application with two versions of Salvo does not compile, and the messages of the compiler do not name the reason.
#[test]
fn the_documented_dependencies_have_the_salvo_of_this_crate() {
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
            let own_version = version(&own[name]);
            let documented_version = version(dependency);
            assert!(
                own_version == documented_version || own_version.starts_with(&format!("{documented_version}.")),
                "{name}: {documented_version} instead of {own_version}"
            );
        }
        assert_eq!(dependencies["salvo"]["version"], own["salvo"]["version"]);
        let chosen = dependencies["sealjar"]["features"][0].as_str().expect("a feature");
        assert!(features.get(chosen).is_some(), "{chosen}");
    }
}
