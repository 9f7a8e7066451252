//! One connection from its first byte to its last: TLS where it is spoken, HTTP/1 or HTTP/2, an orderly end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use salvo::conn::{ConnCtrl, SocketAddr};
use salvo::http::uri::Scheme;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::stream::{Plaintext, Watched};
use crate::http::connections::exchange::Tracker;
use crate::http::entrance::Entrance;
use crate::http::routes::Routes;
use crate::http::tls::Tls;
use crate::log_sampler::sampled;

/// A request's head may have this many bytes. Of fields hyper takes 100; for another number it would make room on the heap or by
/// clearing memory, at each request.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
/// Maximum number of streams of an HTTP/2 connection: of a browser, and of a proxy that passes on the requests of many.
const MAX_STREAMS: u32 = 12;
const MAX_PROXY_STREAMS: u32 = 100;
/// Flow-control windows for bodies that nobody has read yet: of a stream, and for each stream that a connection may have.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
const WINDOW_BYTES_PER_STREAM: u32 = 16 * 1024;
/// Time that an HTTP/2 connection has to begin another exchange after it was told to leave. Without a limit it would stay until the
/// client answers the PING of h2's graceful shutdown, and a client need not do that.
const LAST_EXCHANGE: Duration = Duration::from_secs(1);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Plain = Watched<Either<TcpStream, UnixStream>>;

/// How a listener's connections are served.
pub(super) struct Protocol {
    http: auto::Builder<TokioExecutor>,
    http_of_proxies: auto::Builder<TokioExecutor>,
    tls: Option<Arc<Tls>>,
    routes: Arc<Routes>,
    local_addr: SocketAddr,
}

impl Protocol {
    pub(super) fn new(routes: Arc<Routes>, tls: Option<Arc<Tls>>, local_addr: SocketAddr) -> Self {
        let [http, mut http_of_proxies] = [MAX_STREAMS, MAX_PROXY_STREAMS].map(builder);
        // One visitor can cause these resets, by a body that comes after the answer and by requests that are given up. At h2's own
        // limits the connection would end, with all other visitors' requests on it.
        let mut http2_of_proxies = http_of_proxies.http2();
        http2_of_proxies.max_local_error_reset_streams(None);
        http2_of_proxies.max_pending_accept_reset_streams(MAX_PROXY_STREAMS as usize);
        Self { http, http_of_proxies, tls, routes, local_addr }
    }

    /// Serves a connection until it ends, or until it is to leave and nothing is under way.
    pub(super) async fn serve(self: Arc<Self>, stream: Plain, remote_addr: SocketAddr, tracker: Arc<Tracker>) {
        let leaving = tracker.leaving();
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => match leaving.run_until_cancelled(shake_hands(tls, stream)).await.flatten() {
                Some(stream) => Either::Right(stream),
                None => return,
            },
        };
        let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let (local_addr, ctrl) = (self.local_addr.clone(), ConnCtrl::new());
        let salvo = self.routes.service().hyper_handler(local_addr, remote_addr.clone(), scheme, None, ctrl, None);
        let entrance = Entrance::new(self.routes.clone(), remote_addr, tracker.clone(), salvo);
        let http = if tracker.is_proxy() { &self.http_of_proxies } else { &self.http };
        let mut connection =
            pin!(http.serve_connection(TokioIo::new(Plaintext::new(stream, tracker.clone())), entrance));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = leaving.cancelled() => {
                connection.as_mut().graceful_shutdown();
                loop {
                    let before = tracker.exchanges_if_idle();
                    match tokio::time::timeout(LAST_EXCHANGE, connection.as_mut()).await {
                        Ok(ended) => break ended,
                        Err(_) if before.is_some() && tracker.exchanges_if_idle() == before => return,
                        Err(_) => {}
                    }
                }
            }
        };
        if let Err(error) = ended {
            sampled!(DEBUG, error, "a connection ended early");
        }
    }
}

fn builder(max_streams: u32) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // For how long a head is waited for, `Connections::watch` sees to.
    http.http1().header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES as usize);
    let mut http2 = http.http2();
    http2.max_concurrent_streams(max_streams).max_header_list_size(MAX_HEAD_BYTES);
    http2.initial_stream_window_size(STREAM_WINDOW_BYTES);
    http2.initial_connection_window_size(max_streams * WINDOW_BYTES_PER_STREAM);
    http
}

/// TLS over the stream, if there is some in time.
async fn shake_hands(tls: &Tls, stream: Plain) -> Option<TlsStream<Plain>> {
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.ok()? {
        Ok(stream) => Some(stream),
        Err(error) => {
            sampled!(DEBUG, %error, "there is no TLS with a client");
            None
        }
    }
}
