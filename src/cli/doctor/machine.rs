//! What the process may do and what becomes of its memory: as far as doctor is run as the server is, by the same user with the
//! same limits.

use rustix::process::{Resource, getrlimit};

use super::report::Report;
use crate::config::Config;
use crate::hardening;
use crate::server::descriptors;

pub(super) fn check(config: &Config, report: &mut Report) {
    check_user(report);
    check_memory(config, report);
    check_landlock(config, report);
    check_open_files(config, report);
}

fn check_user(report: &mut Report) {
    const CHECK: &str = "process.user";
    let user = rustix::process::geteuid();
    if user.is_root() {
        let found = "this is root, who can read everything: modes and limits are not those of the server";
        report.warning(CHECK, found, "run both as a user of their own: runuser -u sealjar -- sealjar doctor");
    } else {
        report.ok(CHECK, format!("user {}, who is not root", user.as_raw()));
    }
}

fn check_memory(config: &Config, report: &mut Report) {
    const CHECK: &str = "process.dumpable";
    const CORE_DUMPS: &str = "process.core_dumps";
    if !config.process.dumpable {
        report.ok(CHECK, "off, so other processes of this user cannot read the server's memory");
        return report.ok(CORE_DUMPS, "off");
    }
    let found = "other processes of this user can read the server's memory, with keys and passwords in it";
    report.warning(CHECK, found, "set process.dumpable = false after debugging, and restart the server");
    if getrlimit(Resource::Core).current == Some(0) {
        report.ok(CORE_DUMPS, "off");
    } else {
        let found = "core dumps are on, and one has keys and passwords in it";
        report.warning(CORE_DUMPS, found, "LimitCORE=0 in the systemd unit, or ulimit -c 0 in the shell");
    }
}

fn check_landlock(config: &Config, report: &mut Report) {
    const CHECK: &str = "process.landlock";
    if !config.process.landlock {
        let found = "off, so an attacker in the server can change every file that its user can";
        return report.warning(CHECK, found, "set process.landlock = true, and restart the server");
    }
    if hardening::kernel_has_landlock() {
        report.ok(CHECK, "on, so the server writes to the directories of its database, keys and sockets only");
    } else {
        let found = "this kernel does not have Landlock, so the server can change every file that its user can";
        let remedy = "use Linux 5.13 or later with landlock in its list of security modules (lsm=), or let systemd limit it as deploy/sealjar.service does";
        report.warning(CHECK, found, remedy);
    }
}

fn check_open_files(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.max_connections";
    let (limit, wanted) = (getrlimit(Resource::Nofile).maximum, config.http.max_connections as usize);
    let fit = descriptors::connections_per_listener(limit);
    if fit < wanted {
        let found = format!("{wanted} on each listener are wanted, and the limit of open files allows {fit}");
        report.warning(CHECK, found, "LimitNOFILE= in the systemd unit, ulimit -n in a shell; or lower it");
    } else {
        report.ok(CHECK, format!("{wanted} on each listener, for which there are open files enough"));
    }
}
