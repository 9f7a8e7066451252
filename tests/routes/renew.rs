//! Tests of `GET /auth/renew`. `/auth/verify` redirects a browser there to renew its session. `verify/renewal.rs` tests all
//! steps.

use super::fixture::Site;

#[tokio::test]
async fn needs_a_session() {
    let site = Site::new().await;
    let response = site.get("/auth/renew?rd=%2Fa").navigate().send().await;
    assert_eq!((response.status, response.header("location")), (302, Some("/auth/login?rd=%2Fa")));
    assert_eq!(site.get("/auth/renew?rd=/a").send().await.verdict(), "401 missing");
}

#[tokio::test]
async fn ignores_return_urls_of_other_sites() {
    let site = Site::new().await;
    let session = site.login("alice").await;
    let view = site.get("/auth/renew").session(&session).send().await.json();
    assert!(view["idle_deadline"].is_u64());
    for bad in ["//evil.example", "https://evil.example/", "/%0d%0a", "/\\evil.example"] {
        let path = format!("/auth/renew?rd={}", bad.replace('%', "%25"));
        let response = site.get(&path).session(&session).send().await;
        assert_eq!((response.status, response.header("location")), (200, None), "{bad}");
    }
}
