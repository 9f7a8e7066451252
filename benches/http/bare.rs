//! The barest Salvo server: one handler with one prepared answer to every request. Sealjar's routes are measured
//! beside it, each with the answer that it gave itself: the difference is what Sealjar does for a request, and nothing else.
//!
//! ```sh
//! bare 127.0.0.1:3000 FILE
//! ```
//!
//! The file holds a complete HTTP/1.1 answer: status line, fields, an empty line, the body. Fields that hyper writes by
//! itself are left out. It is part of this package so that Salvo, its features and the profile are the very same.

use std::error::Error;
use std::{env, fs};

use salvo::conn::tcp::TcpAcceptor;
use salvo::http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use salvo::http::{HeaderMap, StatusCode};
use salvo::prelude::{Depot, FlowCtrl, Handler, Request, Response, Router, Server, async_trait};
use socket2::SockRef;

const BY_HYPER: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING];

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

// A runtime like Sealjar's: as many workers as TOKIO_WORKER_THREADS says.
#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let [address, file] = env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "usage: bare ADDRESS FILE")?;
    let text = fs::read_to_string(&file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let answer = Answer::parse(text.leak()).ok_or_else(|| format!("{file} holds no HTTP/1.1 answer"))?;
    let socket = tokio::net::TcpListener::bind(&address).await?;
    SockRef::from(&socket).set_tcp_nodelay(true)?;
    let server = Server::new(TcpAcceptor::try_from(socket)?);
    // Any path, for less than a pattern costs.
    let router = Router::new().filter_fn(|request, path| {
        path.forward(request.uri().path().len());
        true
    });
    // In a task, so that a worker serves and not the main thread.
    Ok(tokio::spawn(server.try_serve(router.goal(answer))).await??)
}
