//! The operator's routes, described.

use salvo::http::StatusCode;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::http::health::Readiness;
use crate::http::openapi::described::Described;
use crate::http::openapi::operation::{self, JSON, Shared, object, string};
use crate::http::openapi::public::description;
use crate::http::problem::Problem;

pub(super) const INTRODUCTION: &str = "The operator's routes, on a listener of their own (`http.admin_listen`). They ask for no session and name no host: whoever reaches the listener is the operator.";

const TAG: &str = "operation";
const PROBLEMS: [Problem; 1] = [Problem::Status(StatusCode::INTERNAL_SERVER_ERROR)];

pub(super) fn resources(shared: &mut Shared) -> Vec<Described> {
    let operation = |id, summary| operation::Described::admin(id, TAG, summary).problems(&PROBLEMS);
    let alive = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["alive"]));
    let healthz = operation("healthz", "Alive: the process answers. It depends on nothing.").content(
        StatusCode::OK,
        JSON,
        object([("status", alive.into())]),
        "Alive.",
    );
    let readiness = shared.of::<Readiness>();
    let readyz = operation("readyz", "Ready: the list of revocations is loaded and fresh, and a key is active.")
        .content(StatusCode::OK, JSON, readiness.clone(), "Ready.")
        .content(StatusCode::SERVICE_UNAVAILABLE, JSON, readiness, "Not ready, for the reasons that it says.");
    let metrics = operation("metrics", "Figures in the text format of Prometheus.").content(
        StatusCode::OK,
        "text/plain",
        string(),
        "The figures.",
    );
    vec![
        Described::at("/healthz").get(healthz.build(shared)),
        Described::at("/readyz").get(readyz.build(shared)),
        Described::at("/metrics").get(metrics.build(shared)),
        Described::at("/openapi.json").get(description(operation("description", "This description."), shared)),
    ]
}
