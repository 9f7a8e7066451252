//! Every way to get a cookie wrong: never a 5xx, never another's session, one of four reasons and nothing more.

use crate::harness::{Answer, Home, PASSWORD, Server, Session, client};

#[tokio::test]
async fn no_truncated_changed_or_re_encoded_token_is_a_session() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let token = &session.0;
    let mut bad: Vec<String> = (0..token.len()).map(|end| token[..end].to_owned()).collect();
    for index in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            // Changed into a separator or a byte that no header may hold, it is another request, not another token.
            if bytes[index].is_ascii_graphic() && !b";,\"".contains(&bytes[index]) {
                bad.push(String::from_utf8(bytes).expect("ASCII"));
            }
        }
    }
    let percent = |byte: u8| format!("%{byte:02X}");
    bad.extend([
        format!("{token}="),
        format!("{token}=="),
        format!("{token}A"),
        format!("\"{token}\""),
        format!(" {token} x"),
        token.bytes().map(percent).collect(),
        format!("{}{}", percent(token.as_bytes()[0]), &token[1..]),
        token.replace('-', "+").replace('_', "/") + "+",
        "A".repeat(4096),
        "A".repeat(20_000),
        "=".to_owned(),
    ]);
    for token in bad {
        let answer = server.get("/auth/status", &Session(token.clone()).cookie()).await;
        assert_eq!(answer.verdict(), "401 invalid", "{token}");
        assert!(answer.header("set-cookie").is_none());
    }
    assert_eq!(server.status(&session).await, "200");
}

/// As many cookies that name a held key and do not open; a sibling host can plant them before ours.
fn junk(name: &str, session: &Session, count: usize) -> String {
    let head = &session.0[..12];
    (0..count).map(|number| format!("{name}={head}{number:A>55}; ")).collect()
}

/// As many as a head has room for.
const FULL: usize = 370;

#[tokio::test]
async fn no_number_of_cookies_before_the_session_hides_it() {
    const NAME: &str = "__Host-sealjar";
    let home = Home::new();
    let server = home.start();
    for count in [4, 10, 100, FULL] {
        let session = server.login("alice").await;
        let cookies = junk(NAME, &session, count) + &session.cookie();
        assert_eq!(server.get("/auth/status", &cookies).await.verdict(), "200", "{count}");
        assert_eq!(server.post("/auth/logout", &cookies).await.verdict(), "200", "{count}");
        assert_eq!(server.status(&session).await, "401 revoked", "{count}");

        let [session, other] = [server.login("alice").await, server.login("alice").await];
        let cookies = junk(NAME, &session, count) + &session.cookie();
        assert_eq!(server.post("/auth/logout/all", &cookies).await.verdict(), "200", "{count}");
        assert_eq!(server.status(&other).await, "401 revoked", "{count}");

        let session = server.login("alice").await;
        let cookies = junk(NAME, &session, count) + &session.cookie();
        let csrf_token = server.get("/auth/status", &cookies).await.json()["csrf_token"].clone();
        let form = [("csrf_token", csrf_token.as_str().expect("text"))];
        let request = client().post(server.url("/auth/logout")).header("cookie", &cookies).form(&form);
        let answer = Answer::of(request.header("sec-fetch-site", "same-origin").send().await.expect("an answer")).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/auth/login?signed-out")), "{count}");
        assert_eq!(server.status(&session).await, "401 revoked", "{count}");

        let session = server.login("alice").await;
        let cookies = junk(NAME, &session, count) + &session.cookie();
        let body = Server::login_body("alice", PASSWORD);
        let request = client().post(server.url("/auth/login")).header("cookie", &cookies).json(&body);
        assert_eq!(request.send().await.expect("an answer").status(), 200, "{count}");
        assert_eq!(server.status(&session).await, "401 revoked", "{count}: a sign-in ends what came with it");
    }
}

