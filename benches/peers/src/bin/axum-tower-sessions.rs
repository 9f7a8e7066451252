//! axum with tower-sessions in Redis, whose address is the variable `REDIS_URL`.

use std::error::Error;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use sealjar_bench_peers::{Answer, KEY, USER, address};
use tokio::net::TcpListener;
use tower_sessions::{Session, SessionManagerLayer};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike, Config, Pool};

async fn sign_in(session: Session) -> StatusCode {
    match session.insert(KEY, USER).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn show(session: Session) -> Response {
    match session.get(KEY).await {
        Ok(Some(user)) => Json(Answer::to(user)).into_response(),
        Ok(None) => StatusCode::UNAUTHORIZED.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The number of connections is that of the store's own example.
    let pool = Pool::new(Config::from_url(&std::env::var("REDIS_URL")?)?, None, None, None, 6)?;
    pool.init().await?;
    // By default, a session is written only if it has changed.
    let sessions = SessionManagerLayer::new(RedisStore::new(pool));
    let router = Router::new().route("/sign-in", post(sign_in)).route("/session", get(show)).layer(sessions);
    let listener = TcpListener::bind(address()).await?.tap_io(|stream| stream.set_nodelay(true).expect("a TCP stream"));
    Ok(axum::serve(listener, router).await?)
}
