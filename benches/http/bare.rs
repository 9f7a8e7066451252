//! The barest Salvo server: one handler with one prepared answer. Sealjar's routes are measured beside it, each with the answer
//! that it gave itself: the difference is what Sealjar does for a request, and nothing else.
//!
//! ```sh
//! bare ADDRESS FILE        # copies all fields at once, looks at no path, and waits for ever
//! bare ADDRESS FILE PATH   # as usual: a route, fields that are inserted one by one, and time limits
//! ```
//!
//! The file holds a complete HTTP/1.1 answer: status line, fields, an empty line, the body. Fields that hyper writes by
//! itself are left out. It is part of this package so that Salvo, its features and the profile are the very same. The time
//! limits are Sealjar's, as Salvo keeps them.

use std::error::Error;
use std::time::Duration;
use std::{env, fs};

use salvo::conn::tcp::TcpAcceptor;
use salvo::fuse::FuseConfig;
use salvo::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use salvo::http::{HeaderMap, StatusCode};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, Router, Server, async_trait};
use socket2::SockRef;

const BY_HYPER: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING];

/// Sealjar's `http.idle_timeout`.
const IDLE: Duration = Duration::from_secs(75);

/// An answer of which nothing has to be copied.
struct Answer {
    status: StatusCode,
    fields: HeaderMap,
    body: &'static str,
}

impl Answer {
    fn parse(text: &'static str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.parse().ok()?, HeaderValue::from_static(value.trim())))
        });
        let mut fields = fields.collect::<Option<HeaderMap>>()?;
        for name in BY_HYPER {
            fields.remove(name);
        }
        Some(Self { status, fields, body })
    }
}

#[async_trait]
impl Handler for Answer {
    async fn handle(&self, _: &mut Request, _: &mut Depot, response: &mut Response, _: &mut FlowCtrl) {
        response.status_code(self.status);
        response.set_headers(self.fields.clone());
        response.body(self.body);
    }
}

/// The same, as a handler is usually written.
struct Usual(Answer);

#[async_trait]
impl Handler for Usual {
    async fn handle(&self, _: &mut Request, _: &mut Depot, response: &mut Response, _: &mut FlowCtrl) {
        response.status_code(self.0.status);
        for (name, value) in &self.0.fields {
            response.headers_mut().insert(name, value.clone());
        }
        response.body(self.0.body);
    }
}

// A runtime like Sealjar's: as many workers as TOKIO_WORKER_THREADS says.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "usage: bare ADDRESS FILE [PATH]";
    let mut arguments = env::args().skip(1);
    let (address, file) = (arguments.next().ok_or(USAGE)?, arguments.next().ok_or(USAGE)?);
    let text = fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let answer = Answer::parse(text.leak()).ok_or_else(|| format!("{file} holds no HTTP/1.1 answer"))?;
    let (router, fuse) = match arguments.next() {
        Some(path) => {
            let fuse = FuseConfig::strict()
                .with_http1_header_timeout(IDLE)
                .with_connection_idle_timeout(IDLE)
                .with_request_body_timeout(None);
            (Router::with_path(path).get(Usual(answer)), fuse)
        }
        // Any path, for less than a pattern costs.
        None => {
            let any = Router::new().filter_fn(|request, path| {
                path.forward(request.uri().path().len());
                true
            });
            (any.goal(answer), FuseConfig::disabled())
        }
    };
    let socket = tokio::net::TcpListener::bind(&address).await?;
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    let server = Server::new(TcpAcceptor::try_from(socket)?).fuse_policy(fuse);
    // In a task, so that a worker serves and not the main thread.
    Ok(tokio::spawn(server.try_serve(router)).await??)
}
