//! `GET /auth/renew`, where a redirect of `/auth/verify` sends a browser to be renewed. `verify/renewal.rs` has the whole way.

use super::fixture::Site;

#[tokio::test]
async fn needs_a_session() {
    let site = Site::new().await;
    let answer = site.get("/auth/renew?rd=%2Fa").navigate().send().await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/auth/login?rd=%2Fa")));
    assert_eq!(site.get("/auth/renew?rd=/a").send().await.verdict(), "401 missing");
}

#[tokio::test]
async fn returns_to_nowhere_else() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let view = site.get("/auth/renew").session(&session).send().await.json();
    assert!(view["idle_deadline"].is_u64());
    for bad in ["//evil.example", "https://evil.example/", "/%0d%0a", "/\\evil.example"] {
        let path = format!("/auth/renew?rd={}", bad.replace('%', "%25"));
        let answer = site.get(&path).session(&session).send().await;
        assert_eq!((answer.status, answer.header("location")), (200, None), "{bad}");
    }
}
