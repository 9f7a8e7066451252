//! axum with the encrypted cookies of axum-extra.

use axum::extract::FromRef;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use axum_extra::extract::PrivateCookieJar;
use axum_extra::extract::cookie::{Cookie, Key};
use sealjar_bench_peers::{Answer, KEY, USER, address};
use tokio::net::TcpListener;

#[derive(Clone)]
struct State(Key);

impl FromRef<State> for Key {
    fn from_ref(state: &State) -> Self {
        state.0.clone()
    }
}

async fn sign_in(jar: PrivateCookieJar) -> PrivateCookieJar {
    jar.add(Cookie::build((KEY, USER)).path("/").http_only(true).secure(true))
}

async fn show(jar: PrivateCookieJar) -> Response {
    match jar.get(KEY) {
        Some(user) => Json(Answer::to(user.value().to_owned())).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let router = Router::new().route("/sign-in", post(sign_in)).route("/session", get(show));
    let listener = TcpListener::bind(address()).await?.tap_io(|stream| stream.set_nodelay(true).expect("a TCP stream"));
    axum::serve(listener, router.with_state(State(Key::generate()))).await
}
