//! `sealjar users import`: adds many accounts from a file, all of them or none.
//!
//! The whole file is checked first, and every fault is reported with its line. Then passwords are generated and hashed, on all
//! cores, without a lock on the database. At the end one transaction adds the accounts. Until its commit nothing has changed, so
//! the command can be interrupted at any time.

mod faults;
mod file;
mod hashing;
mod record;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use zeroize::Zeroizing;

use super::password;
use crate::account::Password;
use crate::account::password::Budget;
use crate::bounded_file::{BoundedFile, ReadError};
use crate::cli::audit::{Change, Changed, record as record_event};
use crate::cli::error::CliError;
use crate::cli::output::{self, errln, outln};
use crate::clock::Now;
use crate::config::settings::Settings;
use crate::store::Store;
use crate::store::records::Account;
use faults::{Faults, Place};
use record::{Hash, Hashing, Record};

/// Maximum length of the file. An account has about 300 bytes.
const MAX_BYTES: u64 = 64 << 20;
/// Maximum number of accounts. A larger transaction would delay logouts for too long.
const MAX_ACCOUNTS: usize = 50_000;
/// Permission bit with which users other than the owner and the group may read a file.
const OTHERS_READ: u32 = 0o004;

/// Hint for an error of the transaction. If the connection is lost during the commit, only the database shows whether the
/// accounts were added.
const CHECK_ACCOUNTS: &str = "`sealjar users list` shows whether the accounts were added; if not, discard the printed passwords and run the same command again";

#[derive(Args, Debug)]
pub(in crate::cli) struct Import {
    /// File with one JSON object per line, or with the output of `sealjar users list --json`; - is standard input
    file: PathBuf,
    /// Generate a random password for each account without `password_hash`, and print login and password, separated by a tab
    #[arg(long)]
    generate: bool,
    /// Users with a generated password must choose another one at the next login
    #[arg(long, requires = "generate")]
    must_change: bool,
}

impl Import {
    pub(super) async fn run(self, settings: &Settings) -> Result<ExitCode, CliError> {
        let text = read(&self.file)?;
        let budget = Budget::new(settings.cost, settings.password_threads, settings.password_memory_kib);
        let memory_kib = settings.password_memory_kib;
        let records = parse(&text, Hashing { budget, memory_kib, generate: self.generate })?;
        drop(text);
        let (store, is_created) = Store::open_or_create(&settings.store, settings.store_limits).await?;
        if is_created {
            errln!("created the database {}", settings.store_name);
        }
        refuse_existing(&records, &store.accounts().await?)?;

        let passwords: Vec<Option<Zeroizing<String>>> =
            records.iter().map(|record| matches!(record.hash, Hash::Generate).then(password::generate)).collect();
        let new: Vec<Password> = passwords.iter().flatten().map(|text| Password::new(text.clone())).collect();
        if !new.is_empty() {
            // This is checked before hashing, which can take minutes.
            output::check_delivered()?;
        }
        let mut hashes = hashing::hash_all(settings, &new)?.into_iter();
        // The passwords are printed before the accounts are added. If the output fails, no account with an unknown password
        // remains.
        for (record, password) in records.iter().zip(&passwords) {
            if let Some(password) = password {
                outln!("{}\t{}", record.profile.login_name, **password);
            }
        }
        if !new.is_empty() {
            output::check_delivered()?;
        }

        let now = Now::read().wall;
        let account = |record: Record| {
            let (hash, is_generated) = match record.hash {
                Hash::Given(hash) => (hash, false),
                Hash::Generate => (hashes.next().expect("there is one hash for each password"), true),
            };
            let must_change = record.must_change || (is_generated && self.must_change);
            Account { disabled: record.disabled, ..Account::new(record.profile, hash, must_change, now) }
        };
        let accounts: Vec<Account> = records.into_iter().map(account).collect();
        store.import(&accounts).await.map_err(|error| {
            let failure = CliError::from(error);
            if new.is_empty() { failure } else { failure.hint(CHECK_ACCOUNTS) }
        })?;
        record_event(
            settings,
            Change::AccountsImported,
            Changed::Accounts { store: &settings.store_name, count: accounts.len() },
        );
        errln!("added accounts: {} (with generated passwords: {})", accounts.len(), new.len());
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads a regular file or standard input, up to [`MAX_BYTES`].
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let shown = path.display();
    let failed = |error: ReadError| {
        let failure = CliError::io(format!("cannot read {shown}: {error}"));
        match error {
            ReadError::NotRegular => {
                failure.hint("to read from a pipe, use - as the file, and connect the pipe to standard input")
            }
            ReadError::TooLong { .. } => failure.hint("import it in several files"),
            ReadError::Io(_) => failure.hint("name a file with one account per line, or - for standard input"),
            _ => failure,
        }
    };
    if path == Path::new("-") {
        let mut text = Zeroizing::new(Vec::new());
        let read = io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut text);
        read.map_err(|error| CliError::io(format!("cannot read standard input: {error}")))?;
        if text.len() as u64 > MAX_BYTES {
            let failure = CliError::io(format!("standard input is longer than {MAX_BYTES} bytes; nothing was changed"));
            return Err(failure.hint("import it in several parts"));
        }
        return Ok(text);
    }
    let file = BoundedFile::open(path, MAX_BYTES).map_err(failed)?;
    let mode = file.metadata().permissions().mode();
    let text = file.read().map_err(failed)?;
    if mode & OTHERS_READ != 0 && memchr::memmem::find(&text, b"password_hash").is_some() {
        errln!(
            "warning: every user of this machine can read {shown}, which contains password hashes; run: chmod 600 {shown}"
        );
    }
    Ok(text)
}

