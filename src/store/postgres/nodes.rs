//! Node reports in PostgreSQL. Their order does not matter, so they are written without the lock of the log.

use super::Store;
use crate::clock::milliseconds;
use crate::id::NodeId;
use crate::store::error::StoreError;
use crate::store::log::signed;
use crate::store::node::{self, Node, NodeReport};

impl Store {
    pub(crate) async fn report_node(&self, report: &NodeReport) -> Result<(), StoreError> {
        let mut connection = self.0.write.get().await?;
        sqlx::query(
            "INSERT INTO node (id, name, kids, active, serves_for_ms, reported_at)
             VALUES ($1, $2, $3, $4, $5, CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT))
             ON CONFLICT (id) DO UPDATE SET
                name = excluded.name, kids = excluded.kids, active = excluded.active,
                serves_for_ms = excluded.serves_for_ms, reported_at = excluded.reported_at",
        )
        .bind(report.id.to_string())
        .bind(&report.name)
        .bind(report.kids_as_text())
        .bind(report.active.map(|kid| kid.to_string()))
        .bind(signed(milliseconds(report.serves_for)))
        .execute(&mut *connection)
        .await?;
        sqlx::query(
            "DELETE FROM node
             WHERE abs(CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - reported_at) > greatest($1, serves_for_ms)",
        )
        .bind(signed(milliseconds(node::REPORT_RETENTION)))
        .execute(&mut *connection)
        .await?;
        connection.finish();
        Ok(())
    }

    pub(crate) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let mut reading = self.reading().await?;
        let query = sqlx::query_as(
            "SELECT id, name, kids, active, serves_for_ms,
                    CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) - reported_at
             FROM node ORDER BY name, id",
        );
        let rows = query.fetch_all(&mut *reading.connection).await?;
        reading.finish();
        rows.into_iter().map(Node::of_row).collect()
    }

    pub(crate) async fn forget_node(&self, id: NodeId) -> Result<(), StoreError> {
        let mut connection = self.0.write.get().await?;
        sqlx::query("DELETE FROM node WHERE id = $1").bind(id.to_string()).execute(&mut *connection).await?;
        connection.finish();
        Ok(())
    }
}
