//! The certificate of the public listener: whether it can be used, for how long, and who can pose as this server.

use std::time::Duration;

use super::files::{self, OTHERS};
use super::report::Report;
use crate::access_denied::shell_path;
use crate::clock::Now;
use crate::config::Config;
use crate::http::tls::{Source, Tls};

/// Whoever has certificates renewed by a machine has a new one by then.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn check(config: &Config, report: &mut Report) {
    const CHECK: &str = "tls.certificate";
    let Some(source) = config.tls.source(Vec::new) else {
        return;
    };
    let Source::Files(files) = &source else {
        let remedy = "set tls.certificate and tls.private_key to PEM files";
        return report.warning(CHECK, "it is made at each start, and no browser trusts it", remedy);
    };
    let (key, mode) = (files.private_key.display(), files::mode(&files.private_key).unwrap_or_default());
    if mode & OTHERS != 0 {
        let found = format!("{key} has mode {mode:04o}, so everybody here can pose as this server");
        report.problem(
            "tls.private_key",
            found,
            format!("chmod o= {}; if others may have read it, a new key", shell_path(&files.private_key)),
        );
    } else {
        report.ok("tls.private_key", format!("{key} has mode {mode:04o}"));
    }
    let (certificate, now) = (files.certificate.display().to_string(), Now::read().wall);
    let renew = "renew it; the server reads it again by itself";
    match Tls::open(source, config.tls.min_version) {
        Err(error) => {
            report.problem(CHECK, error.to_string(), error.remedy());
        }
        Ok(tls) if tls.expires_at() <= now => {
            report.problem(CHECK, format!("{certificate} has expired at {}", tls.expires_at()), renew);
        }
        Ok(tls) if tls.valid_from() > now => {
            let found = format!("{certificate} is valid only from {} on", tls.valid_from());
            report.problem(CHECK, found, "correct the clock, or use the old certificate until then");
        }
        Ok(tls) if let Some(number) = tls.out_of_order() => {
            let found = format!("in {certificate}, certificate {number} was not issued by the one after it");
            let remedy = "put the certificate of the server first, and after each certificate the one that issued it";
            report.warning(CHECK, found, remedy);
        }
        Ok(tls) if tls.expires_at() < now.plus(SOON) => {
            report.warning(CHECK, format!("{certificate} expires at {}", tls.expires_at()), renew);
        }
        Ok(tls) => report.ok(CHECK, format!("{certificate} is good until {}", tls.expires_at())),
    }
}
