//! Sessions in a Salvo application of your own (feature `salvo`): its own sign-in, its own data in the session, and sign-outs
//! that hold.
//!
//! 1. [`Settings`] say under which origins browsers reach the application, and open a [`Jar`]: `open` with a key directory and a
//!    store (feature `store`), so that sessions survive a restart and sign-outs do, too; or [`Settings::in_memory`].
//! 2. [`Jar::hoop`] goes before the routes. It refuses requests for foreign hosts, and unsafe ones that another site may have sent
//!    (by `Sec-Fetch-Site` and `Origin`, so that forms need no token); verifies the session in place, without I/O; and
//!    renews the cookie when a tenth of the idle time has gone.
//! 3. Handlers take a [`Session<T>`](Session) and are thereby protected, or [`signed_in`] protects everything below a router.
//! 4. [`Jar::sign_in`] begins a session for whoever the application has made sure of; [`Jar::sign_out`] and
//!    [`Jar::sign_out_everywhere`] end sessions for good.
//!
//! ```
//! use salvo::prelude::*;
//! use sealjar::embed::{Claims, Jar, Problem, Session, Settings};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Cart { items: Vec<u32> }
//!
//! #[handler]
//! async fn sign_in(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
//!     // However the application makes sure of who it is: a password, a code, another service.
//!     let jar = Jar::of(depot)?;
//!     let claims = Claims { roles: &["staff"], ..Claims::of(Cart { items: vec![] }) };
//!     jar.sign_in(request, depot, "user-42", claims).await?;
//!     Ok(())
//! }
//!
//! #[handler]
//! async fn cart(session: Session<Cart>) -> String {
//!     format!("{} has {} items", session.sub, session.data.items.len())
//! }
//!
//! #[handler]
//! async fn sign_out(request: &mut Request, depot: &mut Depot) -> Result<(), Problem> {
//!     Jar::of(depot)?.sign_out(request, depot).await
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let jar = Settings::new(["https://app.example.com"]).in_memory()?;
//! let routes = Router::with_hoop(jar.hoop())
//!     .push(Router::with_path("sign-in").post(sign_in))
//!     .push(Router::with_path("cart").get(cart))
//!     .push(Router::with_path("sign-out").post(sign_out));
//! # drop(Service::new(routes));
//! # Ok(())
//! # }
//! ```
//!
//! Answers that change the cookie get `Cache-Control: no-store`, whatever they say themselves; others to a request with a live
//! session, unless they say otherwise; both `Vary: Cookie`. TLS is the application's or its proxy's business; the proxy must pass
//! `Host` on. [`Jar::close`] is the orderly end.
//!
//! Keys and store must be the application's own, not those of a Sealjar server. The cookie has a name of its own, too:
//! `__Host-sealjar-app`, `__Secure-sealjar-app` with a cookie domain, `sealjar-app-insecure` over plain HTTP.
//!
//! What it does not do: check passwords or limit attempts (that is the application's sign-in), or tell other nodes which keys it
//! holds, so `sealjar keys rotate --wait` does not know of it; `keys.activate_after`, two minutes, is time enough for all.

mod hoop;
mod jar;
mod open;
mod problem;
mod refusals;
mod session;

pub use hoop::{Hoop, signed_in};
pub use jar::Jar;
pub use open::{OpenError, Settings};
pub use problem::Problem;
pub use session::{Claims, Session};
