//! The [OpenAPI 3.1](https://spec.openapis.org/oas/v3.1.0.html) description of each listener. It is generated from the types of
//! the request and response bodies, from the problems and their reasons, and from the settings for hosts and cookies.
//!
//! Both `/openapi.json` and `sealjar openapi` return it. `description.rs` serves it.

mod admin;
mod forward_auth;
mod operation;
mod public;
mod resource;

use utoipa::openapi::{Components, Info, License, OpenApi, OpenApiBuilder, Paths, Server};

use crate::web::cookie::Cookies;
use crate::web::hosts::Hosts;
use operation::SharedComponents;
use resource::Resource;

/// Returns the description of the public listener.
pub(crate) fn of_public(hosts: &Hosts, cookies: &Cookies) -> String {
    let mut shared = SharedComponents::default();
    let resources = public_resources(&mut shared);
    let servers = hosts.origins().map(|origin| Server::new(origin.to_string())).collect();
    let components = public::security(shared.components(), cookies);
    text(public::INTRODUCTION, resources, components, Some(servers))
}

fn public_resources(shared: &mut SharedComponents) -> Vec<Resource> {
    let mut all = public::resources(shared);
    all.extend(forward_auth::resources(shared));
    all
}

/// Returns the description of the admin listener. It names no server, because the address depends on the operator's network.
pub(crate) fn of_admin() -> String {
    let mut shared = SharedComponents::default();
    let resources = admin::resources(&mut shared);
    text(admin::INTRODUCTION, resources, shared.components(), None)
}

/// Returns the JSON text of a description.
fn text(introduction: &str, resources: Vec<Resource>, components: Components, servers: Option<Vec<Server>>) -> String {
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
    document.to_pretty_json().expect("texts and numbers can be serialized") + "\n"
}

/// Returns each path that is described for a listener, with its methods.
#[cfg(test)]
pub(super) fn paths(is_public: bool) -> std::collections::BTreeMap<String, Vec<salvo::http::Method>> {
    let mut shared = SharedComponents::default();
    let resources = if is_public { public_resources(&mut shared) } else { admin::resources(&mut shared) };
    resources.into_iter().map(Resource::methods).collect()
}
