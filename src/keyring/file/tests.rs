//! Tests of key files: reading, writing, error messages, and permissions.

use super::*;

fn some_key() -> Key {
    let dates = Dates {
        created_at: UnixTime(1_000),
        activates_at: Some(UnixTime(2_000)),
        revoked_at: None,
        max_lifetime: Duration::from_secs(60),
    };
    Key::new(Secret::random(), dates)
}

fn write_text(directory: &Path, name: &str, text: &str, mode: u32) {
    let path = directory.join(name);
    fs::write(&path, text).expect("writes");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changes the mode");
}

fn refusal(directory: &Path) -> String {
    read_all(directory).expect_err("refused").to_string()
}

#[test]
fn reads_the_key_that_was_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = some_key();
    let owner = Owner::of_directory(directory.path()).expect("the directory exists");
    write(directory.path(), &key, owner).expect("writes");
    let mode = fs::metadata(directory.path().join(file_name(key.kid()))).expect("the file exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(read_all(directory.path()).expect("reads"), [key]);
}

#[test]
fn an_error_names_the_file_and_the_reason() {
    let key = some_key();
    let text = render(&key);
    let name = file_name(key.kid());
    let longer = text.replace("secret = \"", "secret = \"AAAA");
    let cases: [(&str, &str, u32, &str); 9] = [
        (&name, &text, 0o644, "its mode is 0644"),
        (&name, &text, 0o660, "its mode is 0660"),
        ("copy.key", &text, 0o600, "its secret belongs to"),
        (&name, &longer, 0o600, "not 32 bytes"),
        (&name, &text.replace("secret", "secrets"), 0o600, "unknown field"),
        (&name, &text.replace("T00:16:40Z", ""), 0o600, "created_at is not a date with time and offset"),
        (&name, "", 0o600, "missing field"),
        (&name, &text.replace("max_lifetime_secs = 60", "max_lifetime_secs = 0"), 0o600, "max_lifetime_secs is 0"),
        (&name, &" ".repeat(5000), 0o600, "longer than 4096 bytes"),
    ];
    for (name, text, mode, reason) in cases {
        let directory = tempfile::tempdir().expect("a directory");
        write_text(directory.path(), name, text, mode);
        let message = refusal(directory.path());
        assert!(message.contains(name) && message.contains(reason), "{message}");
    }
}

#[test]
fn refuses_every_truncation_and_never_prints_the_secret() {
    let key = some_key();
    let text = render(&key);
    let secret = URL_SAFE_NO_PAD.encode(key.secret.expose());
    for end in 0..text.trim_end().len() {
        let message = parse(&text[..end]).expect_err("refused").to_string();
        assert!(!message.contains(&secret[..8]), "{message}");
    }
}

#[test]
fn never_prints_a_secret_that_is_in_a_wrong_field() {
    let text = render(&some_key());
    let secret = "A".repeat(43);
    let lifetime = "max_lifetime_secs = 60";
    let cases = [
        (text.replace(lifetime, &format!("max_lifetime_secs = \"{secret}\"")), "invalid type: string, expected u64"),
        (text.replace("1970-01-01T00:16:40Z", &format!("\"{secret}\"")), "invalid type: string, expected"),
        (format!("{}{secret} = 1", *text), "unknown field, expected one of `created_at`"),
        (format!("{}\"\\n`\\\"{secret}\" = 1", *text), "unknown field, expected one of `created_at`"),
        (format!("{}[{secret}]", *text), "unknown field, expected one of `created_at`"),
        (text.replace("secret = \"", &format!("secret = {secret}\"")), "line 5"),
    ];
    for (text, reason) in cases {
        let message = parse(&text).expect_err("refused").to_string();
        assert!(!message.contains("AAAA") && message.contains(reason), "{message}");
    }
}

#[test]
fn refuses_a_date_that_cannot_be_written_again() {
    let text = render(&some_key());
    let last = text.replace("1970-01-01T00:16:40Z", "9999-12-31T23:59:59Z");
    assert!(parse(&render(&parse(&last).expect("the last second"))).is_ok());
    let after_last = text.replace("1970-01-01T00:16:40Z", "9999-12-31T23:59:59-00:01");
    assert!(matches!(parse(&after_last), Err(KeyFileError::NotAnInstant { field: "created_at" })));
}

#[test]
fn accepts_a_kubernetes_secret_and_ignores_other_files() {
    let directory = tempfile::tempdir().expect("a directory");
    let key = some_key();
    let data = directory.path().join("..data");
    fs::create_dir(&data).expect("creates");
    write_text(&data, "real", &render(&key), 0o440);
    std::os::unix::fs::symlink("..data/real", directory.path().join(file_name(key.kid()))).expect("links");
    write_text(directory.path(), ".hidden.key", "not a key", 0o644);
    write_text(directory.path(), "README.md", "not a key", 0o644);
    assert_eq!(read_all(directory.path()).expect("reads"), [key]);
}

#[test]
fn refuses_a_pipe_without_waiting_for_a_writer() {
    let directory = tempfile::tempdir().expect("a directory");
    let status = std::process::Command::new("mkfifo").arg(directory.path().join("0000000000000000.key")).status();
    assert!(status.expect("mkfifo runs").success());
    assert!(refusal(directory.path()).contains("not a regular file"));
}
