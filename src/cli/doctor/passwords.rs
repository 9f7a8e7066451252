//! Checks of passwords: cost of guessing them from a stolen database, memory for hashing, and rate limits of logins.

use crate::account::password::{Budget, Cost, stored_cost};
use crate::cli::users::calibrate::measure;
use crate::config::{Config, PasswordCost};
use crate::store::Store;
use crate::store::records::Account;

use super::report::{Report, count};

/// Maximum time of one password check without a warning, in milliseconds. A login takes at least this time, and longer if it
/// waits for other logins.
const MAX_CHECK_MS: u128 = 1_000;
/// Maximum number of logins that one finding names.
const MAX_NAMED: usize = 10;

pub(super) async fn check(config: &Config, store: Option<&Store>, report: &mut Report) {
    let cost = config.password.cost();
    check_cost(cost, report);
    if cost.is_within_limits() {
        check_time(cost, config.password.thread_count(), report);
    }
    check_memory(config, report);
    match store {
        None => report.skipped("password.stored", "the store could not be read"),
        Some(store) => match store.accounts().await {
            Ok(accounts) => check_stored(&accounts, config, report),
            Err(error) => report.failure("password.stored", error.into(), "see the findings about the store"),
        },
    }
    check_throttle(config, report);
}

fn in_words(cost: Cost) -> String {
    format!("Argon2id with m={} KiB, t={}, p={}", cost.memory_kib, cost.passes, cost.lanes)
}

fn check_cost(cost: Cost, report: &mut Report) {
    if cost.is_recommended() {
        report.ok("password.cost", format!("{}, at least the cost that OWASP recommends", in_words(cost)));
    } else {
        let found = format!("{} is weaker than OWASP recommends", in_words(cost));
        let remedy = "use the settings that this command prints: sealjar users calibrate";
        report.problem("password.cost", found, remedy);
    }
}

fn check_time(cost: Cost, threads: u32, report: &mut Report) {
    let time = measure(cost, 1).as_millis();
    let found = format!("checking a password takes {time} ms on this machine, {threads} at once");
    if time > MAX_CHECK_MS {
        report.warning("password.time", found, "choose a lower cost for this machine: sealjar users calibrate");
    } else {
        report.ok("password.time", found);
    }
}

fn check_memory(config: &Config, report: &mut Report) {
    const CHECK: &str = "password.memory_budget_kib";
    let PasswordCost { memory_budget_kib: budget, .. } = config.password;
    let Some(memory) = memory_kib() else {
        return report.skipped(CHECK, "cannot read how much memory this machine has");
    };
    let found = format!("hashing may use {} MiB of {} MiB", budget / 1024, memory / 1024);
    if u64::from(budget) > memory / 2 {
        report.warning(CHECK, found, "lower password.memory_budget_kib, or password.threads");
    } else {
        report.ok(CHECK, found);
    }
}

/// Returns the memory of this machine, or the limit of this container if it is lower, in KiB.
fn memory_kib() -> Option<u64> {
    let facts = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = facts.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine: u64 = line.split_whitespace().next()?.parse().ok()?;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    Some(limit.map_or(machine, |bytes| machine.min(bytes / 1024)))
}

