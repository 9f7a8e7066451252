//! Checks that the program accepts every command, flag, setting and configuration file in the documents.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::{collect, documents, fences, read, sealjar, spans};

#[test]
fn every_command_that_is_named_exists_with_its_flags() {
    let mut helps = BTreeMap::new();
    let mut checked = 0;
    for (path, text) in documents() {
        let (blocks, prose) = fences(&text);
        let shell = blocks.iter().filter(|(language, _)| ["sh", "console"].contains(language));
        let lines: Vec<String> = shell.flat_map(|(_, block)| commands(block)).chain(spans(&prose)).collect();
        for line in lines.iter().filter_map(|line| line.strip_prefix("sealjar ")) {
            check(line, &mut helps).unwrap_or_else(|reason| panic!("{}: sealjar {line}: {reason}", path.display()));
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} commands were found");
    for wrong in
        ["key list", "keys turn", "keys rotate --wait --force", "--sort serve", "users add alice --role=x --rolle y"]
    {
        assert!(check(wrong, &mut helps).is_err(), "{wrong}");
    }
}

#[test]
fn every_flag_target_metric_and_variable_named_alone_exists() {
    // Flags of the example `scale` and of Cargo.
    const FLAGS_OF_OTHER_PROGRAMS: [&str; 3] = ["--share", "--remembered", "--locked"];
    let flags = read("docs/reference/cli.md");
    let makefile = read("Makefile");
    let metrics = read("docs/reference/metrics.md");
    let settings = settings();
    let mut checked = 0;
    for (path, text) in documents() {
        for span in spans(&fences(&text).1) {
            let first = span.split(['=', ' ']).next().expect("split returns at least one part");
            if first.starts_with("--") && !FLAGS_OF_OTHER_PROGRAMS.contains(&first) {
                let known = flags.split([' ', '\n', ',', '[', ']']).any(|word| word == first);
                assert!(known, "{}: no command has the flag {first}", path.display());
            } else if let Some(target) = span.strip_prefix("make ") {
                assert!(makefile.contains(&format!("\n{target}:")), "{}: there is no `make {target}`", path.display());
            } else if first.starts_with("sealjar_") {
                let name = first.split('{').next().expect("split returns at least one part");
                let name = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                assert!(metrics.contains(&format!("`{name}`")), "{}: there is no metric {name}", path.display());
            } else if let Some((section, key)) = first.strip_prefix("SEALJAR_").and_then(|name| name.split_once("__")) {
                let setting = format!("{section}.{key}").to_lowercase();
                assert!(settings.contains(&setting), "{}: there is no setting {setting}", path.display());
            } else {
                continue;
            }
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} names were found");
}

/// Returns the commands of a block that run `sealjar`, each as one line without comments.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let parts = joined.lines().flat_map(|line| line.split(['|', ';', '&', '(']).collect::<Vec<_>>());
    let bare = parts
        .map(|part| part.split(" #").next().expect("split returns at least one part").trim().trim_start_matches("$ "));
    bare.filter(|part| part.starts_with("sealjar ")).map(|part| part.replace(['"', '\'', ')'], "")).collect()
}

/// Checks that the program has the command in a line, and that the command has the flags of the line.
fn check(line: &str, helps: &mut BTreeMap<String, (bool, String)>) -> Result<(), String> {
    const FLAGS_WITH_VALUE: [&str; 4] = ["--config", "--keys", "--store", "--set"];
    let mut command = Vec::new();
    let mut flags = Vec::new();
    let mut words = line.split_whitespace();
    let groups = ["keys", "users", "store"];
    while let Some(word) = words.next() {
        if word.starts_with("--") {
            flags.push(word.split('=').next().expect("split returns at least one part"));
            if FLAGS_WITH_VALUE.contains(&word) {
                let value = words.next();
                if let (true, Some((setting, _))) = (word == "--set", value.unwrap_or_default().split_once('=')) {
                    check_setting(setting)?;
                }
            }
        } else if command.is_empty() || command.len() == 1 && groups.contains(&command[0]) {
            if !word.starts_with(|char: char| char.is_ascii_lowercase()) {
                break;
            }
            command.push(word);
        }
    }
    let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    let (known, help) = helps.entry(command.join(" ")).or_insert_with(|| match arguments[..] {
        ["help", ..] => (true, String::new()),
        _ => sealjar(&arguments),
    });
    if !*known {
        return Err(format!("no such command: {help}"));
    }
    match flags.iter().find(|flag| !help.split([' ', '\n', ',']).any(|word| word == **flag)) {
        Some(flag) => Err(format!("no flag {flag}")),
        None => Ok(()),
    }
}

/// Checks that a setting exists.
fn check_setting(setting: &str) -> Result<(), String> {
    let known = settings();
    if known.contains(setting) { Ok(()) } else { Err(format!("no setting {setting}")) }
}

/// Returns the names of all settings, as `sealjar config` prints them.
fn settings() -> BTreeSet<String> {
    let (_, config) = sealjar(&["config"]);
    config.lines().map(|line| line.split_once(" = ").expect("a setting and its value").0.to_owned()).collect()
}

#[test]
fn every_setting_that_is_named_exists() {
    let known = settings();
    let sections: BTreeSet<&str> = known.iter().filter_map(|name| Some(name.split_once('.')?.0)).collect();
    // Some checks of `sealjar doctor` have names that look like settings.
    let mut doctor = Vec::new();
    collect("src", "rs", &mut doctor);
    doctor.retain(|path| path.to_str().expect("the text is UTF-8").contains("doctor"));
    let checks: String = doctor.into_iter().map(read).collect();
    let mut checked = 0;
    for (path, text) in documents() {
        let (_, prose) = fences(&text);
        for span in spans(&prose) {
            let name = span.split(" = ").next().expect("split returns at least one part").trim_start_matches("--set ");
            let name = name.split('=').next().expect("split returns at least one part");
            let Some((section, rest)) = name.split_once('.') else { continue };
            let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            if sections.contains(section) && plain(rest) && !["rs", "py"].contains(&rest) {
                assert!(
                    known.contains(name) || checks.contains(&format!("\"{name}\"")),
                    "{}: there is no setting {name}",
                    path.display()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 150, "only {checked} settings were found");
}

#[test]
fn the_program_accepts_every_example_of_a_configuration() {
    let mut accepted = 0;
    for (path, text) in documents() {
        for (_, block) in fences(&text).0.iter().filter(|(language, _)| *language == "toml") {
            // This block is for the Cargo.toml of an application, and is no configuration of Sealjar.
            if block.starts_with("[dependencies]") {
                continue;
            }
            let mut file = tempfile::NamedTempFile::new().expect("the file can be created");
            file.write_all(block.as_bytes()).expect("the file can be written");
            let (is_accepted, output) =
                sealjar(&["--config", file.path().to_str().expect("the text is UTF-8"), "config"]);
            assert!(is_accepted, "{}: {block}{output}", path.display());
            accepted += 1;
        }
    }
    assert!(accepted >= 4, "only {accepted} configurations were found");
}
