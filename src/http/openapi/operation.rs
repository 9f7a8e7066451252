//! OpenAPI description of an operation: its parameters and body, its responses, and its problems.

use std::collections::BTreeMap;

use salvo::http::StatusCode;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{AllOfBuilder, Components, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, Header, Ref, RefOr, Required, Response};

use crate::http::problem::{Problem, ProblemBody};

pub(super) const JSON: &str = "application/json";
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
pub(super) const HTML: &str = "text/html";
const PROBLEM: &str = "application/problem+json";

/// Name of the security scheme for the session cookie.
pub(super) const SESSION: &str = "session";

/// Schemas and responses that several operations share. Operations contain references to them.
#[derive(Default)]
pub(super) struct SharedComponents {
    schemas: BTreeMap<String, RefOr<Schema>>,
    responses: BTreeMap<String, Response>,
}

impl SharedComponents {
    /// Returns a reference to the schema of a type.
    pub(super) fn of<T: ToSchema>(&mut self) -> Ref {
        let mut all = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut all);
        self.schemas.extend(all);
        Ref::from_schema_name(T::name())
    }

    /// Returns a reference to the schema of a type as a form. It has the same fields, but a form has no `null`.
    pub(super) fn of_form<T: ToSchema>(&mut self) -> Ref {
        let mut schema = T::schema();
        if let RefOr::T(Schema::Object(form)) = &mut schema {
            for field in form.properties.values_mut() {
                if let RefOr::T(Schema::Object(field)) = field
                    && let SchemaType::Array(types) = &field.schema_type
                    && let Some(not_null) = types.iter().find(|schema_type| **schema_type != Type::Null)
                {
                    field.schema_type = SchemaType::Type(not_null.clone());
                }
            }
        }
        let name = format!("{}Form", T::name());
        self.schemas.insert(name.clone(), schema);
        Ref::from_schema_name(name)
    }

    /// Returns a reference to a response. Equal responses of several operations share one reference. If another response has this
    /// name, a number is added to the name.
    fn response(&mut self, name: &str, response: Response) -> Ref {
        let mut names = (1..).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        let is_free = |name: &String| self.responses.get(name).is_none_or(|other| *other == response);
        let name = names.find(is_free).expect("there are more numbers than responses");
        self.responses.insert(name.clone(), response);
        Ref::from_response_name(name)
    }

    /// Returns the components of the description.
    pub(super) fn components(self) -> Components {
        let mut components = Components::new();
        components.schemas.extend(self.schemas);
        components.responses.extend(self.responses.into_iter().map(|(name, response)| (name, RefOr::T(response))));
        components
    }
}

/// Builder of the description of one operation.
pub(super) struct OperationSpec {
    id: String,
    operation: OperationBuilder,
    responses: BTreeMap<u16, Response>,
    problems: BTreeMap<u16, Vec<Problem>>,
    /// Whether a navigation gets a page for a problem.
    has_pages: bool,
}

impl OperationSpec {
    /// Returns an operation of the public listener.
    pub(super) fn public(id: &str, tag: &str, summary: &str) -> Self {
        Self { has_pages: true, ..Self::admin(id, tag, summary) }
    }

