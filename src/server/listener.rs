//! A listener: its socket (bound here, or passed by systemd), its tasks, and its graceful shutdown.
//!
//! The server has two: the public listener and the admin listener. [`Listener::open`] binds the socket,
//! [`Listener::start`] starts to serve, and [`RunningListener::stop`] shuts down.

use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, SockRef, Type};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::acceptor::{Acceptor, Socket};
use super::error::ServeError;
use super::protocol::Protocol;
use crate::config::listen::{Listen, UnixMode};
use crate::http::connections::Connections;
use crate::http::routes::Routes;
use crate::http::tls::Tls;

/// Maximum number of connections that wait to be accepted. If `net.core.somaxconn` is lower, Linux uses that.
const BACKLOG: i32 = 4096;
/// Time between closing the socket and the graceful shutdown of the connections. A client whose connection was accepted
/// just before can send its first request in this time. Without the delay, hyper would close the connection as idle.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_millis(200);

/// The sockets that systemd passed to this process, with their names (see
/// [sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html)).
pub(crate) struct InheritedSockets {
    sockets: ListenFd,
    names: Vec<String>,
}

impl InheritedSockets {
    /// Takes the sockets from the environment, and removes the variables. Call it only once, and before other threads
    /// are started: they could read the environment at the same time.
    pub(crate) fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { sockets: ListenFd::from_env(), names: names.split(':').map(str::to_owned).collect() }
    }

    /// Logs a warning for each socket that no listener uses. A client that connects to such a socket waits forever.
    pub(super) fn warn_of_unused(&mut self) {
        for index in 0..self.sockets.len() {
            if let Ok(Some(_)) = self.sockets.take_raw_fd(index) {
                let name = self.names.get(index).map_or("", String::as_str);
                tracing::warn!(
                    name,
                    "systemd passed a socket that no listener uses; clients that connect to it get no response"
                );
            }
        }
    }

    /// Takes the socket with this name.
    ///
    /// # Errors
    /// An error if not exactly one socket has the name, or if the other listener has taken the socket.
    fn take(&mut self, name: &str) -> io::Result<BoundSocket> {
        let has_name = |index: &usize| self.names.get(*index).is_some_and(|other| other == name);
        let indexes: Vec<_> = (0..self.sockets.len()).filter(has_name).collect();
        let [index] = indexes[..] else {
            let passed = if self.sockets.len() == 0 { "none" } else { &self.names.join(", ") };
            return Err(io::Error::other(format!(
                "systemd must pass one socket with FileDescriptorName={name}, not {}; passed sockets: {passed}",
                indexes.len()
            )));
        };
        if let Ok(Some(socket)) = self.sockets.take_tcp_listener(index) {
            return Ok(BoundSocket::Tcp(socket));
        }
        let socket = self.sockets.take_unix_listener(index)?;
        socket.map(BoundSocket::Unix).ok_or_else(|| io::Error::other("the other listener already uses this socket"))
    }
}

/// A bound socket that is not registered with Tokio yet.
enum BoundSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listener that does not serve yet.
pub(super) struct Listener {
    socket: BoundSocket,
    /// Actual address. If the setting has port 0, it has the port that the system chose.
    pub(super) address: Listen,
    /// Path and inode of the file of a Unix socket that was bound here. The inode shows whether the file still belongs
    /// to this process.
    file: Option<(PathBuf, u64)>,
}

impl Listener {
    /// Binds the socket of a listener, or takes it from systemd. `setting` is the name of the setting, for errors.
    pub(super) fn open(
        setting: &'static str,
        listen: &Listen,
        mode: UnixMode,
        inherited: &mut InheritedSockets,
    ) -> Result<Self, ServeError> {
        let mut open = || {
            let (socket, file) = match listen {
                Listen::Address(address) => (BoundSocket::Tcp(TcpListener::bind(address)?), None),
                Listen::Unix(path) => {
                    let (socket, file) = bind_unix(path, mode)?;
                    (BoundSocket::Unix(socket), Some(file))
                }
                Listen::Systemd(name) => (inherited.take(name)?, None),
            };
            let address = match &socket {
                BoundSocket::Tcp(socket) => {
                    // Set a long backlog, for connections that arrive while others are evicted.
                    SockRef::from(socket).listen(BACKLOG)?;
                    socket.set_nonblocking(true)?;
                    // On Linux, accepted connections inherit this option. Salvo has no setting for it.
                    SockRef::from(socket).set_tcp_nodelay(true)?;
                    Listen::Address(socket.local_addr()?)
                }
                BoundSocket::Unix(socket) => {
                    socket.set_nonblocking(true)?;
                    let path = socket.local_addr()?.as_pathname().map(Path::to_owned);
                    // A socket that was bound here has the temporary path of `bind_unix`. So only the path of a socket from
                    // systemd is used.
                    let path = path.filter(|_| matches!(listen, Listen::Systemd(_)));
                    path.map_or_else(|| listen.clone(), Listen::Unix)
                }
            };
            Ok(Self { socket, address, file })
        };
        open().map_err(|source| ServeError::Listen { setting, listen: listen.clone(), source })
    }

