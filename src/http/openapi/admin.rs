//! OpenAPI description of the routes of the admin listener.

use salvo::http::StatusCode;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use crate::http::health::Readiness;
use crate::http::openapi::operation::{self, JSON, SharedComponents, object, string};
use crate::http::openapi::public::description;
use crate::http::openapi::resource::Resource;
use crate::http::problem::Problem;

pub(super) const INTRODUCTION: &str = "The operator's routes, on the admin listener (`http.admin_listen`). They need no credentials: every client that can connect can read them. The host of a request must be an address, `localhost`, a name without a dot, or in `http.admin_authorities`.";

const TAG: &str = "operation";
const PROBLEMS: [Problem; 3] =
    [Problem::Authority, Problem::AdminMisdirected, Problem::Status(StatusCode::INTERNAL_SERVER_ERROR)];

pub(super) fn resources(shared: &mut SharedComponents) -> Vec<Resource> {
    let operation = |id, summary| operation::OperationSpec::admin(id, TAG, summary).problems(&PROBLEMS);
    let alive = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["alive"]));
    let healthz = operation("healthz", "Liveness: the process responds. Does not depend on anything else.").content(
        StatusCode::OK,
        JSON,
        object([("status", alive.into())]),
        "The process is alive.",
    );
    let readiness = shared.of::<Readiness>();
    let readyz = operation("readyz", "Readiness: the revocation list is loaded and fresh, at least one key can decrypt tokens, and no shutdown was requested.")
        .content(StatusCode::OK, JSON, readiness.clone(), "The server can verify sessions.")
        .content(StatusCode::SERVICE_UNAVAILABLE, JSON, readiness, "The server cannot verify sessions. `reasons` contains the reasons.");
    let metrics = operation("metrics", "Metrics in the text format of Prometheus.").content(
        StatusCode::OK,
        "text/plain",
        string(),
        "The metrics.",
    );
    vec![
        Resource::at("/healthz").get(healthz.build(shared)),
        Resource::at("/readyz").get(readyz.build(shared)),
        Resource::at("/metrics").get(metrics.build(shared)),
        Resource::at("/openapi.json").get(description(operation("description", "This description."), shared)),
    ]
}
