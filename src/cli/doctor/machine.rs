//! Checks of the process: user, core dumps, Landlock and open files. The findings hold for the server if it runs as the same user
//! and with the same limits as `doctor`.

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
        let found = "doctor runs as root, which can read every file: permissions and limits of the server may differ";
        report.warning(
            CHECK,
            found,
            "run the server and doctor as a separate user: runuser -u sealjar -- sealjar doctor",
        );
    } else {
        report.ok(CHECK, format!("user {}, which is not root", user.as_raw()));
    }
}

fn check_memory(config: &Config, report: &mut Report) {
    const CHECK: &str = "process.dumpable";
    const CORE_DUMPS: &str = "process.core_dumps";
    if !config.process.dumpable {
        report.ok(CHECK, "off, so other processes of this user cannot read the server's memory");
        return report.ok(CORE_DUMPS, "off");
    }
    let found = "other processes of this user can read the server's memory, which contains keys and passwords";
    report.warning(CHECK, found, "set process.dumpable = false after debugging, and restart the server");
    if getrlimit(Resource::Core).current == Some(0) {
        report.ok(CORE_DUMPS, "off");
    } else {
        let found = "core dumps are on, and a core dump contains keys and passwords";
        report.warning(CORE_DUMPS, found, "set LimitCORE=0 in the systemd unit, or run ulimit -c 0 in the shell");
    }
}

fn check_landlock(config: &Config, report: &mut Report) {
    const CHECK: &str = "process.landlock";
    if !config.process.landlock {
        let found = "off, so an attacker who controls the server can change every file that its user can change";
        return report.warning(CHECK, found, "set process.landlock = true, and restart the server");
    }
    if hardening::kernel_has_landlock() {
        report.ok(CHECK, "on, so the server can write only to the directories of its database, keys and sockets");
    } else {
        let found = "this kernel does not have Landlock, so the server can change every file that its user can change";
        let remedy = "use Linux 5.13 or later with landlock in its list of security modules (lsm=), or restrict the server with systemd as deploy/sealjar.service does";
        report.warning(CHECK, found, remedy);
    }
}

fn check_open_files(config: &Config, report: &mut Report) {
    const CHECK: &str = "http.max_connections";
    let limit = getrlimit(Resource::Nofile).maximum;
    let wanted = config.http.max_connections as usize;
    let possible = descriptors::connections_per_listener(limit);
    if possible < wanted {
        let found = format!("the setting is {wanted} on each listener, but the limit of open files allows {possible}");
        report.warning(
            CHECK,
            found,
            "raise LimitNOFILE= in the systemd unit, or ulimit -n in a shell; or lower http.max_connections",
        );
    } else {
        report.ok(CHECK, format!("{wanted} on each listener, and the limit of open files is high enough"));
    }
}
