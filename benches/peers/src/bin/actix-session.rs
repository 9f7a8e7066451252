//! actix-session in encrypted cookies, the default of its cookie store.

use actix_session::storage::CookieSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::Key;
use actix_web::{App, HttpResponse, HttpServer, get, post};
use sealjar_bench_peers::{Answer, KEY, USER, address};

#[post("/sign-in")]
async fn sign_in(session: Session) -> HttpResponse {
    session.insert(KEY, USER).expect("text");
    HttpResponse::Ok().finish()
}

#[get("/session")]
async fn show(session: Session) -> HttpResponse {
    match session.get(KEY) {
        Ok(Some(user)) => HttpResponse::Ok().json(Answer::to(user)),
        _ => HttpResponse::Unauthorized().finish(),
    }
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let key = Key::generate();
    let app = move || {
        let sessions = SessionMiddleware::new(CookieSessionStore::default(), key.clone());
        App::new().wrap(sessions).service(sign_in).service(show)
    };
    HttpServer::new(app).workers(1).bind(address())?.run().await
}
