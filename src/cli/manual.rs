//! `sealjar man`: writes the manual pages.
//!
//! The description of a command comes from its definition, and the meanings of settings come from the comments of `config.rs`.
//! `make reference` writes the texts of this file to `docs/reference/` (`reference.rs`).

mod markdown;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Args, Command, ValueHint};
use clap_mangen::Man;
use clap_mangen::roff::Roff;

use super::error::CliError;
use crate::clock::UnixTime;
use crate::config::meanings;
use crate::config::reload::{RELOADABLE_GROUP, RELOADABLE_SETTINGS};

/// Name of the program at the foot of each page.
const SOURCE: &str = concat!("sealjar ", env!("CARGO_PKG_VERSION"));
/// Date on the pages: the date of this release, which `CHANGELOG.md` also has, or the planned date of the next release.
const RELEASED: &str = "2026-11-30";
/// Last second of the last year with four digits: 9999-12-31T23:59:59Z. Later dates are longer than [`RELEASED`].
const MAX_EPOCH_SECS: u64 = 253_402_300_799;
/// First line of the examples in the help of a command.
const EXAMPLES: &str = "Examples:";
/// Environment variable that replaces the date, in Unix seconds, for [reproducible
/// builds](https://reproducible-builds.org/specs/source-date-epoch/).
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";

/// Sections about environment variables and files, for the page of `sealjar`.
const ENVIRONMENT_AND_FILES: &str = "
# ENVIRONMENT

| variable | meaning |
|---|---|
| `SEALJAR_CONFIG` | path of the configuration file, if there is no `--config` |
| `SEALJAR_SECTION__NAME` | the setting `section.name`; `SEALJAR_SESSION__IDLE` is `session.idle` |
| `SEALJAR_SECTION__NAME_FILE` | path of a file with the value of this setting |
| `PGPASSWORD`, `PGPASSFILE` | the password for PostgreSQL, or a file with it |
| `NO_COLOR` | if it is set, the log has no colours on a terminal |
| `NOTIFY_SOCKET`, `WATCHDOG_USEC` | set by systemd; with them `sealjar serve` reports its state and feeds the watchdog |

# FILES

By default the keys are in `keys` and the database is `sealjar.db`, both in the working directory. There is no default for
the configuration file. The Debian package uses these paths:

| file | content |
|---|---|
| `/etc/sealjar/sealjar.toml` | the settings |
| `/var/lib/sealjar/keys` | the keys |
| `/var/lib/sealjar/sealjar.db` | accounts and revocations, with its `-wal` and `-shm` files |
| `/usr/share/doc/sealjar` | the documentation; messages name pages in its directory `docs` |
";

/// Behaviour that all commands have in common, for the page of `sealjar` and for `docs/reference/cli.md`.
pub(super) const NOTES: &str = "\
Data goes to standard output, and messages go to standard error. If the reader of standard output closes it early, as
`head` does, the command still does all its work, and its exit code stays the same. If writing to it fails for another
reason, such as a full disk, the exit code is 74. The command has done its work in this case too. If it failed as well,
both messages are on standard error, and the exit code is 74.

The options `--config`, `--keys`, `--store` and `--set` work with every command. Use the same configuration for the
commands as for the server, so that they work on the same keys and the same database.

A command that changes something writes an audit event to standard error, in the format of the server's log. With
`--set log.level=warn` it writes no event. `docs/reference/events.md` describes the events.

A running server applies changes of keys and accounts within a second. Every change of an account ends its sessions,
except `users add`, `users import` and `users enable`. If the account already has the requested values, the command
changes nothing, ends no session and writes no event.

Commands have no permissions. Every user who can write the key directory and the database is an administrator.

Files and directories that root creates get the owner of their directory. A server that runs as that user can then read
them.
";

/// Table of the exit codes, for the page of every command and for `docs/reference/cli.md`.
pub(super) const EXIT_CODES: &str = "\
| exit code | meaning |
|---|---|
| 0 | done; `inspect`: the token is accepted |
| 1 | failed; `inspect`: the token is refused. `keys status`: a server has or uses other keys, or no server is live; `keys revoke`: a server may still accept the key; `doctor`: there is a problem. `ready`: the server is not ready, or no server answers |
| 2 | wrong usage: an unknown command, option or value |
| 74 | a file, a database, a socket or standard output could not be used; `serve`: a logout could not be stored before the server stopped |
| 78 | the configuration cannot be used |
";

