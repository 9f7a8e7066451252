//! Checks that every response in the tests of this directory is in the OpenAPI description.
//!
//! Called for each request by [`super::request`].

use std::sync::OnceLock;

use salvo::http::Method;
use serde_json::Value;

use super::fixture::Site;
use super::response::Response;
use crate::http::openapi;

/// Asserts that the description contains the status of a response, and the reason if it is a problem. Skips paths and methods
/// that are not described, verify routes with rules, and the reason of a response to HEAD, which has no body.
pub(super) fn check(site: &Site, method: &Method, path: &str, response: &Response) {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    let description = DESCRIPTION
        .get_or_init(|| serde_json::from_str(&openapi::of_public(&site.app.hosts, &site.app.cookies)).expect("JSON"));
    let described = &description["paths"][path][method.as_str().to_lowercase()];
    if described.is_null() {
        return;
    }
    let described_response = &described["responses"][response.status.to_string()];
    assert!(
        !described_response.is_null(),
        "{method} {path}: {} is not described in src/http/openapi/",
        response.status
    );
    let is_problem = response.header("content-type") == Some("application/problem+json");
    if is_problem
        && !response.body.is_empty()
        && let Some(reason) = response.json()["reason"].as_str()
    {
        let described_response = match described_response["$ref"].as_str() {
            Some(reference) => {
                description.pointer(reference.trim_start_matches('#')).expect("the target of the reference")
            }
            None => described_response,
        };
        let schema = &described_response["content"]["application/problem+json"]["schema"];
        let parts = schema["allOf"].as_array().expect("a problem and its reasons");
        let has_reason = |part: &Value| {
            part["properties"]["reason"]["enum"].as_array().is_some_and(|all| all.contains(&reason.into()))
        };
        assert!(
            parts.iter().any(has_reason),
            "{method} {path}: {} {reason} is not described in src/http/openapi/",
            response.status
        );
    }
}
