//! Two servers on one SQLite file, as during a restart without downtime. They follow the revocation log in the
//! database, like nodes that share a PostgreSQL database.

use crate::harness::{Home, Server, Session};

#[tokio::test]
async fn two_servers_on_one_file_follow_each_other() {
    let home = Home::new();
    let first = home.start();
    let second = home.start();
    for _ in 0..5 {
        for (server, other) in [(&first, &second), (&second, &first)] {
            let session = server.login("alice").await;
            assert_eq!(other.status(&session).await, "200", "both servers have the same keys");
            assert_eq!(server.logout(&session).await, "200");
            other.until_status(&session, "401 revoked").await;
        }
    }
    // Both servers handle logouts at the same time. SQLite serializes the writers.
    let first_sessions = ten_logins(&first).await;
    let second_sessions = ten_logins(&second).await;
    tokio::join!(log_out(&first, &first_sessions), log_out(&second, &second_sessions));
    let last = first.login("alice").await;
    home.run_ok(&["revoke", "--user", "alice"]);
    second.until_status(&last, "401 revoked").await;
    first.until_status(&last, "401 revoked").await;
    first.kill();
    let third = home.start();
    for session in &second_sessions {
        second.until_status(session, "401 revoked").await;
    }
    for session in first_sessions.iter().chain(&second_sessions) {
        assert_eq!(third.status(session).await, "401 revoked", "no logout is lost if one server is killed");
    }
}

async fn ten_logins(server: &Server<'_>) -> Vec<Session> {
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
