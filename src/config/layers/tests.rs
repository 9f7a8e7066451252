//! Tests of the precedence of layers, and of invalid values.

use super::*;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flag(setting: &str, text: &str) -> Flag {
    Flag { flag: "--set".to_owned(), setting: setting.to_owned(), text: text.to_owned() }
}

/// Returns the layers, or the first error.
fn read(file: Option<&ConfigFile>, environment: &[(String, String)], flags: &[Flag]) -> Result<Layers, ConfigError> {
    let (layers, errors) = Layers::defaults().read(file, environment, flags)?;
    errors.into_iter().next().map_or(Ok(layers), Err)
}

#[test]
fn a_value_of_another_type_names_its_setting_and_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sealjar.toml");
    for (text, setting) in [
        ("[http]\ntrusted_proxies = ['10.0.0.1', 1]", "http.trusted_proxies"),
        ("[http]\npublic_origins = [[]]", "http.public_origins"),
        ("[http]\nmax_body_bytes = 'x'", "http.max_body_bytes"),
        ("[session]\nidle = 30", "session.idle"),
    ] {
        std::fs::write(&path, text).expect("the file is written");
        let read = read(Some(&ConfigFile::at(path.clone())), &[], &[]);
        let error = read.and_then(|layers| layers.config()).expect_err("the value has another type").to_string();
        let start = format!("setting {setting} (file {}): ", path.display());
        assert!(error.starts_with(&start), "{error}");
    }
}

#[test]
fn a_flag_precedes_the_environment_the_file_and_the_default() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sealjar.toml");
    std::fs::write(&path, "[session]\nidle = \"11m\"\nabsolute = \"2h\"\nremembered_idle = \"3d\"\n")
        .expect("the file is written");
    let environment = env(&[("SEALJAR_SESSION__IDLE", "12m"), ("SEALJAR_SESSION__ABSOLUTE", "3h")]);
    let layers = read(Some(&ConfigFile::at(path.clone())), &environment, &[flag("session.idle", "13m")])
        .expect("the layers are valid");
    let line = |setting: &str| layers.lines().find(|(name, _)| *name == setting).expect("the setting is listed").1;
    assert_eq!(line("session.idle"), "session.idle = \"13m\"  # flag --set");
    assert_eq!(line("session.absolute"), "session.absolute = \"3h\"  # environment SEALJAR_SESSION__ABSOLUTE");
    assert_eq!(line("session.remembered_idle"), format!("session.remembered_idle = \"3d\"  # file {}", path.display()));
    assert_eq!(line("session.remembered_absolute"), "session.remembered_absolute = \"90d\"  # default");
}

#[test]
fn names_the_setting_that_is_unknown_or_invalid() {
    let cases = [
        (flag("http.lisen", "x"), "http.lisen"),
        (flag("session", "x"), "session"),
        (flag("session.idle", "soon"), "session.idle"),
        (flag("password.threads", "many"), "password.threads"),
        (flag("revocation.when_stale", "maybe"), "revocation.when_stale"),
        (flag("http.listen", "nowhere"), "http.listen"),
    ];
    for (flag, setting) in cases {
        let outcome = read(None, &[], &[flag]).and_then(|layers| layers.config());
        let message = outcome.expect_err("refused").to_string();
        assert!(message.contains(setting) && message.contains("flag --set"), "{message}");
    }
}

#[test]
fn an_unknown_variable_is_an_error() {
    assert!(read(None, &env(&[("SEALJAR_HTP__LISTEN", "x")]), &[]).is_err());
    assert!(read(None, &env(&[("SEALJAR_SERVICE_HOST", "10.0.0.1"), ("OTHER", "x")]), &[]).is_ok());
}

#[test]
fn an_error_never_quotes_a_value_from_a_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("secret");
    for (variable, value) in [
        ("SEALJAR_SESSION__IDLE_FILE", "hunter2"),
        ("SEALJAR_HTTP__LISTEN_FILE", "hunter2"),
        ("SEALJAR_HTTP__LISTEN_FILE", "hunter2\\"),
        ("SEALJAR_REVOCATION__WHEN_STALE_FILE", "hunter2"),
        ("SEALJAR_PASSWORD__QUEUE_FILE", "hunter2"),
        ("SEALJAR_HTTP__PUBLIC_ORIGINS_FILE", "https://a.example\nhunter2"),
        ("SEALJAR_HTTP__TRUSTED_PROXIES_FILE", "hunter2"),
        ("SEALJAR_HTTP__VERIFY_AUTHORITIES_FILE", "https://hunter2"),
        ("SEALJAR_COOKIE__DOMAIN_FILE", "hunter2"),
        ("SEALJAR_LOG__LEVEL_FILE", "hunter2"),
        ("SEALJAR_PAGES__HOME_FILE", "hunter2"),
        ("SEALJAR_TLS__PRIVATE_KEY_FILE", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----"),
        ("SEALJAR_STORE_FILE", "hunter2"),
        ("SEALJAR_STORE_FILE", "postgres://a:hunter2@db:port/b"),
    ] {
        std::fs::write(&path, value).expect("the file is written");
        let file = path.to_str().expect("text");
        let parsed =
            read(None, &env(&[(variable, file)]), &[]).and_then(|layers| layers.config()?.parse(&layers).map(drop));
        let message = parsed.expect_err(variable).to_string();
        assert!(!message.contains("hunter2"), "{variable}: {message}");
        assert!(message.contains(variable) && message.contains(file), "{variable}: {message}");
    }
}

#[test]
fn a_list_in_a_file_can_have_one_item_per_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("origins");
    std::fs::write(&path, "https://a.example,https://b.example\r\nhttps://c.example\n").expect("the file is written");
    let file = path.to_str().expect("text");
    let layers = read(None, &env(&[("SEALJAR_HTTP__PUBLIC_ORIGINS_FILE", file)]), &[]).expect("the layers are valid");
    let (_, line) = layers.lines().find(|(name, _)| *name == "http.public_origins").expect("the setting is listed");
    let list = r#"["https://a.example", "https://b.example", "https://c.example"]"#;
    let source = format!("file {file} of environment SEALJAR_HTTP__PUBLIC_ORIGINS_FILE");
    assert_eq!(line, format!("http.public_origins = {list}  # {source}"));
}
