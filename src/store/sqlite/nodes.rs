//! Node reports in SQLite. The store's clock is the clock of the machine, because all servers that use the file are on one
//! machine.

use super::Store;
use crate::clock::milliseconds;
use crate::id::NodeId;
use crate::store::error::StoreError;
use crate::store::log::signed;
use crate::store::node::{self, Node, NodeReport};

impl Store {
    pub(crate) async fn report_node(&self, report: &NodeReport) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO node (id, name, kids, active, serves_for_ms, reported_at)
             VALUES (?, ?, ?, ?, ?, CAST(unixepoch('subsec') * 1000 AS INTEGER))
             ON CONFLICT (id) DO UPDATE SET
                name = excluded.name, kids = excluded.kids, active = excluded.active,
                serves_for_ms = excluded.serves_for_ms, reported_at = excluded.reported_at",
        )
        .bind(report.id.to_string())
        .bind(&report.name)
        .bind(report.kids_as_text())
        .bind(report.active.map(|kid| kid.to_string()))
        .bind(signed(milliseconds(report.serves_for)))
        .execute(&mut *transaction.connection)
        .await?;
        sqlx::query(
            "DELETE FROM node
             WHERE abs(CAST(unixepoch('subsec') * 1000 AS INTEGER) - reported_at) > max(?, serves_for_ms)",
        )
        .bind(signed(milliseconds(node::REPORT_RETENTION)))
        .execute(&mut *transaction.connection)
        .await?;
        transaction.commit().await
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let query = sqlx::query_as(
            "SELECT id, name, kids, active, serves_for_ms,
                    CAST(unixepoch('subsec') * 1000 AS INTEGER) - reported_at
             FROM node ORDER BY name, id",
        );
        let mut reading = self.reading().await?;
        query.fetch_all(&mut *reading.connection).await?.into_iter().map(Node::of_row).collect()
    }

    pub(crate) async fn forget_node(&self, id: NodeId) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let query = sqlx::query("DELETE FROM node WHERE id = ?").bind(id.to_string());
        query.execute(&mut *transaction.connection).await?;
        transaction.commit().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::id::Kid;
    use crate::store::node::MIN_SERVING_TIME;
    use crate::store::records::EmptyPolicy;

    /// Milliseconds in a second.
    const SECOND: i64 = 1_000;

    fn report(name: &str, kids: &[u8], active: Option<u8>) -> NodeReport {
        let kid = |number| Kid::from_bytes([number; 8]);
        let kids = kids.iter().copied().map(kid).collect();
        NodeReport {
            id: NodeId::random(),
            name: name.to_owned(),
            kids,
            active: active.map(kid),
            serves_for: MIN_SERVING_TIME,
        }
    }

    async fn new_store() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("test.db");
        assert!(Store::create(&path).expect("a new file"));
        let store = Store::open(&path, EmptyPolicy::Filled).await.expect("an empty database");
        (home, store)
    }

    /// Increases the age of a node's report by `milliseconds`.
    async fn age(store: &Store, node: &NodeReport, milliseconds: i64) {
        let query = sqlx::query("UPDATE node SET reported_at = reported_at - ? WHERE id = ?");
        query.bind(milliseconds).bind(node.id.to_string()).execute(&store.write).await.expect("a row");
    }

    #[tokio::test]
    async fn returns_the_last_report_of_each_node_until_it_stops() {
        let (_home, store) = new_store().await;
        assert_eq!(store.nodes().await.expect("read"), []);
        let one = report("b", &[1, 2], Some(2));
        let other = report("a", &[], None);
        store.report_node(&report("c", &[3], Some(3))).await.expect("recorded");
        store.report_node(&NodeReport { kids: Vec::new(), active: None, ..one.clone() }).await.expect("recorded");
        store.report_node(&other).await.expect("recorded");
        store.report_node(&one).await.expect("recorded");
        let nodes = store.nodes().await.expect("read");
        assert!(nodes.iter().all(Node::is_live));
        let reports: Vec<_> = nodes.into_iter().map(|node| node.report).collect();
        assert_eq!(reports[..2], [other.clone(), one.clone()]);
        assert_eq!(reports.len(), 3);
        store.forget_node(one.id).await.expect("deleted");
        store.forget_node(reports[2].id).await.expect("deleted");
        let remaining: Vec<_> = store.nodes().await.expect("read").into_iter().map(|node| node.report).collect();
        assert_eq!(remaining, [other]);
    }

    #[tokio::test]
    async fn a_report_is_live_for_30_s_and_deleted_after_an_hour() {
        let (_home, store) = new_store().await;
        for sign in [1, -1] {
            let silent = report("silent", &[1], Some(1));
            store.report_node(&silent).await.expect("recorded");
            for (seconds, is_live) in [(20, true), (20, false), (3_500, false)] {
                age(&store, &silent, sign * seconds * SECOND).await;
                let nodes = store.nodes().await.expect("read");
                let node = nodes.iter().find(|node| node.report == silent).expect("the report is not deleted yet");
                assert_eq!(node.is_live(), is_live, "{:?}", node.age);
            }
            let other = report("other", &[1], Some(1));
            store.report_node(&other).await.expect("recorded");
            assert!(
                store.nodes().await.expect("read").iter().any(|node| node.report == silent),
                "a report that is less than an hour old is not deleted"
            );
            let serving = NodeReport { serves_for: Duration::from_secs(3_700), ..report("serving", &[1], Some(1)) };
            store.report_node(&serving).await.expect("recorded");
            age(&store, &silent, sign * 100 * SECOND).await;
            age(&store, &serving, sign * 3_640 * SECOND).await;
            store.report_node(&other).await.expect("recorded");
            assert!(store.nodes().await.expect("read").iter().all(|node| node.report != silent));
            assert!(store.nodes().await.expect("read").iter().any(|node| node.report == serving && node.may_serve()));
            age(&store, &serving, sign * 100 * SECOND).await;
            store.report_node(&other).await.expect("recorded");
            assert!(store.nodes().await.expect("read").iter().all(|node| node.report != serving));
        }
    }
}
