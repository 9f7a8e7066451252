mod http2;
mod overload;

use super::*;

const IDLE: Duration = Duration::from_secs(75);

fn peer(port: u16) -> conn::SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port)).into()
}

fn connections(limit: usize) -> Arc<Connections> {
    Connections::new(limit, IDLE, TrustedProxies::default())
}

#[test]
fn one_gives_way_at_a_time_and_counts_until_it_is_gone() {
    let connections = connections(2);
    let [first, second] = [connections.add(&peer(1)), connections.add(&peer(2))];
    assert_eq!(connections.room(), Room::Closing(1));
    assert_eq!(connections.room(), Room::Closing(1), "the same one");
    assert!(first.slot.is_closing() && !second.slot.is_closing());
    drop(first);
    assert_eq!(connections.room(), Room::Free);
    let _third = connections.add(&peer(3));
    assert_eq!(connections.room(), Room::Closing(1));
    assert!(second.slot.is_closing());
}

#[test]
fn an_answer_keeps_the_connection_until_it_is_written() {
    let connections = connections(1);
    let connection = connections.add(&peer(1));
    let working = [connections.work_for(&peer(1)), connections.work_for(&peer(1))];
    assert_eq!(connections.room(), Room::None);
    let [one, other] = working;
    drop(one);
    connection.has_written();
    assert_eq!(connections.room(), Room::None, "the other is worked on");
    drop(other);
    assert_eq!(connections.room(), Room::None, "its answer is on the way");
    connection.has_written();
    assert_eq!(connections.room(), Room::Closing(1));
}

#[test]
fn two_connections_of_one_address_are_kept_and_leave_singly() {
    let connections = connections(2);
    let old = connections.add(&peer(1));
    let _new = connections.add(&peer(1));
    let _working = connections.work_for(&peer(1));
    let _nobody = connections.work_for(&conn::SocketAddr::Unknown);
    assert_eq!(connections.room(), Room::None);
    drop(old);
    assert_eq!(connections.room(), Room::Free);
    let _third = connections.add(&peer(2));
    assert_eq!(connections.room(), Room::Closing(1));
}

#[tokio::test]
async fn closing_ends_the_task_however_early_it_comes() {
    let (connections, tasks) = (connections(1), TaskTracker::new());
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
fn a_request_has_the_idle_time_and_work_stops_the_clock() {
    let connections = connections(9);
    let start = connections.now.load(Ordering::Relaxed);
    let at = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [silent, asking, trickling, working] = [1, 2, 3, 4].map(|port| connections.add(&peer(port)));
    let work = connections.work_for(&peer(4));
    at(70);
    asking.has_read();
    asking.has_written();
    trickling.has_read();
    at(76);
    assert!(silent.slot.is_closing(), "it never sent a byte");
    assert!(!asking.slot.is_closing() && !trickling.slot.is_closing() && !working.slot.is_closing());
    trickling.has_read();
    at(140);
    assert!(!asking.slot.is_closing() && !trickling.slot.is_closing());
    at(147);
    assert!(asking.slot.is_closing(), "it had its answer, and asked nothing more");
    assert!(trickling.slot.is_closing(), "a byte now and then is no request");
    assert!(!working.slot.is_closing());
    drop(work);
    at(150);
    assert!(working.slot.is_closing());
}

#[test]
fn who_takes_nothing_of_an_answer_is_closed() {
    let connections = connections(9);
    let start = connections.now.load(Ordering::Relaxed);
    let at = |seconds: u64| connections.close_idle(start + seconds * 1000 + 600);
    let [never, slowly] = [1, 2].map(|port| connections.add(&peer(port)));
    [&never, &slowly].into_iter().for_each(Connection::stalls);
    at(20);
    [&never, &slowly].into_iter().for_each(Connection::stalls);
    slowly.has_written();
    slowly.stalls();
    at(31);
    assert!(never.slot.is_closing() && !slowly.slot.is_closing());
    at(52);
    assert!(slowly.slot.is_closing());
}

#[test]
fn a_request_that_waits_for_something_else_may_give_way() {
    let connections = connections(1);
    let connection = connections.add(&peer(1));
    let working = connections.work_for(&peer(1));
    assert_eq!(connections.room(), Room::None);
    let paused = working.pause(Duration::from_secs(5));
    assert!(!connection.slot.is_closing());
    assert!(connection.slot.may_be_closed(milliseconds(Now::read().boot)), "and at once");
    drop(paused);
    assert_eq!(connections.room(), Room::None);
    let _paused = working.pause(Duration::from_secs(5));
    assert_eq!(connections.room(), Room::Closing(1));
}