/// Returns the records of the file, or an error that lists all faults.
fn parse(text: &[u8], hashing: Hashing) -> Result<Vec<Record>, CliError> {
    let mut faults = Faults::default();
    let mut records: Vec<Record> = Vec::new();
    let mut places: HashMap<String, Place> = HashMap::new();
    file::for_each(text, &mut faults, |place, value, faults| {
        if records.len() > MAX_ACCOUNTS {
            return;
        }
        let Some(record) = Record::parse(place, value, hashing, faults) else {
            return;
        };
        let name = record.profile.login_name.to_string();
        match places.get(&name) {
            Some(first) => faults.add(place, &format!("login: {name} is already in {first}; remove one of the two")),
            None => drop(places.insert(name, place)),
        }
        records.push(record);
    });
    faults.check()?;
    if records.len() > MAX_ACCOUNTS {
        let failure = CliError::failed(format!("the file has more than {MAX_ACCOUNTS} accounts; nothing was changed"));
        return Err(failure.hint("import it in several files"));
    }
    if records.is_empty() {
        let failure = CliError::failed("the file has no accounts; nothing was changed");
        return Err(failure.hint("name a file with one JSON object per account; docs/accounts.md describes the fields"));
    }
    Ok(records)
}

/// Returns an error if the store already has an account with a login name of the file.
fn refuse_existing(records: &[Record], existing: &[Account]) -> Result<(), CliError> {
    let names: HashSet<&str> = existing.iter().map(|account| account.profile.login_name.as_str()).collect();
    let mut faults = Faults::default();
    for record in records.iter().filter(|record| names.contains(record.profile.login_name.as_str())) {
        let name = &record.profile.login_name;
        faults.add(
            record.place,
            &format!("login: the store already has an account named {name}; remove it from the file, or rename it"),
        );
    }
    faults.check()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::password::Cost;

    #[test]
    fn accepts_at_most_fifty_thousand_accounts() {
        let budget = Budget::new(Cost { memory_kib: 19_456, passes: 2, lanes: 1 }, 1, 262_144);
        let hashing = Hashing { budget, memory_kib: 262_144, generate: true };
        let file = |count: usize| -> String { (0..count).map(|n| format!("{{\"login\":\"a{n}\"}}\n")).collect() };
        assert_eq!(parse(file(MAX_ACCOUNTS).as_bytes(), hashing).map(|records| records.len()).ok(), Some(MAX_ACCOUNTS));
        let refused = parse(file(MAX_ACCOUNTS + 1).as_bytes(), hashing).expect_err("one account too many");
        assert!(refused.text().contains("more than 50000 accounts"), "{}", refused.text());
    }
}
