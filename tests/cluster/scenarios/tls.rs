//! TLS connections to the database, with a private certificate authority, and the errors for an untrusted or wrong certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::{Home, text};
use crate::postgres::{Postgres, ServerOptions, run_checked};

/// Content of `pg_hba.conf`: TCP connections require TLS.
const ACCESS: &str = "local all all trust\nhostssl all all all scram-sha-256\n";

#[tokio::test]
async fn a_certificate_is_verified_and_a_bad_one_is_explained() {
    let certificates = Certificates::new();
    let database = certificates.postgres();
    let url = |query: &str| database.url("sealjar", query);
    let trusted = certificates.path("ca.crt");
    let untrusted = certificates.path("strange.crt");
    let url_with_root = |mode: &str, root: &Path| url(&format!("sslmode={mode}&sslrootcert={}", root.display()));
    let home = Home::with_settings(&[&format!("store={}", url_with_root("verify-full", &trusted))]);
    let node = home.start();
    let session = node.login("alice").await;
    assert_eq!(node.logout(&session).await, "200");
    let all_use_tls =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'sealjar'";
    assert_eq!(database.sql(all_use_tls), "t", "every connection of the node");
    for query in ["", "sslmode=require"] {
        home.run_ok(&["users", "list", "--set", &format!("store={}", url(query))]);
    }
    for (store, expected) in [
        (url_with_root("verify-full", &untrusted), "certificate"),
        (url_with_root("verify-ca", &untrusted), "certificate"),
        // The system does not trust the private authority.
        (url("sslmode=verify-full"), "certificate"),
        (url("sslmode=disable"), "no pg_hba.conf entry"),
    ] {
        for command in [&["users", "list"][..], &["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]]
        {
            let output = home.run(&[command, &["--set", &format!("store={store}")]].concat());
            let stderr = text(&output.stderr);
            assert_eq!(output.status.code(), Some(74), "{store}: {stderr}");
            assert!(stderr.contains(expected), "{store}: {stderr}");
            assert!(!stderr.contains("sealjar:sealjar"), "the message contains the password: {stderr}");
        }
    }
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let certificates = Certificates::new();
    let database = certificates.postgres();
    let home = Home::new();
    let root = certificates.path("ca.crt");
    let store = |mode: &str| {
        // The certificate is valid for the address only, not for `localhost`.
        database
            .url("sealjar", &format!("sslmode={mode}&sslrootcert={}", root.display()))
            .replace("127.0.0.1", "localhost")
    };
    home.run_with_input(&["users", "add", "bob", "--store", &store("verify-ca")], "correct horse battery\n");
    assert!(home.run_ok(&["users", "list", "--store", &store("verify-ca")]).contains("bob"), "the name is not checked");
    let output = home.run(&["users", "list", "--store", &store("verify-full")]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(74), "{stderr}");
    assert!(stderr.contains("certificate"), "{stderr}");
}

/// Trusted certificate authority, untrusted certificate authority, and a certificate for 127.0.0.1 that the trusted authority
/// issued.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Self {
        let certificates = Self(tempfile::tempdir().expect("a directory"));
        for authority in ["ca", "strange"] {
            certificates.openssl(&format!(
                "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={authority} \
                 -keyout {authority}.key -out {authority}.crt"
            ));
        }
        certificates.openssl(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=database -keyout server.key -out server.csr",
        );
        fs::write(certificates.path("names"), "subjectAltName=IP:127.0.0.1\n").expect("writes");
        certificates.openssl(
            "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
        );
        certificates
    }

    fn openssl(&self, command: &str) {
        run_checked(Command::new("openssl").args(command.split_whitespace()).current_dir(self.0.path()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn postgres(&self) -> Postgres {
        let settings = |directory: &Path| self.install(directory);
        Postgres::start_with_options(&ServerOptions { access: ACCESS, settings: &settings, ..ServerOptions::default() })
    }

    /// Copies certificate and key to the server's directory. Only the server's user may read the key, as PostgreSQL requires.
    fn install(&self, directory: &Path) -> Vec<String> {
        let mut settings = vec!["ssl=on".to_owned()];
        for (setting, name, mode) in [("ssl_cert_file", "server.crt", "0644"), ("ssl_key_file", "server.key", "0600")] {
            let file = directory.join(name);
            let mut install = Command::new("install");
            if rustix::process::geteuid().is_root() {
                install.args(["-o", "postgres"]);
            }
            run_checked(install.args(["-m", mode]).arg(self.path(name)).arg(&file));
            settings.push(format!("{setting}={}", file.display()));
        }
        settings
    }
}