/// Description of the sources of settings, for `sealjar.toml(5)` and for `docs/reference/settings.md`.
pub(super) const SOURCES: &str = "\
A setting has a default. The configuration file overrides the default, an environment variable overrides the file, and a
flag overrides all.

The file is TOML of at most 1 MiB. `--config` or the variable `SEALJAR_CONFIG` names it; without a name no file is read.
It can be a pipe, as in `--config <(...)`, which must end within 5 s. The server reads a pipe only once, at the start.

The variable `SEALJAR_SESSION__IDLE` sets `session.idle`: capital letters, and two underscores in place of the dot.
Variables that Kubernetes sets for a Service, such as `SEALJAR_SERVICE_HOST` and `SEALJAR_ADMIN_PORT_8080_TCP_ADDR`, are
ignored. The flag `--set session.idle=20m` sets any setting, and some settings have a flag with a short name. In
variables and flags, the items of a list are separated by commas.

The variable `SEALJAR_STORE_FILE` names a file with the value of `store`, such as a secret of Docker or Kubernetes.
Every setting has such a variable. The file has at most 64 KiB of UTF-8, and one final newline is dropped. The items of
a list can be on separate lines. The server follows the file like the configuration file. Messages do not quote its
content.

An unknown setting is an error, also in a variable. So is an invalid value, and a value that contradicts another
setting. Two flags with different values for one setting are an error, and so are a variable and its `_FILE`.
`sealjar config` prints the settings in force and the source of each. `sealjar config --explain` also prints their
meaning.

A duration is a text such as `500ms`, `90s`, `30m`, `12h` or `14d`.

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
    /// Directory such as /usr/local/share/man; the pages go into man1 and man5 below it
    #[arg(value_hint = ValueHint::DirPath)]
    directory: PathBuf,
}