    /// Returns the port, or `None` for a Unix socket.
    pub(super) fn port(&self) -> Option<u16> {
        match &self.address {
            Listen::Address(address) => Some(address.port()),
            Listen::Unix(_) | Listen::Systemd(_) => None,
        }
    }

    /// Starts serving.
    pub(super) fn start(
        self,
        connections: Arc<Connections>,
        tls: Option<Arc<Tls>>,
        routes: Routes,
    ) -> io::Result<RunningListener> {
        let socket = match self.socket {
            BoundSocket::Tcp(socket) => Socket::Tcp(tokio::net::TcpListener::from_std(socket)?),
            BoundSocket::Unix(socket) => Socket::Unix(tokio::net::UnixListener::from_std(socket)?),
        };
        let acceptor = Acceptor::new(socket, connections.clone())?;
        let protocol = Arc::new(Protocol::new(Arc::new(routes), tls, acceptor.local_addr()));
        let tasks = TaskTracker::new();
        let watched_connections = connections.clone();
        Ok(RunningListener {
            file: self.file,
            accept_task: tokio::spawn(acceptor.serve(protocol, tasks.clone())),
            timeout_task: tokio::spawn(async move { watched_connections.watch().await }),
            connections,
            tasks,
        })
    }
}

/// Binds a Unix socket. Returns it with the path and the inode of its file. Replaces the socket file of a process that has
/// ended, but not a socket on which a process still listens. The socket is bound under a temporary name. The file is renamed
/// when its permissions are set and the socket listens, so that clients can connect only to a socket that is ready.
fn bind_unix(path: &Path, mode: UnixMode) -> io::Result<(UnixListener, (PathBuf, u64))> {
    let new_socket = || socket2::Socket::new(Domain::UNIX, Type::STREAM, None);
    // A connection attempt shows whether a process listens on the path.
    let probe = new_socket()?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?).map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound) => {}
        Err(io::ErrorKind::ConnectionRefused) if is_socket(path) => {}
        Err(io::ErrorKind::ConnectionRefused) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"));
        }
        // `WouldBlock` means that a process listens, but its backlog is full.
        Ok(()) | Err(io::ErrorKind::WouldBlock) => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server already listens on this socket"));
        }
        Err(kind) => return Err(kind.into()),
    }
    let mut temporary_name = path.as_os_str().to_owned();
    temporary_name.push(format!(".{}", std::process::id()));
    let temporary_path = PathBuf::from(temporary_name);
    let socket = new_socket()?;
    socket.bind(&SockAddr::unix(&temporary_path)?)?;
    let prepare = || {
        std::fs::set_permissions(&temporary_path, std::fs::Permissions::from_mode(mode.0))?;
        socket.listen(BACKLOG)?;
        let inode = std::fs::symlink_metadata(&temporary_path)?.ino();
        std::fs::rename(&temporary_path, path).map(|()| inode)
    };
    let inode = prepare().inspect_err(|_| drop(std::fs::remove_file(&temporary_path)))?;
    Ok((socket.into(), (path.to_owned(), inode)))
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

/// A listener that serves requests.
pub(super) struct RunningListener {
    file: Option<(PathBuf, u64)>,
    /// Task that accepts connections.
    accept_task: JoinHandle<()>,
    /// Task that closes connections after their timeouts.
    timeout_task: JoinHandle<()>,
    connections: Arc<Connections>,
    /// Tasks of the connections, one for each.
    tasks: TaskTracker,
}

impl RunningListener {
    /// Closes the socket, and waits for at most `timeout` until the requests in progress are finished. If systemd also
    /// holds the socket, it still listens: clients that connect wait for the next process.
    pub(super) async fn stop(self, timeout: Duration) {
        self.accept_task.abort();
        // Wait until the task has ended, which closes the socket.
        let _ = self.accept_task.await;
        // Another process may have replaced the file. So the file is removed only if it still has the same inode.
        if let Some((path, inode)) = &self.file
            && std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.ino() == *inode)
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(%error, path = %path.display(), "cannot remove the socket file; the next start replaces it");
        }
        tokio::time::sleep(FIRST_REQUEST_TIMEOUT.min(timeout)).await;
        self.connections.shutdown();
        self.tasks.close();
        if tokio::time::timeout(timeout, self.tasks.wait()).await.is_err() {
            self.connections.close();
            self.tasks.wait().await;
        }
        self.timeout_task.abort();
    }
}
