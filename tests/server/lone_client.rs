//! One browser alone never loses its session to copy detection: hours of it under a wall clock that is moved.

use crate::copies::{Clock, Jar, start};
use crate::harness::{Answer, Home, Server, Session, client};

/// Requests that a page sends at the same time: a method and a path, and the method that a proxy tells.
const REQUESTS: [(&str, &str, &str); 6] = [
    ("GET", "/auth/status", ""),
    ("HEAD", "/auth/status", ""),
    ("GET", "/auth/verify", "GET"),
    ("GET", "/auth/verify", "HEAD"),
    ("GET", "/auth/verify", "POST"),
    ("POST", "/auth/verify", ""),
];
const AT_ONCE: usize = 50;
const HOURS: u32 = 3;

/// Numbers that look random, and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

fn trusting_home() -> Home {
    Home::with_settings(&["http.trusted_proxies=127.0.0.1"])
}

/// Sends a request, as a browser or a proxy does.
fn send(server: &Server<'_>, session: &Session, number: usize) -> impl Future<Output = Answer> + Send + 'static {
    let (method, path, told) = REQUESTS[number % REQUESTS.len()];
    let method = method.parse().expect("a method");
    let request = client().request(method, server.url(path)).header("cookie", session.cookie());
    let request = if told.is_empty() { request } else { request.header("x-forwarded-method", told) };
    async { Answer::of(request.send().await.expect("a response")).await }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_parallel_and_lost_answers_end_no_session() {
    let home = trusting_home();
    let server = start(&home);
    let (mut clock, mut numbers) = (Clock::of(&home), Numbers(7));
    let mut session = server.login("alice").await;
    let mut changes = 0;
    for _ in 0..HOURS * 12 {
        clock.advance(5);
        let requests: Vec<_> = (0..AT_ONCE).map(|number| tokio::spawn(send(&server, &session, number))).collect();
        let mut renewed = Vec::new();
        for request in requests {
            let answer = request.await.expect("it ran");
            assert_eq!(answer.status, 200, "{}", answer.body);
            renewed.extend(answer.session);
        }
        // The last answer wins, whichever it is. Now and then, all are lost.
        if numbers.below(3) > 0 {
            session = renewed.swap_remove(numbers.below(renewed.len()));
            changes += 1;
        }
    }
    assert!(changes > 10, "{changes}");
    assert_eq!(server.metric("sealjar_copied_sessions_total").await, 0.0);
}

#[tokio::test]
async fn only_gets_and_heads_renew_before_the_last_third() {
    let home = trusting_home();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let session = server.login("alice").await;
    for (minutes, renewing) in [(4, [false; 6]), (1, [true, true, true, true, false, false]), (15, [true; 6])] {
        clock.advance(minutes);
        for (number, renews) in renewing.into_iter().enumerate() {
            let answer = send(&server, &session, number).await;
            assert_eq!(answer.session.is_some(), renews, "{:?} after {} min", REQUESTS[number], clock.minutes());
        }
    }
}

#[tokio::test]
async fn a_client_that_only_posts_is_renewed_in_time() {
    const POST: usize = 4;
    let home = trusting_home();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let mut jar = Jar(server.login("alice").await);
    let mut renewals = 0;
    for _ in 0..HOURS * 12 {
        clock.advance(5);
        let answer = send(&server, &jar.0, POST).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        if let Some(renewed) = answer.session {
            jar = Jar(renewed);
            renewals += 1;
        }
    }
    assert_eq!(renewals, HOURS * 60 / 20, "once in 20 minutes");
    assert_eq!(jar.visit(&server).await, "200");
}

#[tokio::test]
async fn an_answer_that_comes_one_renewal_late_is_forgiven() {
    let home = trusting_home();
    let server = start(&home);
    let mut clock = Clock::of(&home);
    let session = server.login("alice").await;
    clock.advance(5);
    let [mut jar, mut late] = [Jar(session.clone()), Jar(session)];
    for sibling in [&mut jar, &mut late] {
        assert_eq!(sibling.visit(&server).await, "200");
    }
    clock.advance(5);
    assert_eq!(jar.visit(&server).await, "200");
    // The other answer arrives only now, and replaces the cookie.
    jar = late;
    for _ in 0..3 {
        assert_eq!(jar.visit(&server).await, "200");
        clock.advance(5);
    }
}
