//! What the process may do and what becomes of its memory: as far as doctor is run as the server is, by the same user with the
//! same limits.

use rustix::process::{Resource, getrlimit};

use super::report::Report;
use crate::config::Config;
use crate::server::descriptors;

pub(super) fn check(config: &Config, report: &mut Report) {
    check_user(report);
    check_core(report);
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

fn check_core(report: &mut Report) {
    const CHECK: &str = "process.core_dumps";
    if getrlimit(Resource::Core).current == Some(0) {
        report.ok(CHECK, "off");
    } else {
        let found = "core dumps are on, and one has keys and passwords in it";
        report.warning(CHECK, found, "LimitCORE=0 in the systemd unit, or ulimit -c 0 in the shell");
    }
}

fn check_open_files(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.max_connections";
    let (limit, wanted) = (getrlimit(Resource::Nofile).maximum, config.http.max_connections as usize);
    let fit = descriptors::fitting(limit);
    if fit < wanted {
        let found = format!("{wanted} on each listener are wanted, and the limit of open files allows {fit}");
        report.warning(CHECK, found, "LimitNOFILE= in the systemd unit, ulimit -n in a shell; or lower it");
    } else {
        report.ok(CHECK, format!("{wanted} on each listener, for which there are open files enough"));
    }
}
