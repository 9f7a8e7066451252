//! The OpenAPI 3.1 description of each listener: made from the types that are read and written, from the problems and their reasons,
//! and from the settings that change names. What is served at `/openapi.json` is what `sealjar openapi` prints.
//!
//! `http.rs` asks [`describes`] for every route that it makes, so that none is served that is not described.

mod admin;
mod described;
mod forward_auth;
mod operation;
mod public;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use salvo::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use salvo::http::{Method, Request, StatusCode};
use salvo::hyper::body::Bytes;
use salvo::prelude::{Response, handler};
use sha2::{Digest, Sha256};
use utoipa::openapi::{Components, Info, License, OpenApi, OpenApiBuilder, Paths, Server};

use super::cookie::Cookies;
use super::hosts::Hosts;
use super::live::Live;
use described::Described;
use operation::Shared;

/// Whether the route, as Salvo spells it and without the slash, is described with exactly these methods.
pub(super) fn describes(route: &str, methods: &[Method]) -> bool {
    let mut shared = Shared::default();
    public_resources(&mut shared)
        .into_iter()
        .chain(admin::resources(&mut shared))
        .any(|resource| resource.is(route, methods))
}

/// The description of the public listener.
pub(crate) fn of_public(hosts: &Hosts, cookies: &Cookies) -> String {
    let mut shared = Shared::default();
    let resources = public_resources(&mut shared);
    let servers = hosts.origins().map(|origin| Server::new(origin.to_string())).collect();
    let components = public::security(shared.components(), cookies);
    text(public::INTRODUCTION, resources, components, Some(servers))
}

fn public_resources(shared: &mut Shared) -> Vec<Described> {
    let mut all = public::resources(shared);
    all.extend(forward_auth::resources(shared));
    all
}

/// The description of the admin listener, which is reached at whatever address its operator makes it reachable.
pub(crate) fn of_admin() -> String {
    let mut shared = Shared::default();
    let resources = admin::resources(&mut shared);
    text(admin::INTRODUCTION, resources, shared.components(), None)
}

fn text(introduction: &str, resources: Vec<Described>, components: Components, servers: Option<Vec<Server>>) -> String {
    let mut info = Info::new("Sealjar", env!("CARGO_PKG_VERSION"));
    info.description = Some(introduction.to_owned());
    let mut license = License::new("MIT OR Apache-2.0");
    license.identifier = Some("MIT OR Apache-2.0".to_owned());
    info.license = Some(license);
    let mut paths = Paths::new();
    for resource in resources {
        let (path, item) = resource.path_item();
        paths.paths.insert(path, item);
    }
    let document: OpenApi =
        OpenApiBuilder::new().info(info).servers(servers).paths(paths).components(Some(components)).build();
    document.to_pretty_json().expect("a tree of texts can be written") + "\n"
}

/// A description as it is served, prepared once.
#[derive(Debug, Clone)]
pub(crate) struct Description {
    body: Bytes,
    tag: HeaderValue,
}

impl Description {
    /// That of the public listener.
    pub(crate) fn of_public(hosts: &Hosts, cookies: &Cookies) -> Self {
        Self::new(of_public(hosts, cookies))
    }

    pub(super) fn new(text: String) -> Self {
        let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(Sha256::digest(&text)));
        Self { body: text.into(), tag: HeaderValue::try_from(tag).expect("base64url is visible ASCII") }
    }

    /// Whether the client has it already (RFC 9110 section 13.1.2).
    fn is_held(&self, headers: &HeaderMap) -> bool {
        let own = self.tag.as_bytes();
        headers.get_all(IF_NONE_MATCH).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).any(
            |tag| {
                let tag = tag.trim_ascii();
                tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == own
            },
        )
    }
}

/// `GET /openapi.json` of the public listener, whose settings may change.
pub(super) struct OfPublic(pub(super) Live);

#[handler]
impl OfPublic {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        self.0.load().description.write(request, response);
    }
}

/// `GET /openapi.json` of the admin listener.
#[handler]
impl Description {
    async fn handle(&self, request: &mut Request, response: &mut Response) {
        self.write(request, response);
    }
}

impl Description {
    fn write(&self, request: &Request, response: &mut Response) {
        let headers = response.headers_mut();
        headers.insert(ETAG, self.tag.clone());
        // It changes with the settings and the version.
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if self.is_held(request.headers()) {
            response.status_code(StatusCode::NOT_MODIFIED);
            return;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response.body(self.body.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_described_with_all_its_methods_and_no_other() {
        let get = [Method::GET, Method::HEAD];
        assert!(describes("auth/status", &get) && describes("healthz", &get));
        assert!(describes("auth/logout", &[Method::POST]));
        assert!(!describes("auth/statu", &get) && !describes("auth/login", &get));
        assert!(!describes("auth/status", &[Method::GET]));
        assert!(!describes("auth/status", &[Method::GET, Method::POST]));
    }

    #[test]
    fn a_description_that_is_held_is_known_by_its_tag() {
        let description = Description::new("{}".to_owned());
        let tag = description.tag.to_str().expect("visible ASCII").to_owned();
        for (value, is_held) in [
            (tag.clone(), true),
            (format!("W/{tag}"), true),
            (format!("\"other\", {tag}"), true),
            ("*".to_owned(), true),
            ("\"other\"".to_owned(), false),
            (tag.trim_matches('"').to_owned(), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, value.parse().expect("a header value"))]);
            assert_eq!(description.is_held(&headers), is_held, "{value}");
        }
        assert!(!description.is_held(&HeaderMap::new()));
    }
}
