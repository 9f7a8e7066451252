//! `sealjar man`: the manual pages. The arguments of a command come from its definition, and the settings from the comments of
//! `config.rs`.

mod markdown;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::Roff;

use super::error::CliError;
use crate::config::meanings;
use crate::config::reload::AT_ONCE;

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

/// The exit codes, as they are in the README too.
const EXIT_CODES: &str = "\
| exit code | |
|---|---|
| 0 | done; for `inspect`, the token is accepted |
| 1 | it failed; for `inspect`, the token is refused; for `keys status`, a server's keys differ; for `doctor`, something is wrong |
| 2 | usage |
| 74 | a file, a database, a socket or standard output could not be used |
| 78 | the configuration cannot be used |
";

/// Where settings come from.
const SOURCES: &str = "
A flag wins over the environment, the environment over the file, the file over the default. The file is TOML, named by
`--config` or `SEALJAR_CONFIG`. In the environment `session.idle` is `SEALJAR_SESSION__IDLE`, and lists are separated by
commas. `--set` takes any setting. Durations are texts such as `500ms`, `90s`, `30m`, `12h`, `14d`.

```toml
store = \"sqlite:///var/lib/sealjar/sealjar.db\"

[http]
public_origins = [\"https://app.example.com\"]

[session]
idle = \"20m\"
```
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
        markdown::render(&mut rest, &format!("# EXIT STATUS\n\n{EXIT_CODES}"));
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

/// The page of the settings.
fn settings() -> Vec<u8> {
    let at_once = AT_ONCE.map(|setting| format!("`{setting}`")).join(", ");
    let text = format!(
        "# NAME\n\nsealjar.toml - the settings of sealjar\n\n# DESCRIPTION\n{SOURCES}\nA running server follows its file. \
         These take effect at once: {at_once}, and all of `throttle`. All others wait for the next start.\n\n{}\n\
         # SEE ALSO\n\n`sealjar`(1), `sealjar-config`(1)",
        meanings::table()
    );
    let mut page = Roff::new();
    page.control("TH", ["sealjar.toml", "5", NO_DATE, SOURCE]);
    markdown::render(&mut page, &text);
    page.render().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_table_of_exit_codes() {
        assert!(include_str!("../../README.md").contains(EXIT_CODES));
    }
}
