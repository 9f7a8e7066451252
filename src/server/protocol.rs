//! One connection from its first byte to its last: TLS where it is spoken, HTTP/1 or HTTP/2, an orderly end.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use salvo::Service;
use salvo::conn::{ConnCtrl, SocketAddr};
use salvo::http::uri::Scheme;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::stream::Watched;
use crate::http::direct::Front;
use crate::http::live::Live;
use crate::http::tls::Tls;

/// A request's head may have this many bytes. Of fields hyper takes 100; for another number it would make room on the heap or by
/// clearing memory, at each request.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
const MAX_STREAMS: u32 = 100;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Plain = Watched<Either<TcpStream, UnixStream>>;

/// How a listener's connections are served.
pub(super) struct Protocol {
    http: auto::Builder<TokioExecutor>,
    tls: Option<Arc<Tls>>,
    service: Service,
    /// If what is asked all the time is asked there.
    direct: Option<Live>,
    local_addr: SocketAddr,
}

impl Protocol {
    pub(super) fn new(service: Service, direct: Option<Live>, tls: Option<Arc<Tls>>, local_addr: SocketAddr) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        // For how long a head is waited for, `Connections::watch` sees to.
        http.http1().header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES as usize);
        http.http2().max_concurrent_streams(MAX_STREAMS).max_header_list_size(MAX_HEAD_BYTES);
        Self { http, tls, service, direct, local_addr }
    }

    /// Serves a connection until it ends, or until it is to leave and nothing is under way.
    pub(super) async fn serve(self: Arc<Self>, stream: Plain, remote_addr: SocketAddr, leaving: CancellationToken) {
        let stream = match &self.tls {
            None => Either::Left(stream),
            Some(tls) => match leaving.run_until_cancelled(shake_hands(tls, stream)).await.flatten() {
                Some(stream) => Either::Right(stream),
                None => return,
            },
        };
        let scheme = if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let (local_addr, ctrl) = (self.local_addr.clone(), ConnCtrl::new());
        let salvo = self.service.hyper_handler(local_addr, remote_addr.clone(), scheme, None, ctrl, None);
        let front = Front::new(self.direct.clone(), remote_addr, salvo);
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(stream), front));
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = leaving.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a connection ended early");
        }
    }
}

/// TLS over the stream, if there is some in time.
async fn shake_hands(tls: &Tls, stream: Plain) -> Option<TlsStream<Plain>> {
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await.ok()? {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::debug!(%error, "there is no TLS with a client");
            None
        }
    }
}