impl Manual {
    pub(super) fn run(&self, program: Command) -> Result<ExitCode, CliError> {
        let mut program = program.disable_help_subcommand(true);
        program.build();
        let date = date(env::var_os(SOURCE_DATE_EPOCH))?;
        for (section, name, page) in pages(&program, &date) {
            let directory = self.directory.join(section);
            let path = directory.join(name);
            let written = fs::create_dir_all(&directory).and_then(|()| fs::write(&path, page));
            written.map_err(|error| CliError::io(format!("cannot write {}: {error}", path.display())))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns the date for the pages. It does not depend on the day on which the command runs.
fn date(epoch: Option<OsString>) -> Result<String, CliError> {
    let Some(epoch) = epoch else {
        return Ok(RELEASED.to_owned());
    };
    let seconds = epoch.to_str().and_then(|text| text.parse().ok()).filter(|seconds| *seconds <= MAX_EPOCH_SECS);
    let seconds = seconds.ok_or_else(|| {
        let failure = CliError::usage(format!("{SOURCE_DATE_EPOCH} is not a time: {}", epoch.display()));
        failure.hint("set it to a number of seconds since 1970-01-01, or unset it")
    })?;
    Ok(UnixTime(seconds).to_string().chars().take(RELEASED.len()).collect())
}

/// Renders all pages. Returns each page with the directory of its section and the name of its file.
fn pages(program: &Command, date: &str) -> Vec<(&'static str, String, Vec<u8>)> {
    let mut pages = vec![("man5", "sealjar.toml.5".to_owned(), settings(date))];
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let man = Man::new(command.clone()).date(date).source(SOURCE);
        let mut page = Vec::new();
        render(&man, command, &mut page).expect("a write to a vector cannot fail");
        let mut rest = Roff::new();
        if let Some(examples) = command.get_after_help() {
            let examples = examples.to_string();
            let lines = examples.strip_prefix(EXAMPLES).unwrap_or(&examples);
            markdown::render(&mut rest, &format!("# EXAMPLES\n\n```\n{}\n```", lines.trim_start_matches('\n')));
        }
        markdown::render(&mut rest, &format!("# EXIT STATUS\n\n{EXIT_CODES}"));
        if command.get_name() == program.get_name() {
            markdown::render(&mut rest, &format!("# NOTES\n\n{NOTES}"));
            markdown::render(&mut rest, ENVIRONMENT_AND_FILES);
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

/// Writes the sections that come from the definition of a command. The examples are not among them.
fn render(man: &Man, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    man.render_title(page)?;
    man.render_name_section(page)?;
    let mut usage = Roff::new();
    markdown::render(&mut usage, &format!("# SYNOPSIS\n\n{}", synopsis(command)));
    page.extend(usage.render().into_bytes());
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    Ok(())
}

/// Returns the usage of a command, with the arguments that only this command has. The options of all commands are not listed.
fn synopsis(command: &Command) -> String {
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let arguments = command.get_arguments().filter(|argument| !argument.is_global_set() && !is_built_in(argument));
    let (positional, options): (Vec<_>, Vec<_>) = arguments.partition(|argument| argument.is_positional());
    let mut usage = format!("`{name}`");
    for argument in options.into_iter().chain(positional) {
        let text = argument.to_string();
        let repeated =
            if matches!(argument.get_action(), ArgAction::Append) && !text.ends_with("...") { "..." } else { "" };
        let is_required = argument.is_required_set();
        usage +=
            &if is_required || text.starts_with('[') { format!(" {text}") } else { format!(" [{text}]{repeated}") };
    }
    if command.has_subcommands() {
        usage += " <COMMAND>";
    }
    usage + " [global options]"
}

fn is_built_in(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version)
}

/// Renders the page of the settings.
fn settings(date: &str) -> Vec<u8> {
    let text = format!(
        "# NAME\n\nsealjar.toml - the settings of sealjar\n\n# DESCRIPTION\n\n{SOURCES}\n# CHANGES WITHOUT A RESTART\n\n{}\n\
         # SETTINGS\n\n{}# SEE ALSO\n\n`sealjar`(1), `sealjar-config`(1)",
        reloading(),
        meanings::tables()
    );
    let mut page = Roff::new();
    page.control("TH", ["sealjar.toml", "5", date, SOURCE]);
    markdown::render(&mut page, &text);
    page.render().into_bytes()
}

/// Returns the description of settings that take effect while the server runs, for `sealjar.toml(5)` and for
/// `docs/reference/settings.md`.
pub(super) fn reloading() -> String {
    let group = RELOADABLE_GROUP.trim_end_matches('.');
    let settings: String = RELOADABLE_SETTINGS.iter().map(|setting| format!("- `{setting}`\n")).collect();
    format!(
        "\
A running server reads its configuration file twice a second, and at once on SIGHUP. A change counts when two
reads in a row find the same content, because the file may be half written. After SIGHUP one read is enough. These
settings then take effect at once, all together:

{settings}- all settings of `{group}`

`keys.rotate_every` takes effect within a minute. All other settings take effect at the next start. A restart
ends no session. The log names the settings that changed, and the settings that take effect at the next start.

A file that cannot be used changes nothing. The log says why, and the metric `sealjar_config_last_reload_successful` is
0 until the file can be used again.
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_the_date_of_the_release_or_of_the_variable() {
        let heading = format!("## [{}] - ", env!("CARGO_PKG_VERSION"));
        let changelog = concat!(env!("CARGO_MANIFEST_DIR"), "/CHANGELOG.md");
        let changelog = fs::read_to_string(changelog).expect("CHANGELOG.md is readable");
        if let Some((_, rest)) = changelog.split_once(&heading) {
            assert!(rest.starts_with(RELEASED), "RELEASED in src/cli/manual.rs is {RELEASED}");
        }
        assert_eq!(date(None).ok().as_deref(), Some(RELEASED));
        for (epoch, expected) in [
            ("0", Some("1970-01-01")),
            ("1764547199", Some("2025-11-30")),
            ("253402300799", Some("9999-12-31")),
            ("253402300800", None),
            ("-1", None),
            ("", None),
            ("yesterday", None),
        ] {
            assert_eq!(date(Some(epoch.into())).ok().as_deref(), expected, "{epoch}");
        }
    }

    #[test]
    fn shows_the_values_of_arguments_in_the_synopsis() {
        let mut program = Command::new("sealjar").disable_help_subcommand(true).subcommand(
            Command::new("move")
                .arg(Arg::new("from").long("from").value_name("URL").required(true))
                .arg(Arg::new("role").long("role").value_name("ROLE").action(ArgAction::Append))
                .arg(Arg::new("json").long("json").action(ArgAction::SetTrue))
                .arg(Arg::new("everywhere").long("everywhere").global(true).action(ArgAction::SetTrue))
                .arg(Arg::new("login").value_name("LOGIN").required(true))
                .arg(Arg::new("names").value_name("NAME").num_args(0..)),
        );
        program.build();
        let command = program.find_subcommand("move").expect("the subcommand was added above");
        let expected = "`sealjar move` --from <URL> [--role <ROLE>]... [--json] <LOGIN> [NAME]... [global options]";
        assert_eq!(synopsis(command), expected);
    }
}
