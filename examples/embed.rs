//! A shop that embeds Sealjar's sessions. It has its own login, stores a cart in the session, and has its own keys.
//!
//! Run `sealjar keys init --keys shop-keys` once, and then `cargo run --example embed 127.0.0.1:8000` in the same directory.

use salvo::prelude::*;
use sealjar::embed::{Claims, Jar, Problem, Session, Settings};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
}

/// Authenticates a user in the shop's own way, with a code that the shop has sent by mail, and starts a session.
#[handler]
async fn sign_in(request: &mut Request, depot: &mut Depot) -> Result<StatusCode, Problem> {
    if request.form::<String>("code").await.as_deref() != Some("2718") {
        return Ok(StatusCode::FORBIDDEN);
    }
    let claims = Claims { display_name: "Ada", roles: &["customer"], ..Claims::of(Cart::default()) };
    Jar::of(depot)?.sign_in(request, depot, "customer-42", claims).await.map(|_| StatusCode::OK)
}

#[handler]
async fn cart(session: Session<Cart>) -> String {
    format!("{}: {}\n", session.display_name, session.data.items.join(", "))
}

#[handler]
async fn add(session: Session<Cart>, request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
    let Cart { mut items } = session.data;
    items.extend(request.form::<String>("item").await);
    Jar::of(depot)?.replace_data(request, depot, &Cart { items })
}

#[handler]
async fn sign_out(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
    Jar::of(depot)?.sign_out(request, depot).await
}

#[handler]
async fn sign_out_everywhere(session: Session<Cart>, depot: &mut Depot) -> Result<(), Problem> {
    Jar::of(depot)?.sign_out_everywhere(&session.sub).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8000".to_owned());
    let jar = Settings::new("shop", [format!("http://{address}")]).open("shop-keys", "sqlite://sign-outs.db").await?;
    let routes = Router::with_hoop(jar.hoop())
        .push(Router::with_path("sign-in").post(sign_in))
        .push(Router::with_path("cart").get(cart).post(add))
        .push(Router::with_path("sign-out").post(sign_out))
        .push(Router::with_path("sign-out/everywhere").post(sign_out_everywhere));
    let server = Server::new(TcpListener::new(address).bind().await);
    let handle = server.handle();
    let stop = async { tokio::signal::ctrl_c().await.map(|()| handle.stop_graceful(None)) };
    tokio::join!(stop, server.serve(routes)).0?;
    Ok(jar.close().await?)
}
