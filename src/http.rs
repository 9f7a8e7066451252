//! The HTTP layer: every route on one page. The steps of every request, in their order, are in `entrance.rs`.
//!
//! A handler reads its input, acts, chooses the change of the session cookie, and returns a [`reply::Reply`] or a
//! [`problem::Problem`]. The public listener and the admin listener have separate routes: a request to one listener never reaches
//! a route of the other.

mod access;
pub(crate) mod admin_authorities;
pub(crate) mod app;
mod body;
pub(crate) mod body_waits;
pub(crate) mod connections;
pub(crate) mod context;
pub(crate) mod description;
pub(crate) mod entrance;
mod exposition;
mod forms;
pub(crate) mod forwarded;
pub(crate) mod headers;
mod health;
mod identity;
mod json;
pub(crate) mod key_waits;
mod login;
mod logout;
pub(crate) mod metrics;
mod misspelt;
pub(crate) mod node_reports;
pub(crate) mod openapi;
pub(crate) mod pages;
mod password;
mod problem;
mod proxy_hints;
mod reauthenticate;
pub(crate) mod reloads;
mod renew;
mod reply;
mod request_id;
pub(crate) mod return_url;
pub(crate) mod routes;
mod rules;
mod session_check;
mod session_view;
mod sign_in;
mod status;
pub(crate) mod throttle;
pub(crate) mod tls;
mod verify;

use app::AppHandle;
use context::Context;
use description::Description;
use pages::assets::{ICON, ICON_PATH, LOGO_PATH, STYLE, STYLE_PATH};
use problem::Problem;
use reply::Reply;
use routes::{HotRoute, Reread, Resource, Routes, change};
use verify::VerifyRoute;

/// Returns the routes of the public listener.
pub(crate) fn public(app: AppHandle) -> Routes {
    let resources = [
        // URLs that users type. The response is a redirect and never 200: a proxy that sends its verify requests here by mistake
        // would take a 200 as permission to let the client's request pass.
        Resource::at("/").get(Reread::Never, |_| Ok(Reply::found("/auth/status"))),
        Resource::at("/auth").get(Reread::Never, |_| Ok(Reply::found("/auth/status"))),
        Resource::at("/auth/").get(Reread::Never, |_| Ok(Reply::found("/auth/status"))),
        // The URL at which password managers find the form: https://w3c.github.io/webappsec-change-password-url/
        Resource::at("/.well-known/change-password").get(Reread::Never, |_| Ok(Reply::found("/auth/password"))),
        Resource::at("/auth/login").get(Reread::IfPossible, login::page::page).post(change!(login::login)),
        Resource::at("/auth/logout").post(change!(logout::logout)),
        Resource::at("/auth/logout/all").post(change!(logout::logout_all)),
        Resource::at("/auth/password").get(Reread::Always, password::page).post(change!(password::password)),
        Resource::at("/auth/reauthenticate")
            .get(Reread::Always, reauthenticate::page)
            .post(change!(reauthenticate::reauthenticate)),
        Resource::at("/auth/renew").get(Reread::Always, renew::renew),
        Resource::at(STYLE_PATH).get(Reread::Never, |_| Ok(Reply::prepared(STYLE.response()))).for_any_host(),
        Resource::at(ICON_PATH).get(Reread::Never, |_| Ok(Reply::prepared(ICON.response()))).for_any_host(),
        Resource::at(LOGO_PATH).get(Reread::Never, logo).for_any_host(),
        Resource::at("/openapi.json")
            .get(Reread::Never, |context| Ok(Reply::prepared(context.app.description.response(context.headers())))),
    ];
    Routes::public(app, hot, resources)
}

/// Responds to `GET /auth/logo` with the operator's logo, or with 404 if none is configured.
fn logo(context: &Context) -> Result<Reply, Problem> {
    let logo = context.app.pages.logo.as_deref().ok_or(Problem::NOT_FOUND)?;
    Ok(Reply::prepared(logo.response()))
}

/// Returns the hot route of a path, or `None`. Hot routes receive most of the requests (`routes.rs`).
fn hot(path: &str) -> Option<HotRoute> {
    Some(match path {
        "/auth/status" => HotRoute::get(status::status),
        "/protected" => HotRoute::get(status::protected),
        path => HotRoute::any(match VerifyRoute::of_path(path)? {
            VerifyRoute::Plain => verify::plain,
            VerifyRoute::Redirect => verify::redirect,
            VerifyRoute::Envoy => verify::envoy,
        }),
    })
}

/// Returns the routes of the admin listener.
pub(crate) fn admin(app: AppHandle) -> Routes {
    let description = Description::new(openapi::of_admin());
    let resources = [
        Resource::at("/healthz").get_by(|| health::healthz),
        Resource::at("/readyz").get_by(|| health::Ready(app.clone())),
        Resource::at("/metrics").get_by(|| metrics::Metrics(app.clone())),
        Resource::at("/openapi.json").get_by(|| description.clone()),
    ];
    Routes::new(app, resources)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use salvo::http::Method;

    use super::*;
    use crate::routes::asvs::{ACTION_ROUTES, VIEW_ROUTES};
    use crate::routes::fixture::Site;
    use crate::routes::keys::SESSION_ROUTES;
    use crate::routes::spellings::ROUTES;

    #[tokio::test]
    async fn every_route_is_described_with_its_methods() {
        let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/http.md"));
        let page = page.expect("the page can be read");
        let site = Site::new().await;
        for routes in [public(site.handle.clone()), admin(site.handle.clone())] {
            let described = openapi::paths(routes.is_public());
            let mut served: BTreeSet<&str> = BTreeSet::new();
            for (path, rereads) in routes.resources() {
                let methods: BTreeSet<_> = rereads.iter().map(|(method, _)| method).collect();
                let described_methods =
                    described.get(path).unwrap_or_else(|| panic!("{path} is not in src/http/openapi/"));
                assert_eq!(described_methods.iter().collect::<BTreeSet<_>>(), methods, "{path}");
                served.insert(path);
                assert!(page.contains(&format!("| `{path}` |")), "{path} is not in docs/reference/http.md");
                if !routes.is_public() {
                    continue;
                }
                let is_view = VIEW_ROUTES.contains(&path) || !methods.contains(&Method::GET);
                let is_action =
                    ACTION_ROUTES.iter().any(|(action, _)| *action == path) || !methods.contains(&Method::POST);
                assert!(is_view && is_action, "{path} is not in tests/routes/asvs.rs");
                let checks_session = rereads.contains(&(Method::GET, Reread::Always));
                assert!(
                    !checks_session || SESSION_ROUTES.contains(&("GET", path)),
                    "{path} is not in tests/routes/keys.rs"
                );
                assert!(ROUTES.contains(&path), "{path} is not in tests/routes/spellings.rs");
            }
            for (path, methods) in &described {
                let example = path.replace("{rule}", "role=a").replace("{path}", "x");
                let is_hot = routes.is_public() && hot(&example).is_some();
                assert!(is_hot != served.contains(path.as_str()), "{path} must be either a hot route or a resource");
                let refused = [Method::GET, Method::HEAD, Method::POST, Method::OPTIONS];
                let refused = refused.into_iter().filter(|method| !methods.contains(method));
                for method in refused {
                    assert!(
                        matches!(routes.find(&method, &example), routes::RouteMatch::OtherMethods(_)),
                        "{method} {path}"
                    );
                }
            }
        }
    }
}
