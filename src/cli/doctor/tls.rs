//! Checks of the certificate of the public listener and of its private key: validity, order of the chain, and permissions.

use std::time::Duration;

use super::files::{self, OTHERS};
use super::report::Report;
use crate::access_denied::shell_path;
use crate::clock::Now;
use crate::config::Config;
use crate::http::tls::{Source, Tls};

/// Remaining validity below which there is a warning. Automatic renewal happens earlier.
const MIN_REMAINING_VALIDITY: Duration = Duration::from_secs(7 * 24 * 3600);

pub(super) fn check(config: &Config, report: &mut Report) {
    const CHECK: &str = "tls.certificate";
    let Some(source) = config.tls.source(Vec::new) else {
        return;
    };
    let Source::Files(files) = &source else {
        let remedy = "set tls.certificate and tls.private_key to PEM files";
        return report.warning(
            CHECK,
            "the certificate is self-signed and created at each start, so no browser trusts it",
            remedy,
        );
    };
    let key = files.private_key.display();
    let mode = files::mode(&files.private_key).unwrap_or_default();
    if mode & OTHERS != 0 {
        let found = format!("{key} has mode {mode:04o}, so every user of this machine can impersonate this server");
        report.problem(
            "tls.private_key",
            found,
            format!("chmod o= {}; if other users may have read it, replace the key", shell_path(&files.private_key)),
        );
    } else {
        report.ok("tls.private_key", format!("{key} has mode {mode:04o}"));
    }
    let certificate = files.certificate.display().to_string();
    let now = Now::read().wall;
    let renew = "renew it; the server reads the new file automatically";
    match Tls::open(source, config.tls.min_version) {
        Err(error) => {
            report.problem(CHECK, error.to_string(), error.remedy());
        }
        Ok(tls) if tls.expires_at() <= now => {
            report.problem(CHECK, format!("{certificate} expired at {}", tls.expires_at()), renew);
        }
        Ok(tls) if tls.valid_from() > now => {
            let found = format!("{certificate} is not valid before {}", tls.valid_from());
            report.problem(CHECK, found, "correct the clock, or use the old certificate until then");
        }
        Ok(tls) if let Some(number) = tls.out_of_order() => {
            let found = format!("in {certificate}, certificate {number} was not issued by the certificate after it");
            let remedy =
                "put the certificate of the server first, and after each certificate the certificate of its issuer";
            report.warning(CHECK, found, remedy);
        }
        Ok(tls) if tls.expires_at() < now.plus(MIN_REMAINING_VALIDITY) => {
            report.warning(CHECK, format!("{certificate} expires at {}", tls.expires_at()), renew);
        }
        Ok(tls) => report.ok(CHECK, format!("{certificate} is valid until {}", tls.expires_at())),
    }
}
