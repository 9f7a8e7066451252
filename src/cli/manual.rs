//! `sealjar man`: the manual pages. What a command takes comes from its definition, the settings and the exit codes from the
//! README, so that all of it is said once.

mod markdown;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::Roff;

use super::error::CliError;

const README: &str = include_str!("../../README.md");

/// As the foot of each page names the program.
const SOURCE: &str = concat!("sealjar ", env!("CARGO_PKG_VERSION"));
/// An empty argument of a macro: a page is of a version, and of no day.
const NO_DATE: &str = "\"\"";

/// What the page of `sealjar` says beyond that of each command.
const PLACES: &str = "
# ENVIRONMENT

| variable | |
|---|---|
| `SEALJAR_CONFIG` | the file with the settings, where `--config` names none |
| `SEALJAR_SECTION__NAME` | the setting `section.name`, such as `SEALJAR_SESSION__IDLE` |
| `PGPASSWORD`, `PGPASSFILE` | the password for PostgreSQL, or the file that has it |
| `NO_COLOR` | the log has no colours on a terminal either |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC` | set by systemd, to be told by `sealjar serve` when it is ready, when it stops, and that it lives |

# FILES

None is read unless it is named. These are the places that the Debian package and its unit name:

| file | |
|---|---|
| `/etc/sealjar/sealjar.toml` | the settings |
| `/var/lib/sealjar/keys` | the sealing keys |
| `/var/lib/sealjar/sealjar.db` | accounts and revocations, beside its `-wal` and `-shm` |
";

#[derive(Args, Debug)]
pub(super) struct Manual {
    /// Such as /usr/local/share/man: they go into man1 and man5 below it
    directory: PathBuf,
}

impl Manual {
    pub(super) fn run(&self, program: Command) -> Result<ExitCode, CliError> {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        for (section, name, page) in pages(&program) {
            let directory = self.directory.join(section);
            let path = directory.join(name);
            let written = fs::create_dir_all(&directory).and_then(|()| fs::write(&path, page));
            written.map_err(|error| CliError::io(format!("cannot write {}: {error}", path.display())))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Each page with its section's directory and its file's name.
fn pages(program: &Command) -> Vec<(&'static str, String, Vec<u8>)> {
    let mut pages = vec![("man5", "sealjar.toml.5".to_owned(), settings())];
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let man = Man::new(command.clone()).date(NO_DATE).source(SOURCE);
        let mut page = Vec::new();
        man.render(&mut page).expect("a vector takes whatever is written");
        let mut rest = Roff::new();
        markdown::render(&mut rest, &format!("# EXIT STATUS\n\n{}", exit_codes()));
        if command.get_name() == program.get_name() {
            markdown::render(&mut rest, PLACES);
            markdown::render(&mut rest, "# SEE ALSO\n\n`sealjar.toml`(5)");
        } else {
            markdown::render(&mut rest, "# SEE ALSO\n\n`sealjar`(1), `sealjar.toml`(5)");
        }
        page.extend(rest.render().into_bytes());
        pages.push(("man1", man.get_filename(), page));
        commands.extend(command.get_subcommands());
    }
    pages
}

fn settings() -> Vec<u8> {
    let text = format!(
        "# NAME\n\nsealjar.toml - the settings of sealjar\n\n# DESCRIPTION\n{}\n# SEE ALSO\n\n`sealjar`(1), `sealjar-config`(1)",
        section("## Settings")
    );
    let mut page = Roff::new();
    page.control("TH", ["sealjar.toml", "5", NO_DATE, SOURCE]);
    markdown::render(&mut page, &text);
    page.render().into_bytes()
}

/// The README's table of exit codes.
fn exit_codes() -> &'static str {
    let commands = section("## The command line");
    let table =
        commands.find("| exit code").expect("the README has a table of exit codes; a transcript reads the pages");
    &commands[table..]
}

/// What the README says under this heading.
fn section(heading: &str) -> &'static str {
    let (_, from) =
        README.split_once(&format!("\n{heading}\n")).expect("a heading of the README; a transcript reads the pages");
    from.split("\n## ").next().unwrap_or(from)
}
