//! The connection limit, idle timeouts and stalls, with connections that have no socket.

mod http2;
mod overload;

use super::*;

const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

fn peer(port: u16) -> conn::SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port)).into()
}

fn connections(limit: usize) -> Arc<Connections> {
    Connections::new(limit, IDLE_TIMEOUT, TrustedProxies::default())
}

#[test]
fn closes_one_connection_at_a_time_at_the_limit() {
    let connections = connections(2);
    let [first, second] = [connections.add(&peer(1)), connections.add(&peer(2))];
    assert_eq!(connections.ensure_capacity(), Capacity::Closing(1));
    assert_eq!(connections.ensure_capacity(), Capacity::Closing(1), "the same connection is still being closed");
    assert!(first.slot.is_closing() && !second.slot.is_closing());
    drop(first);
    assert_eq!(connections.ensure_capacity(), Capacity::Available);
    let _third = connections.add(&peer(3));
    assert_eq!(connections.ensure_capacity(), Capacity::Closing(1));
    assert!(second.slot.is_closing());
}

#[test]
fn does_not_close_a_connection_before_its_response_is_sent() {
    let connections = connections(1);
    let connection = connections.add(&peer(1));
    let working = [connections.begin_work(&peer(1)), connections.begin_work(&peer(1))];
    assert_eq!(connections.ensure_capacity(), Capacity::None);
    let [one, other] = working;
    drop(one);
    connection.record_write();
    assert_eq!(connections.ensure_capacity(), Capacity::None, "the other request is still in progress");
    drop(other);
    assert_eq!(connections.ensure_capacity(), Capacity::None, "the response of the other request is on its way");
    connection.record_write();
    assert_eq!(connections.ensure_capacity(), Capacity::Closing(1));
}

#[test]
fn two_connections_of_one_address_are_separate() {
    let connections = connections(2);
    let old = connections.add(&peer(1));
    let _new = connections.add(&peer(1));
    let _working = connections.begin_work(&peer(1));
    let _work_of_unknown_peer = connections.begin_work(&conn::SocketAddr::Unknown);
    assert_eq!(connections.ensure_capacity(), Capacity::None);
    drop(old);
    assert_eq!(connections.ensure_capacity(), Capacity::Available);
    let _third = connections.add(&peer(2));
    assert_eq!(connections.ensure_capacity(), Capacity::Closing(1));
}

#[tokio::test]
async fn closing_a_connection_ends_its_task_even_at_its_start() {
    let connections = connections(1);
    let tasks = TaskTracker::new();
    connections.open(&peer(1), &tasks, |connection| async move {
        let _connection = connection;
        std::future::pending().await
    });
    connections.open(&peer(2), &tasks, |connection| {
        connection.connections.close();
        async move {
            let _connection = connection;
            std::future::pending().await
        }
    });
    tasks.close();
    tasks.wait().await;
    assert_eq!(connections.count(), 0);
}

#[test]
fn a_request_must_be_complete_within_the_idle_timeout() {
    let connections = connections(9);
    let start = connections.now_ms.load(Ordering::Relaxed);
    let advance_to = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [silent, requesting, trickling, working] = [1, 2, 3, 4].map(|port| connections.add(&peer(port)));
    let work = connections.begin_work(&peer(4));
    advance_to(70);
    requesting.record_read();
    requesting.record_write();
    trickling.record_read();
    advance_to(76);
    assert!(silent.slot.is_closing(), "the client never sent a byte");
    assert!(!requesting.slot.is_closing() && !trickling.slot.is_closing() && !working.slot.is_closing());
    trickling.record_read();
    advance_to(140);
    assert!(!requesting.slot.is_closing() && !trickling.slot.is_closing());
    advance_to(147);
    assert!(requesting.slot.is_closing(), "the client got its response and sent no other request");
    assert!(trickling.slot.is_closing(), "single bytes do not postpone the idle timeout");
    assert!(!working.slot.is_closing());
    drop(work);
    advance_to(150);
    assert!(working.slot.is_closing());
}

#[test]
fn closes_a_client_that_takes_no_byte_of_its_response() {
    let connections = connections(9);
    let start = connections.now_ms.load(Ordering::Relaxed);
    let advance_to = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [stalled, slow] = [1, 2].map(|port| connections.add(&peer(port)));
    [&stalled, &slow].into_iter().for_each(Connection::record_stall);
    advance_to(20);
    [&stalled, &slow].into_iter().for_each(Connection::record_stall);
    slow.record_write();
    slow.record_stall();
    advance_to(31);
    assert!(stalled.slot.is_closing() && !slow.slot.is_closing());
    advance_to(52);
    assert!(slow.slot.is_closing());
}

#[test]
fn paused_work_does_not_protect_a_connection() {
    let connections = connections(1);
    let connection = connections.add(&peer(1));
    let working = connections.begin_work(&peer(1));
    assert_eq!(connections.ensure_capacity(), Capacity::None);
    let paused = working.pause(Duration::from_secs(5));
    assert!(!connection.slot.is_closing());
    assert!(connection.slot.may_be_closed(milliseconds(Now::read().boot)), "the connection may be closed immediately");
    drop(paused);
    assert_eq!(connections.ensure_capacity(), Capacity::None);
    let _paused = working.pause(Duration::from_secs(5));
    assert_eq!(connections.ensure_capacity(), Capacity::Closing(1));
}
