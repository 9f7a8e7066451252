//! An operation: what it takes, how it answers, and every problem that it can answer with.

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

/// The name of the security scheme.
pub(super) const SESSION: &str = "session";

/// What operations refer to.
#[derive(Default)]
pub(super) struct Shared {
    schemas: BTreeMap<String, RefOr<Schema>>,
    answers: BTreeMap<String, Response>,
}

impl Shared {
    /// A reference to the type's schema.
    pub(super) fn of<T: ToSchema>(&mut self) -> Ref {
        let mut all = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut all);
        self.schemas.extend(all);
        Ref::from_schema_name(T::name())
    }

    /// A reference to the schema of the same fields in a form, which knows no `null`.
    pub(super) fn of_form<T: ToSchema>(&mut self) -> Ref {
        let mut schema = T::schema();
        if let RefOr::T(Schema::Object(form)) = &mut schema {
            for field in form.properties.values_mut() {
                if let RefOr::T(Schema::Object(field)) = field
                    && let SchemaType::Array(types) = &field.schema_type
                    && let Some(only) = types.iter().find(|one| **one != Type::Null)
                {
                    field.schema_type = SchemaType::Type(only.clone());
                }
            }
        }
        let name = format!("{}Form", T::name());
        self.schemas.insert(name.clone(), schema);
        Ref::from_schema_name(name)
    }

    /// A reference to this answer, which others may give too.
    fn answer(&mut self, name: &str, answer: Response) -> Ref {
        let mut names = (1..).map(|number| if number == 1 { name.to_owned() } else { format!("{name}-{number}") });
        let is_its = |name: &String| self.answers.get(name).is_none_or(|other| *other == answer);
        let name = names.find(is_its).expect("there are more numbers than answers");
        self.answers.insert(name.clone(), answer);
        Ref::from_response_name(name)
    }

    pub(super) fn components(self) -> Components {
        let mut components = Components::new();
        components.schemas.extend(self.schemas);
        components.responses.extend(self.answers.into_iter().map(|(name, answer)| (name, RefOr::T(answer))));
        components
    }
}

/// An operation that is being described.
pub(super) struct Described {
    id: String,
    operation: OperationBuilder,
    answers: BTreeMap<u16, Response>,
    problems: BTreeMap<u16, Vec<Problem>>,
    /// Whether a browser gets pages.
    pages: bool,
}

impl Described {
    /// Of the public listener.
    pub(super) fn public(id: &str, tag: &str, summary: &str) -> Self {
        Self { pages: true, ..Self::admin(id, tag, summary) }
    }

    /// Of the admin listener.
    pub(super) fn admin(id: &str, tag: &str, summary: &str) -> Self {
        let operation = OperationBuilder::new().operation_id(Some(id)).tag(tag).summary(Some(summary));
        Self { id: id.to_owned(), operation, answers: BTreeMap::new(), problems: BTreeMap::new(), pages: false }
    }

    fn map(self, change: impl FnOnce(OperationBuilder) -> OperationBuilder) -> Self {
        Self { operation: change(self.operation), ..self }
    }

    pub(super) fn text(self, text: &str) -> Self {
        self.map(|operation| operation.description(Some(text)))
    }

    /// Only for a session; `or_none` if there may be none.
    pub(super) fn session(self, or_none: bool) -> Self {
        let none = or_none.then(SecurityRequirement::default);
        let needed = SecurityRequirement::new::<_, [&str; 0], &str>(SESSION, []);
        self.map(|operation| operation.securities(Some(none.into_iter().chain([needed]))))
    }

    pub(super) fn parameter(self, parameter: Parameter) -> Self {
        self.map(|operation| operation.parameter(parameter))
    }

    /// A body as JSON or as a form.
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

    fn answer(&mut self, status: StatusCode, text: &str) -> &mut Response {
        let answer = self.answers.entry(status.as_u16()).or_insert_with(|| Response::new(""));
        if !answer.description.is_empty() && !text.is_empty() {
            answer.description += " ";
        }
        answer.description += text;
        answer
    }

    /// An answer with a body.
    pub(super) fn content(
        mut self,
        status: StatusCode,
        media_type: &str,
        schema: impl Into<RefOr<Schema>>,
        text: &str,
    ) -> Self {
        self.answer(status, text).content.insert(media_type.to_owned(), RefOr::T(Content::new(Some(schema))));
        self
    }