#[tokio::test]
async fn no_number_of_cookies_hides_the_sign_in_form() {
    let home = Home::new();
    let server = home.start();
    let held = server.login("alice").await;
    for count in [4, 10, 100, 300] {
        let request = client().get(server.url("/auth/login")).header("accept", "text/html");
        let page = Answer::of(request.send().await.expect("an answer")).await;
        let cookie =
            page.header("set-cookie").expect("the form's cookie").split(';').next().expect("a pair").to_owned();
        let cookies = junk("__Host-sealjar-form", &held, count) + &cookie;
        let form = [("csrf_token", &*page.hidden("csrf_token")), ("login", "alice"), ("password", PASSWORD)];
        let request = client().post(server.url("/auth/login")).header("cookie", cookies).form(&form);
        let answer = Answer::of(request.header("sec-fetch-site", "same-origin").send().await.expect("an answer")).await;
        assert_eq!(answer.status, 303, "{count}: {}", answer.body);
        assert!(answer.session.is_some(), "{count}");
    }
}

#[tokio::test]
async fn prints_what_the_fullest_head_costs() {
    const REQUESTS: u32 = 200;
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    for (what, cookies) in
        [("one", session.cookie()), ("371", junk("__Host-sealjar", &session, FULL) + &session.cookie())]
    {
        let started = tokio::time::Instant::now();
        for _ in 0..REQUESTS {
            assert_eq!(server.get("/auth/status", &cookies).await.verdict(), "200");
        }
        println!("a status with {what} of our cookies: {:?} on average", started.elapsed() / REQUESTS);
    }
}

#[tokio::test]
async fn the_reason_is_that_of_the_token_that_came_furthest_and_a_good_one_wins() {
    let home = Home::new();
    let server = home.start();
    let (live, ended) = (server.login("alice").await, server.login("alice").await);
    assert_eq!(server.logout(&ended).await, "200");
    let (bad, other) = ("__Host-sealjar=nonsense".to_owned(), "x=y".to_owned());
    let cases = [
        (vec![other.clone()], "401 missing"),
        (vec![other.clone(), bad.clone()], "401 invalid"),
        (vec![ended.cookie(), bad.clone()], "401 revoked"),
        (vec![bad.clone(), ended.cookie()], "401 revoked"),
        (vec![bad, ended.cookie(), live.cookie(), other], "200"),
    ];
    for (cookies, verdict) in cases {
        let answer = server.get("/auth/status", &cookies.join("; ")).await;
        assert_eq!(answer.verdict(), verdict, "{cookies:?}");
    }
}

#[tokio::test]
async fn a_token_is_good_on_the_host_it_was_issued_on_and_with_its_key_only() {
    let home = Home::with_settings(&["http.public_origins=http://localhost,http://127.0.0.1,https://other.example"]);
    let server = home.start();
    let port = server.public.rsplit_once(':').expect("a port").1.to_owned();
    // These origins have the default port, so requests must name them without one.
    let ask = async |host: &str, session: Option<&Session>| {
        let request = match session {
            None => crate::harness::client()
                .post(format!("http://127.0.0.1:{port}/auth/login"))
                .json(&crate::harness::Server::login_body("alice", crate::harness::PASSWORD)),
            Some(session) => crate::harness::client()
                .get(format!("http://127.0.0.1:{port}/auth/status"))
                .header("cookie", session.cookie()),
        };
        crate::harness::Answer::of(request.header("host", host).send().await.expect("an answer")).await
    };
    let session = ask("localhost", None).await.session.expect("a session");
    assert_eq!(ask("localhost", Some(&session)).await.verdict(), "200");
    for host in ["127.0.0.1", "other.example"] {
        assert_eq!(ask(host, Some(&session)).await.verdict(), "401 invalid", "{host}");
    }
    let elsewhere = Home::with_settings(&["http.public_origins=http://localhost"]);
    let foreign = elsewhere.start();
    let response = crate::harness::client()
        .get(foreign.url("/auth/status"))
        .header("host", "localhost")
        .header("cookie", session.cookie());
    let answer = crate::harness::Answer::of(response.send().await.expect("an answer")).await;
    assert_eq!(answer.verdict(), "401 invalid", "another ring");
}
