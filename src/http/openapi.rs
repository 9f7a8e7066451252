//! The OpenAPI 3.1 description of each listener: made from the types that are read and written, from the problems and their reasons,
//! and from the settings that change names. What is served at `/openapi.json` is what `sealjar openapi` prints.

mod admin;
mod described;
mod forward_auth;
mod operation;
mod public;

use utoipa::openapi::{Components, Info, License, OpenApi, OpenApiBuilder, Paths, Server};

use crate::web::cookie::Cookies;
use crate::web::hosts::Hosts;
use described::Described;
use operation::Shared;

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

/// Returns each path that is described for a listener, with its methods.
#[cfg(test)]
pub(super) fn paths(is_public: bool) -> std::collections::BTreeMap<String, Vec<salvo::http::Method>> {
    let mut shared = Shared::default();
    let resources = if is_public { public_resources(&mut shared) } else { admin::resources(&mut shared) };
    resources.into_iter().map(Described::methods).collect()
}
