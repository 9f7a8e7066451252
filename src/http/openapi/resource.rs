//! OpenAPI description of a resource: its path, and one operation per method.

use salvo::http::Method;
use utoipa::openapi::PathItem;
use utoipa::openapi::path::{HttpMethod, Operation, PathItemBuilder};

/// Description of a resource: a path and its operations.
pub(super) struct Resource {
    path: String,
    operations: Vec<(Method, HttpMethod, Operation)>,
}

impl Resource {
    /// Returns the resource at this path, without operations. The path is in the syntax of OpenAPI, with parameters in braces.
    pub(super) fn at(path: &str) -> Self {
        Self { path: path.to_owned(), operations: Vec::new() }
    }

    /// Adds an operation for GET, and a copy of it for HEAD.
    pub(super) fn get(self, operation: Operation) -> Self {
        let head = renamed(&operation, "Head");
        self.with(Method::GET, HttpMethod::Get, operation).with(Method::HEAD, HttpMethod::Head, head)
    }

    /// Adds an operation for POST.
    pub(super) fn post(self, operation: Operation) -> Self {
        self.with(Method::POST, HttpMethod::Post, operation)
    }

    /// Adds the same operation for every method that OpenAPI supports.
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
            .fold(start, |resource, (method, name, suffix)| resource.with(method, name, renamed(&operation, suffix)))
    }

    fn with(mut self, method: Method, name: HttpMethod, operation: Operation) -> Self {
        self.operations.push((method, name, operation));
        self
    }

    /// Returns the path with its methods.
    #[cfg(test)]
    pub(super) fn methods(self) -> (String, Vec<Method>) {
        (self.path, self.operations.into_iter().map(|(method, ..)| method).collect())
    }

    /// Returns the path and its description.
    pub(super) fn path_item(self) -> (String, PathItem) {
        let item = self
            .operations
            .into_iter()
            .fold(PathItemBuilder::new(), |item, (_, method, operation)| item.operation(method, operation));
        (self.path, item.build())
    }
}

/// Returns a copy of an operation. A suffix is added to its id, because ids must be unique.
fn renamed(operation: &Operation, suffix: &str) -> Operation {
    let mut other = operation.clone();
    other.operation_id = operation.operation_id.as_ref().map(|id| format!("{id}{suffix}"));
    other
}
