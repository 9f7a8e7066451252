//! A minimal Salvo server with one handler, which always sends the same prepared response.
//!
//! `make bench` compares each route of Sealjar with this server. The server sends the response that the route gave before, so the
//! difference is the work of Sealjar for a request.
//!
//! ```sh
//! bare ADDRESS FILE        # minimal: copies all header fields at once, ignores the path, has no timeouts
//! bare ADDRESS FILE PATH   # ordinary: has a route, inserts the header fields one by one, has timeouts
//! ```
//!
//! The file contains a complete HTTP/1.1 response: status line, header fields, an empty line, the body. Fields that hyper adds
//! are ignored. The server is part of this package, so that it uses the same version and features of Salvo and the same profile.
//! The timeouts have the values of Sealjar's timeouts, and Salvo enforces them.

use std::error::Error;
use std::time::Duration;
use std::{env, fs};

use salvo::conn::tcp::TcpAcceptor;
use salvo::fuse::FuseConfig;
use salvo::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use salvo::http::{HeaderMap, StatusCode};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, Router, Server, async_trait};
use socket2::SockRef;

/// Header fields that hyper adds to each response.
const SET_BY_HYPER: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING];

/// Default of Sealjar's setting `http.idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);

/// A prepared response, and the minimal handler that sends it. The body is not copied.
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
        for name in SET_BY_HYPER {
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

/// The ordinary handler, which inserts the header fields one by one.
struct Ordinary(Answer);

#[async_trait]
impl Handler for Ordinary {
    async fn handle(&self, _: &mut Request, _: &mut Depot, response: &mut Response, _: &mut FlowCtrl) {
        response.status_code(self.0.status);
        for (name, value) in &self.0.fields {
            response.headers_mut().insert(name, value.clone());
        }
        response.body(self.0.body);
    }
}

// The runtime of Sealjar: the variable TOKIO_WORKER_THREADS sets the number of worker threads.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "usage: bare ADDRESS FILE [PATH]";
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or(USAGE)?;
    let file = arguments.next().ok_or(USAGE)?;
    let text = fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let answer = Answer::parse(text.leak()).ok_or_else(|| format!("{file} does not contain an HTTP/1.1 response"))?;
    let (router, fuse) = match arguments.next() {
        Some(path) => {
            let fuse = FuseConfig::strict()
                .with_http1_header_timeout(IDLE_TIMEOUT)
                .with_connection_idle_timeout(IDLE_TIMEOUT)
                .with_request_body_timeout(None);
            (Router::with_path(path).get(Ordinary(answer)), fuse)
        }
        // Accepts every path, which is cheaper than matching a pattern.
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
    // Spawned as a task, so that a worker thread serves, and not the main thread.
    Ok(tokio::spawn(server.try_serve(router)).await??)
}
