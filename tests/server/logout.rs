//! `POST /auth/logout` and `POST /auth/logout/all`.

use crate::harness::{Home, client};

const REMOVAL: &str = "__Host-sealjar=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";

#[tokio::test]
async fn ends_the_session_for_every_copy_of_its_cookie_and_removes_it_from_the_browser() {
    let home = Home::new();
    let server = home.start();
    let (session, other) = (server.login("alice").await, server.login("alice").await);
    let answer = server.post("/auth/logout", &session.cookie()).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (200, Some(REMOVAL)));
    assert_eq!(server.status(&session).await, "401 revoked");
    assert_eq!(server.get("/protected", &session.cookie()).await.verdict(), "401 revoked");
    assert_eq!(server.status(&other).await, "200", "another session of the same user lives on");
}

#[tokio::test]
async fn is_idempotent_whatever_is_presented() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let flipped = session.cookie().replace("sealjar=AQ", "sealjar=AR");
    for cookie in [session.cookie(), session.cookie(), String::new(), "__Host-sealjar=nonsense".to_owned(), flipped] {
        let answer = server.post("/auth/logout", &cookie).await;
        assert_eq!((answer.status, answer.header("set-cookie")), (200, Some(REMOVAL)), "{cookie}");
    }
}

#[tokio::test]
async fn revokes_every_session_that_came_with_the_request() {
    let home = Home::new();
    let server = home.start();
    let (first, second) = (server.login("alice").await, server.login("alice").await);
    let cookies = format!("{}; __Host-sealjar=bad; {}", first.cookie(), second.cookie());
    assert_eq!(server.post("/auth/logout", &cookies).await.status, 200);
    assert_eq!(server.status(&first).await, "401 revoked");
    assert_eq!(server.status(&second).await, "401 revoked");
}

#[tokio::test]
async fn a_form_goes_on_to_another_page() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let form: [(&str, &str); 0] = [];
    let request = client().post(server.url("/auth/logout")).header("cookie", session.cookie()).form(&form);
    let response = request.send().await.expect("an answer");
    assert_eq!(
        (response.status().as_u16(), &response.headers()["location"]),
        (303, &"/auth/login?signed-out".parse().expect("a value"))
    );
    assert_eq!(server.status(&session).await, "401 revoked");
}

#[tokio::test]
async fn a_body_of_another_type_is_refused_and_ends_nothing() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    for path in ["/auth/logout", "/auth/logout/all"] {
        for content_type in ["text/plain", "multipart/form-data; boundary=x", ""] {
            let request = client().post(server.url(path)).header("cookie", session.cookie());
            let request = request.header("content-type", content_type).body("x");
            let answer = crate::harness::Answer::of(request.send().await.expect("an answer")).await;
            assert_eq!(answer.verdict(), "415 media-type", "{path} {content_type}");
        }
    }
    assert_eq!(server.status(&session).await, "200");
}

#[tokio::test]
async fn logout_all_ends_every_session_of_the_subject_and_no_one_elses() {
    let home = Home::new();
    home.add_user("bob");
    let server = home.start();
    let (first, second, bob) = (server.login("alice").await, server.login("alice").await, server.login("bob").await);
    let answer = server.post("/auth/logout/all", &first.cookie()).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (200, Some(REMOVAL)));
    for session in [&first, &second] {
        assert_eq!(server.status(session).await, "401 revoked");
    }
    assert_eq!(server.status(&bob).await, "200");
    let after = server.login("alice").await;
    assert_eq!(server.status(&after).await, "200", "a sign-in right after works");
    assert_eq!(
        server.post("/auth/logout/all", &second.cookie()).await.status,
        200,
        "again, with a session ended this way"
    );
    assert_eq!(server.status(&after).await, "200", "and that does not touch later sessions");
}

#[tokio::test]
async fn logout_all_needs_a_session_that_was_not_ended_by_itself() {
    let home = Home::new();
    let server = home.start();
    let (ended, live) = (server.login("alice").await, server.login("alice").await);
    assert_eq!(server.logout(&ended).await, "200");
    assert_eq!(server.post("/auth/logout/all", &ended.cookie()).await.verdict(), "401 revoked");
    assert_eq!(server.post("/auth/logout/all", "x=y").await.verdict(), "401 missing");
    assert_eq!(server.status(&live).await, "200");
    home.ok(&["revoke", "--everyone"]);
    server.until_status(&live, "401 revoked").await;
    let later = server.login("alice").await;
    assert_eq!(server.post("/auth/logout/all", &live.cookie()).await.verdict(), "401 revoked");
    assert_eq!(server.status(&later).await, "200", "a token that everyone's revocation ended ends nothing more");
}

#[tokio::test]
async fn an_idle_expired_session_is_revoked_for_good_so_that_a_renewed_copy_dies_too() {
    let home = Home::with_settings(&["session.idle=10s"]);
    let server = home.start();
    let session = server.login("alice").await;
    let renewed = loop {
        let answer = server.get("/auth/status", &session.cookie()).await;
        assert_eq!(answer.verdict(), "200", "renewal comes long before the deadline");
        if let Some(renewed) = answer.session {
            break renewed;
        }
    };
    let mut thief = renewed;
    // The owner's own cookie dies unused, while a copy is renewed and renewed.
    while server.status(&session).await == "200" {
        if let Some(renewed) = server.get("/auth/status", &thief.cookie()).await.session {
            thief = renewed;
        }
    }
    assert_eq!(server.status(&session).await, "401 expired");
    assert_eq!(server.status(&thief).await, "200");
    assert_eq!(server.logout(&session).await, "200");
    assert_eq!(server.status(&thief).await, "401 revoked");
}
