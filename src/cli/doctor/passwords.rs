//! What a stolen database costs to guess passwords from, and what guessing at the front door is limited to.

use crate::account::password::{Cost, stored_cost};
use crate::cli::users::calibrate::measure;
use crate::config::{Config, PasswordCost};
use crate::store::Store;
use crate::store::records::Account;

use super::report::{Report, count};

/// Whoever signs in waits for so long at least, and longer behind others.
const SLOW_MS: u128 = 1_000;

pub(super) async fn check(config: &Config, store: Option<&Store>, report: &mut Report) {
    let cost = config.password.cost();
    check_cost(cost, report);
    if cost.is_bearable() {
        check_time(cost, config.password.thread_count(), report);
    }
    check_memory(config, report);
    match store {
        None => report.skipped("password.stored", "the store could not be read"),
        Some(store) => match store.accounts().await {
            Ok(accounts) => check_stored(&accounts, cost, report),
            Err(error) => report.failure("password.stored", error.into(), "see what is said of the store"),
        },
    }
    check_throttle(config, report);
}

fn in_words(cost: Cost) -> String {
    format!("Argon2id with m={} KiB, t={}, p={}", cost.memory_kib, cost.passes, cost.lanes)
}

fn check_cost(cost: Cost, report: &mut Report) {
    if cost.is_recommended() {
        report.ok("password.cost", format!("{}, no less than OWASP recommends", in_words(cost)));
    } else {
        let found = format!("{} is weaker than OWASP recommends", in_words(cost));
        let remedy = "put into the configuration what this prints: sealjar users calibrate";
        report.problem("password.cost", found, remedy);
    }
}

fn check_time(cost: Cost, threads: u32, report: &mut Report) {
    let time = measure(cost, 1).as_millis();
    let found = format!("a password takes {time} ms here, {threads} at once");
    if time > SLOW_MS {
        report.warning("password.time", found, "choose a cost that this machine can bear: sealjar users calibrate");
    } else {
        report.ok("password.time", found);
    }
}

fn check_memory(config: &Config, report: &mut Report) {
    const CHECK: &str = "password.memory_budget_kib";
    let PasswordCost { memory_budget_kib: budget, .. } = config.password;
    let Some(memory) = memory_kib() else {
        return report.skipped(CHECK, "this machine does not say how much memory it has");
    };
    let found = format!("hashing may use {} MiB of {} MiB", budget / 1024, memory / 1024);
    if u64::from(budget) > memory / 2 {
        report.warning(CHECK, found, "lower password.memory_budget_kib, or password.threads");
    } else {
        report.ok(CHECK, found);
    }
}

/// What this machine has, or this container may use.
fn memory_kib() -> Option<u64> {
    let facts = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = facts.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine: u64 = line.split_whitespace().next()?.parse().ok()?;
    let limit = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    Some(limit.map_or(machine, |bytes| machine.min(bytes / 1024)))
}

fn check_stored(accounts: &[Account], cost: Cost, report: &mut Report) {
    const CHECK: &str = "password.stored";
    if accounts.is_empty() {
        return report.warning(CHECK, "there is no account yet", "sealjar users add NAME");
    }
    let costs: Vec<Option<Cost>> = accounts.iter().map(|account| stored_cost(&account.password_hash)).collect();
    if let Some(place) = costs.iter().position(Option::is_none) {
        let unusable = count(costs.iter().filter(|cost| cost.is_none()).count(), "account");
        let name = &accounts[place].profile.login_name;
        let found = format!("{unusable} with a hash that no server checks, such as {name}: no password is right");
        report.problem(CHECK, found, format!("sealjar users passwd {name} --must-change"));
    }
    let weaker = costs.iter().flatten().filter(|stored| stored.is_weaker_than(cost)).count();
    if weaker > 0 {
        let found =
            format!("{weaker} of {} with hashes of lower cost than is configured", count(accounts.len(), "account"));
        let remedy = "nothing: each is brought up to it at its next sign-in; or new passwords: sealjar users passwd";
        report.warning(CHECK, found, remedy);
    }
    report.ok_otherwise(CHECK, format!("{}, with hashes of this cost or more", count(accounts.len(), "account")));
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
            let found = format!("{name} is 0: this way of guessing passwords has no limit");
            report.warning(CHECK, found, format!("set {name} = {default}"));
        }
    }
    if throttle.success_burst == 0 {
        let found = "throttle.success_burst is 0: one account can make the revocation list as long as it likes";
        report.warning(CHECK, found, "set throttle.success_burst = 60");
    }
    report.ok_otherwise(CHECK, "wrong passwords are limited by network, by account, and by both; right ones by both");
}
