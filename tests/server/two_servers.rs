//! Two servers on one SQLite file, as during a restart without a gap: they follow each other's log, as nodes on PostgreSQL do.

use crate::harness::{Home, Server, Session};

#[tokio::test]
async fn two_servers_on_one_file_follow_each_other() {
    let home = Home::new();
    let first = home.start();
    let second = home.start();
    for _ in 0..5 {
        for (here, there) in [(&first, &second), (&second, &first)] {
            let session = here.login("alice").await;
            assert_eq!(there.status(&session).await, "200", "they have the same keys");
            assert_eq!(here.logout(&session).await, "200");
            there.until_status(&session, "401 revoked").await;
        }
    }
    // At the same time: SQLite lets one writer in after the other.
    let of_first = ten(&first).await;
    let of_second = ten(&second).await;
    tokio::join!(log_out(&first, &of_first), log_out(&second, &of_second));
    let last = first.login("alice").await;
    home.ok(&["revoke", "--user", "alice"]);
    second.until_status(&last, "401 revoked").await;
    first.until_status(&last, "401 revoked").await;
    first.kill();
    let third = home.start();
    for session in &of_second {
        second.until_status(session, "401 revoked").await;
    }
    for session in of_first.iter().chain(&of_second) {
        assert_eq!(third.status(session).await, "401 revoked", "nothing is lost if one is killed");
    }
}

async fn ten(server: &Server<'_>) -> Vec<Session> {
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(server.login("alice").await);
    }
    sessions
}

async fn log_out(server: &Server<'_>, sessions: &[Session]) {
    for session in sessions {
        assert_eq!(server.logout(session).await, "200");
    }
}
