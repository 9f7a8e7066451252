//! A resource as it is described: its path, and an operation for each method.

use salvo::http::Method;
use utoipa::openapi::PathItem;
use utoipa::openapi::path::{HttpMethod, Operation, PathItemBuilder};

/// A path and its operations.
pub(super) struct Described {
    path: String,
    operations: Vec<(Method, HttpMethod, Operation)>,
}

impl Described {
    /// The resource at this path, as OpenAPI spells it.
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.to_owned(), operations: Vec::new() }
    }

    /// GET and, as everywhere, HEAD.
    pub(super) fn get(self, operation: Operation) -> Self {
        let head = renamed(&operation, "Head");
        self.with(Method::GET, HttpMethod::Get, operation).with(Method::HEAD, HttpMethod::Head, head)
    }

    pub(super) fn post(self, operation: Operation) -> Self {
        self.with(Method::POST, HttpMethod::Post, operation)
    }

    /// The same for any method that OpenAPI knows.
    pub(super) fn any(self, operation: Operation) -> Self {
        let others = [
            (Method::POST, HttpMethod::Post, "Post"),
            (Method::PUT, HttpMethod::Put, "Put"),
            (Method::PATCH, HttpMethod::Patch, "Patch"),
            (Method::DELETE, HttpMethod::Delete, "Delete"),
            (Method::OPTIONS, HttpMethod::Options, "Options"),
            (Method::TRACE, HttpMethod::Trace, "Trace"),
        ];
        let start = self.get(operation.clone());
        others
            .into_iter()
            .fold(start, |all, (method, described, suffix)| all.with(method, described, renamed(&operation, suffix)))
    }

    fn with(mut self, method: Method, described: HttpMethod, operation: Operation) -> Self {
        self.operations.push((method, described, operation));
        self
    }

    /// Returns the path with its methods.
    #[cfg(test)]
    pub(super) fn methods(self) -> (String, Vec<Method>) {
        (self.path, self.operations.into_iter().map(|(method, ..)| method).collect())
    }

    pub(super) fn path_item(self) -> (String, PathItem) {
        let item = self
            .operations
            .into_iter()
            .fold(PathItemBuilder::new(), |item, (_, method, operation)| item.operation(method, operation));
        (self.path, item.build())
    }
}

fn renamed(operation: &Operation, suffix: &str) -> Operation {
    let mut other = operation.clone();
    other.operation_id = operation.operation_id.as_ref().map(|id| format!("{id}{suffix}"));
    other
}