fn check_stored(accounts: &[Account], config: &Config, report: &mut Report) {
    const CHECK: &str = "password.stored";
    if accounts.is_empty() {
        return report.warning(CHECK, "there is no account yet", "sealjar users add NAME");
    }
    let cost = config.password.cost();
    let PasswordCost { memory_budget_kib, .. } = config.password;
    let budget = Budget::new(cost, config.password.thread_count(), memory_budget_kib);
    let mut unreadable = Vec::new();
    let mut too_large = Vec::new();
    let mut costlier = Vec::new();
    let mut much_costlier = Vec::new();
    let mut weaker = 0;
    for account in accounts {
        match stored_cost(&account.password_hash) {
            None => unreadable.push(account),
            Some(stored) if !budget.suffices_for(stored) => too_large.push((account, stored)),
            Some(stored) if stored.has_more_work_than(cost) && stored.is_replaced_by(cost) => {
                much_costlier.push(account)
            }
            Some(stored) if stored.has_more_work_than(cost) => costlier.push(account),
            Some(stored) => weaker += usize::from(stored.is_weaker_than(cost)),
        }
    }
    if !unreadable.is_empty() {
        let found = format!(
            "no server can check the stored hash of these accounts, so no password is accepted for them: {}",
            named(&unreadable)
        );
        report.problem(CHECK, found, format!("sealjar users passwd {} --must-change", placeholder(&unreadable)));
    }
    if let Some(most) = too_large.iter().map(|(_, stored)| stored.memory_kib).max() {
        let accounts: Vec<&Account> = too_large.iter().map(|(account, _)| *account).collect();
        let enough = memory_budget_kib.saturating_add(budget.missing_kib(most));
        let found = format!(
            "password.memory_budget_kib is too small to check the stored hash of these accounts, so no password is accepted for them: {}",
            named(&accounts)
        );
        let remedy = format!(
            "set password.memory_budget_kib = {enough} or more, or: sealjar users passwd {} --must-change",
            placeholder(&accounts)
        );
        report.problem(CHECK, found, remedy);
    }
    // In both of the next cases, the duration of a login reveals that the account exists.
    if !much_costlier.is_empty() {
        let found = format!(
            "logins of these accounts take longer than others, because their stored hashes have more than twice the configured cost: {}",
            named(&much_costlier)
        );
        report.warning(CHECK, found, "nothing: each hash is replaced at the next login of its account");
    }
    if !costlier.is_empty() {
        let found = format!(
            "logins of these accounts take longer than others, because their stored hashes have a higher cost than configured: {}",
            named(&costlier)
        );
        report.warning(CHECK, found, format!("set a new password: sealjar users passwd {}", placeholder(&costlier)));
    }
    if weaker > 0 {
        let found =
            format!("{weaker} of {} have hashes with a lower cost than configured", count(accounts.len(), "account"));
        let remedy = "nothing: each hash is replaced at the next login of its account; or set new passwords: sealjar users passwd";
        report.warning(CHECK, found, remedy);
    }
    report.ok_otherwise(CHECK, format!("{}, with hashes of the configured cost", count(accounts.len(), "account")));
}

/// Returns the login names, at most [`MAX_NAMED`], and the number of the others.
fn named(accounts: &[&Account]) -> String {
    let logins: Vec<&str> =
        accounts.iter().take(MAX_NAMED).map(|account| account.profile.login_name.as_str()).collect();
    let more = accounts.len() - logins.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", logins.join(", "))
}

/// Returns the login name of the only account, or `LOGIN` if there are several.
fn placeholder<'a>(accounts: &[&'a Account]) -> &'a str {
    match accounts {
        [account] => account.profile.login_name.as_str(),
        _ => "LOGIN",
    }
}

fn check_throttle(config: &Config, report: &mut Report) {
    const CHECK: &str = "throttle";
    let throttle = &config.throttle;
    for (name, burst, default) in [
        ("throttle.network_burst", throttle.network_burst, 100),
        ("throttle.account_and_network_burst", throttle.account_and_network_burst, 10),
        ("throttle.account_burst", throttle.account_burst, 100),
    ] {
        if burst == 0 {
            let found = format!("{name} is 0: password guessing has no limit of this type");
            report.warning(CHECK, found, format!("set {name} = {default}"));
        }
    }
    if throttle.success_burst == 0 {
        let found = "throttle.success_burst is 0: one account can make the revocation list grow without limit";
        report.warning(CHECK, found, "set throttle.success_burst = 60");
    }
    report.ok_otherwise(
        CHECK,
        "failed logins are limited by network, by account, and by both together; successful logins by both together",
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::{LoginName, Profile};
    use crate::clock::UnixTime;

    #[test]
    fn names_ten_logins_and_counts_the_rest() {
        let account = |number: usize| {
            let login_name: LoginName = format!("user{number}").parse().expect("a login name");
            let profile = Profile {
                login_name,
                display_name: crate::account::DisplayName::default(),
                email: crate::account::Email::default(),
                roles: crate::account::Roles::default(),
            };
            Account::new(profile, String::new(), false, UnixTime(0))
        };
        let accounts: Vec<Account> = (1..=12).map(account).collect();
        let named = |count: usize| named(&accounts[..count].iter().collect::<Vec<_>>());
        assert_eq!(named(2), "user1, user2");
        assert!(named(10).ends_with("user9, user10"), "{}", named(10));
        assert!(named(12).ends_with("user10 and 2 more"), "{}", named(12));
    }
}
