//! Sessions in a Salvo application (feature `salvo`): its own login, its own data in the session, and logouts that take effect
//! immediately and permanently.
//!
//! 1. [`Settings`] take the application's name and the origins under which browsers reach it, and open a [`Jar`].
//!    `Settings::open` (feature `store`) takes a key directory and a store: sessions and logouts survive a restart.
//!    [`Settings::in_memory`] needs neither.
//! 2. [`Jar::hoop`] is the middleware before the routes; Salvo calls middleware a *hoop*. It refuses requests for other hosts. It
//!    refuses requests that another site may have sent, by `Sec-Fetch-Site` and `Origin`, so forms need no token. It verifies the
//!    session without I/O. In responses to GET and HEAD it renews the cookie every five minutes (or every sixth of the idle time,
//!    if that is less), and in other responses only in the last third of the idle time.
//! 3. A handler that takes a [`Session<T>`](Session) runs only with a live session. [`signed_in`] protects all routes of a
//!    router.
//! 4. [`Jar::sign_in`] starts a session for a user whom the application has authenticated. [`Jar::sign_out`] and
//!    [`Jar::sign_out_everywhere`] end sessions.
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
//!     // The application authenticates the user first: with a password, a code or another service.
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
//! let jar = Settings::new("shop", ["https://app.example.com"]).in_memory()?;
//! let routes = Router::with_hoop(jar.hoop())
//!     .push(Router::with_path("sign-in").post(sign_in))
//!     .push(Router::with_path("cart").get(cart))
//!     .push(Router::with_path("sign-out").post(sign_out));
//! # drop(Service::new(routes));
//! # Ok(())
//! # }
//! ```
//!
//! # Cargo.toml
//!
//! ```toml
//! [dependencies]
//! # A clone of the repository: Sealjar is not on crates.io yet.
//! sealjar = { path = "../sealjar", default-features = false, features = ["store"] }
//! salvo = { version = "1.1", default-features = false, features = ["server", "http1"] }
//! serde = { version = "1", features = ["derive"] }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! Use the version of Salvo that this crate uses. With another major version the application contains two versions of Salvo, and
//! the compiler reports that [`Hoop`] does not implement `Handler`: it implements the `Handler` of the other version. `cargo tree
//! -i salvo` must list one version.
//!
//! # A browser without a session
//!
//! By default, every request without a live session gets 401. With [`Settings::sign_in_at`], a browser that opens a page is
//! redirected to the sign-in page of the application. After the login, [`return_path`] is the path of the first page. Programs
//! still get 401.
//!
//! # Keys and store
//!
//! The application has its own keys and its own store. All nodes of the application share them. A Sealjar server must not use
//! them, and a store that has accounts is refused. Create the keys with `sealjar keys init --keys DIRECTORY`, rotate them with
//! `sealjar keys rotate`.
//!
//! A node does not report which keys it has. So `sealjar keys rotate --wait` does not wait for it. `keys.activate_after` (two
//! minutes by default) is enough time for every node to read the new key.
//!
//! To revoke a key, use `sealjar keys revoke` with `--store` and the store of the application. Then every node refuses the key.
//! If the key is revoked in its file only, a logout with a token of that key gets 503 `key-elsewhere`
//! ([`Problem::KeyElsewhere`]): another node may still accept the session. The same holds for a token whose key is not in the
//! directory.
//!
//! # Cookie
//!
//! The cookie of the application `shop` is `__Host-sealjar-app-shop`; with a cookie domain `__Secure-sealjar-app-shop`; over
//! plain HTTP `sealjar-app-shop-insecure`. A token is bound to the name of its cookie. So a session of a Sealjar server, or of an
//! application with another name, is never accepted here, even if they have the same keys.
//!
//! A response with a status of 400 or above sets no cookie for a login or for new data, so a handler that fails logs nobody in.
//! It still renews the session, and removes the cookie after a logout.
//!
//! A response that changes the cookie has `Cache-Control: no-store`. Another response to a request with a live session has it
//! too, unless the handler sets `Cache-Control`. All these responses have `Vary: Cookie`.
//!
//! # Copy detection
//!
//! If two clients use one cookie, the session ends, and a warning is logged. [`Settings::copy_detection`] turns this off.
//! Replacing the data of a session ([`Jar::replace_data`]) does not renew it, unless the session is due for renewal.
//!
//! # Tasks of the application
//!
//! The application checks passwords and limits login attempts. It terminates TLS, or is behind a proxy that terminates TLS and
//! forwards the `Host` field unchanged. Before it exits, it awaits [`Jar::close`], which writes the last logouts to the store.

mod hoop;
mod jar;
mod navigation;
mod problem;
mod revocations;
mod session;
mod settings;

pub use hoop::{Hoop, signed_in};
pub use jar::Jar;
pub use navigation::return_path;
pub use problem::Problem;
pub use session::{Claims, Session};
pub use settings::{OpenError, Settings};
