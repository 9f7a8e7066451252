//! Salvo's session middleware with signed cookies.

use salvo::http::StatusCode;
use salvo::prelude::{Depot, Json, Listener, Response, Router, Server, TcpListener, handler};
use salvo::session::{CookieStore, SessionDepotExt, SessionHandler};
use sealjar_bench_peers::{Answer, KEY, USER, address};

const SECRET: &[u8; 64] = b"a secret of 64 bytes, as long as Salvo asks for: 0123456789abcde";

#[handler]
async fn sign_in(depot: &mut Depot) -> StatusCode {
    let session = depot.session_mut().expect("the hoop puts it there");
    session.insert(KEY, USER).expect("text");
    StatusCode::OK
}

#[handler]
async fn show(depot: &mut Depot, response: &mut Response) {
    match depot.session().and_then(|session| session.get(KEY)) {
        Some(user) => response.render(Json(Answer::to(user))),
        None => {
            response.status_code(StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::main]
async fn main() {
    // Otherwise every response would write the session again.
    let sessions = SessionHandler::builder(CookieStore::new(), SECRET).save_unchanged(false).build();
    let router = Router::new()
        .hoop(sessions.expect("a long key"))
        .push(Router::with_path("sign-in").post(sign_in))
        .push(Router::with_path("session").get(show));
    Server::new(TcpListener::new(address()).bind().await).serve(router).await;
}
