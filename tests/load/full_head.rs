//! Duration of a request with as many session cookies as the request head can contain.

use std::time::Instant;

use crate::harness::Home;
use crate::{Wire, alone};

const REQUESTS: u32 = 200;
const COOKIES: usize = 370;

#[tokio::test]
async fn prints_the_time_that_the_fullest_head_takes() {
    let home = Home::new();
    let server = home.start();
    let session = server.login("alice").await;
    let cookie = session.cookie();
    // Cookies with the id of an existing key that do not open. A sibling host can set them in front of the valid one.
    let junk = (0..COOKIES).map(|number| format!("__Host-sealjar={}{number:A>55}; ", &session.0[..12]));
    let full = junk.collect::<String>() + &cookie;
    let _alone = alone();
    let mut wire = Wire::to(&server.public);
    for (count, cookies) in [(1, &cookie), (COOKIES + 1, &full)] {
        let started = Instant::now();
        for _ in 0..REQUESTS {
            assert_eq!(wire.get("/auth/status", cookies).status, 200);
        }
        println!("a status request with {count} session cookies: {:?} on average", started.elapsed() / REQUESTS);
    }
}