    /// Returns an operation of the admin listener.
    pub(super) fn admin(id: &str, tag: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary));
        Self { id: id.to_owned(), operation, responses: BTreeMap::new(), problems: BTreeMap::new(), has_pages: false }
    }

    fn map(self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        Self { operation: change(self.operation), ..self }
    }

    /// Sets the description.
    pub(super) fn text(self, text: &str) -> Self {
        self.map(|operation| operation.description(Some(text)))
    }

    /// Declares that the operation needs a session. If `is_optional`, it also works without one.
    pub(super) fn session(self, is_optional: bool) -> Self {
        let without_session = is_optional.then(SecurityRequirement::default);
        let with_session = SecurityRequirement::new::<_, [&str; 0], &str>(SESSION, []);
        self.map(|operation| operation.securities(Some(without_session.into_iter().chain([with_session]))))
    }

    /// Adds a parameter.
    pub(super) fn parameter(self, parameter: Parameter) -> Self {
        self.map(|operation| operation.parameter(parameter))
    }

    /// Sets the schemas of the request body as JSON and as a form.
    pub(super) fn body(
        self,
        required: Required,
        json: impl Into<RefOr<Schema>>,
        form: impl Into<RefOr<Schema>>,
    ) -> Self {
        let body = RequestBodyBuilder::new()
            .required(Some(required))
            .content(JSON, Content::new(Some(json)))
            .content(FORM, Content::new(Some(form)));
        self.map(|operation| operation.request_body(Some(body.build())))
    }

    /// Returns the response with this status, and appends `text` to its description.
    fn response(&mut self, status: StatusCode, text: &str) -> &mut Response {
        let response = self.responses.entry(status.as_u16()).or_insert_with(|| Response::new(""));
        if !response.description.is_empty() && !text.is_empty() {
            response.description += " ";
        }
        response.description += text;
        response
    }

    /// Adds a response with a body.
    pub(super) fn content(
        mut self,
        status: StatusCode,
        media_type: &str,
        schema: impl Into<RefOr<Schema>>,
        text: &str,
    ) -> Self {
        self.response(status, text).content.insert(media_type.to_owned(), RefOr::T(Content::new(Some(schema))));
        self
    }

    /// Adds a response without a body.
    pub(super) fn bare(mut self, status: StatusCode, text: &str) -> Self {
        self.response(status, text);
        self
    }

    /// Adds a redirect.
    pub(super) fn redirect(self, status: StatusCode, text: &str) -> Self {
        self.bare(status, text).header(status, "Location", true, string(), "The URL of the next page.")
    }

    /// Adds a header field to the response with this status.
    pub(super) fn header(
        mut self,
        status: StatusCode,
        name: &str,
        is_required: bool,
        schema: impl Into<RefOr<Schema>>,
        text: &str,
    ) -> Self {
        self.response(status, "").headers.insert(name.to_owned(), RefOr::T(header(is_required, schema, text)));
        self
    }

    /// Adds `Set-Cookie` to the response with this status.
    pub(super) fn sets_cookie(self, status: StatusCode, is_required: bool, text: &str) -> Self {
        self.header(status, "Set-Cookie", is_required, string(), text)
    }

    /// Adds the problems with which the operation can fail.
    pub(super) fn problems<'p>(mut self, problems: impl IntoIterator<Item = &'p Problem>) -> Self {
        for problem in problems {
            self.problems.entry(problem.status().as_u16()).or_default().push(*problem);
        }
        self
    }

    /// Returns the description of the operation. Adds its responses to the shared components.
    pub(super) fn build(mut self, shared: &mut SharedComponents) -> Operation {
        let body = shared.of::<ProblemBody>();
        // Adds one response for each status of the problems.
        for (status, problems) in std::mem::take(&mut self.problems) {
            let mut reasons: Vec<Value> = Vec::new();
            let mut lines = Vec::new();
            for problem in problems {
                let reason = json!(problem.reason());
                let line = format!("`{}`: {}.", reason.as_str().unwrap_or_default(), problem.detail());
                // Several problems can have the same reason, with different details.
                if !lines.contains(&line) {
                    lines.push(line);
                }
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
            // The status and the reasons that are possible for this operation.
            let restricted = ObjectBuilder::new()
                .property("status", ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([status])))
                .property("reason", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(reasons)));
            let schema = Schema::AllOf(AllOfBuilder::new().item(body.clone()).item(restricted).build());
            let response = self.responses.entry(status).or_insert_with(|| Response::new(""));
            response.description = lines.join("\n");
            response.content.insert(PROBLEM.to_owned(), RefOr::T(Content::new(Some(schema))));
            if self.has_pages {
                response.content.insert(HTML.to_owned(), RefOr::T(Content::new(Some(page()))));
            }
            let mut field = |name: &str, schema: Object, text: &str| {
                response.headers.insert(name.to_owned(), RefOr::T(header(true, schema, text)));
            };
            match status {
                401 => field(
                    "WWW-Authenticate",
                    string(),
                    "The name of the session cookie, and the path of the form that sets it.",
                ),
                429 | 503 => field("Retry-After", number(), "Seconds to wait."),
                _ => {}
            }
        }
        let responses = self.responses.into_iter().map(|(status, response)| {
            // Responses with problems are equal in many operations, so their names do not contain the id of the operation.
            let name = if response.content.contains_key(PROBLEM) { "Problem" } else { &*self.id };
            (status.to_string(), shared.response(&format!("{name}-{status}"), response))
        });
        responses.fold(self.operation, |operation, (status, response)| operation.response(status, response)).build()
    }
}

/// Returns the description of a header field.
fn header(is_required: bool, schema: impl Into<RefOr<Schema>>, text: &str) -> Header {
    let mut header = Header::new(schema);
    header.description = Some(text.to_owned());
    // The builder does not support the member `required` (OpenAPI 3.1 section 4.8.21).
    header.extensions = is_required.then(|| Extensions::from_iter([("required", true)]));
    header
}

/// Returns the schema of a text that matches a regular expression.
pub(super) fn string_like(pattern: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build()
}

/// Returns the schema of a text.
pub(super) fn string() -> Object {
    Object::with_type(Type::String)
}

/// Returns the schema of a whole number that is not negative.
pub(super) fn number() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build()
}

/// Returns the schema of an HTML page.
pub(super) fn page() -> Object {
    string()
}

/// Returns the schema of an object in which all these members are required.
pub(super) fn object<const N: usize>(members: [(&str, RefOr<Schema>); N]) -> Object {
    let empty = ObjectBuilder::new();
    members.into_iter().fold(empty, |object, (name, schema)| object.property(name, schema).required(name)).build()
}

/// Returns an optional parameter.
pub(super) fn parameter(location: ParameterIn, name: &str, schema: impl Into<RefOr<Schema>>, text: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(location)
        .required(Required::False)
        .schema(Some(schema))
        .description(Some(text))
        .build()
}
