//! Serves one connection: the TLS handshake if TLS is on, HTTP/1 or HTTP/2, and the graceful shutdown.
//!
//! The limits of hyper are set here. `http/connections.rs` has the timeouts and closes idle connections.

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

use super::stream::{Http2Detector, TrackedStream};
use crate::http::connections::exchange::ConnectionTracker;
use crate::http::entrance::Entrance;
use crate::http::routes::Routes;
use crate::http::tls::Tls;
use crate::log_sampler::sampled;

/// Maximum size of the head of a request. The maximum number of header fields is hyper's default, 100. With another
/// number, hyper would allocate or clear memory for each request.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
/// Maximum number of concurrent streams of an HTTP/2 connection of a client.
const MAX_STREAMS: u32 = 12;
/// Maximum number of concurrent streams of an HTTP/2 connection of a trusted proxy, which forwards the requests of many users.
const MAX_PROXY_STREAMS: u32 = 100;
/// HTTP/2 flow-control window of a stream: maximum size of received body data that the handler has not read yet.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// HTTP/2 flow-control window of a connection, divided by its maximum number of streams.
const WINDOW_BYTES_PER_STREAM: u32 = 16 * 1024;
/// Time in which an HTTP/2 client can send another request after the start of the graceful shutdown. Without this
/// limit, the connection would stay open until the client responds to the PING of h2's graceful shutdown, and a client may
/// never respond.
const LAST_EXCHANGE_TIMEOUT: Duration = Duration::from_secs(1);
/// Maximum time for the TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Stream of a connection before TLS.
pub(super) type RawStream = TrackedStream<Either<TcpStream, UnixStream>>;

/// Serves the connections of a listener.
pub(super) struct Protocol {
    /// Settings of hyper for connections of ordinary clients.
    http: auto::Builder<TokioExecutor>,
    /// Settings of hyper for connections of trusted proxies.
    proxy_http: auto::Builder<TokioExecutor>,
    tls: Option<Arc<Tls>>,
    routes: Arc<Routes>,
    local_addr: SocketAddr,
}

impl Protocol {
    pub(super) fn new(routes: Arc<Routes>, tls: Option<Arc<Tls>>, local_addr: SocketAddr) -> Self {
        let [http, mut proxy_http] = [MAX_STREAMS, MAX_PROXY_STREAMS].map(builder);
        // A single user behind the proxy can cause stream resets: with a body that arrives after the response, and with
        // requests that are cancelled. With its default limits on such resets, h2 would close the connection, and the
        // requests of all other users on it would fail.
        let mut proxy_http2 = proxy_http.http2();
        proxy_http2.max_local_error_reset_streams(None);
        proxy_http2.max_pending_accept_reset_streams(MAX_PROXY_STREAMS as usize);
        Self { http, proxy_http, tls, routes, local_addr }
    }

    /// Serves a connection until it ends. In a graceful shutdown, requests in progress are finished first.
    pub(super) async fn serve(
        self: Arc<Self>,
        stream: RawStream,
        remote_addr: SocketAddr,
        tracker: Arc<ConnectionTracker>,
    ) {
        let shutdown = tracker.shutdown_token();
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => match shutdown.run_until_cancelled(tls_handshake(tls, stream)).await.flatten() {
                Some(stream) => Either::Right(stream),
                None => return,
            },
        };
        let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let local_addr = self.local_addr.clone();
        let control = ConnCtrl::new();
        let salvo = self.routes.service().hyper_handler(local_addr, remote_addr.clone(), scheme, None, control, None);
        let entrance = Entrance::new(self.routes.clone(), remote_addr, tracker.clone(), salvo);
        let http = if tracker.is_proxy() { &self.proxy_http } else { &self.http };
        let mut connection =
            pin!(http.serve_connection(TokioIo::new(Http2Detector::new(stream, tracker.clone())), entrance));
        let result = tokio::select! {
            biased;
            result = connection.as_mut() => result,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                // Close the connection after the first period without requests: no request was in progress at the start and
                // at the end of the period, and no request arrived in between.
                loop {
                    let exchanges_before = tracker.exchange_count_if_idle();
                    match tokio::time::timeout(LAST_EXCHANGE_TIMEOUT, connection.as_mut()).await {
                        Ok(result) => break result,
                        Err(_) if exchanges_before.is_some() && tracker.exchange_count_if_idle() == exchanges_before => return,
                        Err(_) => {}
                    }
                }
            }
        };
        if let Err(error) = result {
            sampled!(DEBUG, error, "a connection ended early");
        }
    }
}

/// Returns the settings of hyper for connections with this number of streams.
fn builder(max_streams: u32) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // `Connections::watch` limits the time for the head of a request.
    http.http1().header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES as usize);
    let mut http2 = http.http2();
    http2.max_concurrent_streams(max_streams).max_header_list_size(MAX_HEAD_BYTES);
    http2.initial_stream_window_size(STREAM_WINDOW_BYTES);
    http2.initial_connection_window_size(max_streams * WINDOW_BYTES_PER_STREAM);
    http
}

/// Does the TLS handshake. Returns `None` if it fails or takes longer than [`HANDSHAKE_TIMEOUT`].
async fn tls_handshake(tls: &Tls, stream: RawStream) -> Option<TlsStream<RawStream>> {
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.ok()? {
        Ok(stream) => Some(stream),
        Err(error) => {
            sampled!(DEBUG, %error, "TLS handshake failed");
            None
        }
    }
}
