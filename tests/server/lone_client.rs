//! Copy detection never ends the session of a single browser. The tests simulate hours of use by moving the wall clock.

use crate::copies::{Clock, Jar, start};
use crate::harness::{Home, Response, Server, Session, client};

/// Requests that a page sends in parallel: method, path, and the method that a proxy forwards.
const REQUESTS: [(&str, &str, &str); 6] = [
    ("GET", "/auth/status", ""),
    ("HEAD", "/auth/status", ""),
    ("GET", "/auth/verify", "GET"),
    ("GET", "/auth/verify", "HEAD"),
    ("GET", "/auth/verify", "POST"),
    ("POST", "/auth/verify", ""),
];
/// Number of parallel requests.
const PARALLEL: usize = 50;
/// Duration of a test on the simulated clock.
const HOURS: u32 = 3;

/// Pseudorandom numbers with a fixed seed, by a linear congruential generator.
struct Random(u64);

impl Random {
    /// Returns the next number, which is less than `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn home_behind_proxy() -> Home {
    Home::with_settings(&["http.trusted_proxies=127.0.0.1"])
}

/// Sends a request, as a browser or a proxy does.
fn send(server: &Server<'_>, session: &Session, number: usize) -> impl Future<Output = Response> + Send + 'static {
    let (method, path, forwarded_method) = REQUESTS[number % REQUESTS.len()];
    let method = method.parse().expect("a method");
    let request = client().request(method, server.url(path)).header("cookie", session.cookie());
    let request =
        if forwarded_method.is_empty() { request } else { request.header("x-forwarded-method", forwarded_method) };
    async { Response::of(request.send().await.expect("a response")).await }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_requests_and_lost_responses_end_no_session() {
    let home = home_behind_proxy();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let mut random = Random(7);
    let mut session = server.login("alice").await;
    let mut changes = 0;
    for _ in 0..HOURS * 12 {
        clock.advance(5);
        let requests: Vec<_> = (0..PARALLEL).map(|number| tokio::spawn(send(&server, &session, number))).collect();
        let mut renewed = Vec::new();
        for request in requests {
            let response = request.await.expect("the task finishes");
            assert_eq!(response.status, 200, "{}", response.body);
            renewed.extend(response.session);
        }
        // The browser keeps the cookie of the last response, which may be any of them. Sometimes all responses are lost.
        if random.below(3) > 0 {
            session = renewed.swap_remove(random.below(renewed.len()));
            changes += 1;
        }
    }
    assert!(changes > 10, "{changes}");
    assert_eq!(server.metric("sealjar_copied_sessions_total").await, 0.0);
}

#[tokio::test]
async fn only_gets_and_heads_renew_before_the_last_third() {
    let home = home_behind_proxy();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let session = server.login("alice").await;
    for (minutes, renewing) in [(4, [false; 6]), (1, [true, true, true, true, false, false]), (15, [true; 6])] {
        clock.advance(minutes);
        for (number, renews) in renewing.into_iter().enumerate() {
            let response = send(&server, &session, number).await;
            assert_eq!(response.session.is_some(), renews, "{:?} after {} min", REQUESTS[number], clock.minutes());
        }
    }
}

#[tokio::test]
async fn a_client_that_only_posts_is_renewed_in_time() {
    const POST: usize = 4;
    let home = home_behind_proxy();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let mut jar = Jar(server.login("alice").await);
    let mut renewals = 0;
    for _ in 0..HOURS * 12 {
        clock.advance(5);
        let response = send(&server, &jar.0, POST).await;
        assert_eq!(response.status, 200, "{}", response.body);
        if let Some(renewed) = response.session {
            jar = Jar(renewed);
            renewals += 1;
        }
    }
    assert_eq!(renewals, HOURS * 60 / 20, "the session is renewed once in 20 minutes");
    assert_eq!(jar.request_status(&server).await, "200");
}

#[tokio::test]
async fn a_response_that_is_one_renewal_late_ends_no_session() {
    let home = home_behind_proxy();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let session = server.login("alice").await;
    clock.advance(5);
    let [mut jar, mut late] = [Jar(session.clone()), Jar(session)];
    for sibling in [&mut jar, &mut late] {
        assert_eq!(sibling.request_status(&server).await, "200");
    }
    clock.advance(5);
    assert_eq!(jar.request_status(&server).await, "200");
    // The other response arrives only now, and its cookie replaces the newer one.
    jar = late;
    for _ in 0..3 {
        assert_eq!(jar.request_status(&server).await, "200");
        clock.advance(5);
    }
}