    /// An answer without a body, perhaps with a place to go.
    pub(super) fn bare(mut self, status: StatusCode, text: &str) -> Self {
        self.answer(status, text);
        self
    }

    /// To another place.
    pub(super) fn redirect(self, status: StatusCode, text: &str) -> Self {
        self.bare(status, text).header(status, "Location", true, string(), "The URL of the next page.")
    }

    /// A field of the answer.
    pub(super) fn header(
        mut self,
        status: StatusCode,
        name: &str,
        always: bool,
        schema: impl Into<RefOr<Schema>>,
        text: &str,
    ) -> Self {
        self.answer(status, "").headers.insert(name.to_owned(), RefOr::T(header(always, schema, text)));
        self
    }

    /// The session's cookie on an answer.
    pub(super) fn sets_cookie(self, status: StatusCode, always: bool, text: &str) -> Self {
        self.header(status, "Set-Cookie", always, string(), text)
    }

    pub(super) fn problems<'p>(mut self, problems: impl IntoIterator<Item = &'p Problem>) -> Self {
        for problem in problems {
            self.problems.entry(problem.status().as_u16()).or_default().push(*problem);
        }
        self
    }

    pub(super) fn build(mut self, shared: &mut Shared) -> Operation {
        let body = shared.of::<ProblemBody>();
        for (status, problems) in std::mem::take(&mut self.problems) {
            let mut reasons: Vec<Value> = Vec::new();
            let mut lines = Vec::new();
            for problem in problems {
                let reason = json!(problem.reason());
                let line = format!("`{}`: {}.", reason.as_str().unwrap_or_default(), problem.detail());
                // A reason has several details if it has several causes.
                if !lines.contains(&line) {
                    lines.push(line);
                }
                if !reasons.contains(&reason) {
                    reasons.push(reason);
                }
            }
            let narrowed = ObjectBuilder::new()
                .property("status", ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([status])))
                .property("reason", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(reasons)));
            let schema = Schema::AllOf(AllOfBuilder::new().item(body.clone()).item(narrowed).build());
            let answer = self.answers.entry(status).or_insert_with(|| Response::new(""));
            answer.description = lines.join("\n");
            answer.content.insert(PROBLEM.to_owned(), RefOr::T(Content::new(Some(schema))));
            if self.pages {
                answer.content.insert(HTML.to_owned(), RefOr::T(Content::new(Some(page()))));
            }
            let mut field = |name: &str, schema: Object, text: &str| {
                answer.headers.insert(name.to_owned(), RefOr::T(header(true, schema, text)));
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
        let answers = self.answers.into_iter().map(|(status, answer)| {
            // That of an answer which is a problem and nothing else says so.
            let name = if answer.content.contains_key(PROBLEM) { "Problem" } else { &*self.id };
            (status.to_string(), shared.answer(&format!("{name}-{status}"), answer))
        });
        answers.fold(self.operation, |operation, (status, answer)| operation.response(status, answer)).build()
    }
}

fn header(always: bool, schema: impl Into<RefOr<Schema>>, text: &str) -> Header {
    let mut header = Header::new(schema);
    header.description = Some(text.to_owned());
    // The builder knows no such member (OpenAPI 3.1 section 4.8.21).
    header.extensions = always.then(|| Extensions::from_iter([("required", true)]));
    header
}

/// A text that this regular expression takes.
pub(super) fn string_like(pattern: &str) -> Object {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build()
}

pub(super) fn string() -> Object {
    Object::with_type(Type::String)
}

/// A whole number, not negative.
pub(super) fn number() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).build()
}

/// A page, whose words are for people.
pub(super) fn page() -> Object {
    string()
}

/// An object of just these members.
pub(super) fn object<const N: usize>(members: [(&str, RefOr<Schema>); N]) -> Object {
    let all = ObjectBuilder::new();
    members.into_iter().fold(all, |all, (name, schema)| all.property(name, schema).required(name)).build()
}

/// A parameter that may be left out.
pub(super) fn parameter(place: ParameterIn, name: &str, schema: impl Into<RefOr<Schema>>, text: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .schema(Some(schema))
        .description(Some(text))
        .build()
}
