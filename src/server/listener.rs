//! A listener: a socket that is made here or passed on by systemd, its tasks, and its graceful shutdown.

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

use super::admission::{Acceptor, Socket};
use super::error::ServeError;
use super::protocol::Protocol;
use crate::config::listen::{Listen, UnixMode};
use crate::http::connections::Connections;
use crate::http::routes::Routes;
use crate::http::tls::Tls;

/// Maximum number of connections that wait to be accepted. Linux uses net.core.somaxconn if that is less.
const QUEUE: i32 = 4096;
/// Time for a connection that was accepted just before the shutdown to send its request. hyper takes it for idle, and would close
/// it.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_millis(200);

/// The sockets that systemd passed on, by their names (sd_listen_fds(3)).
pub(crate) struct Inherited {
    sockets: ListenFd,
    names: Vec<String>,
}

impl Inherited {
    /// Takes the sockets out of the environment. Must be called once, before other threads exist, which may read the environment.
    pub(crate) fn from_env() -> Self {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        Self { sockets: ListenFd::from_env(), names: names.split(':').map(str::to_owned).collect() }
    }

    /// Logs the sockets that no listener uses: a client that connects there waits for ever.
    pub(super) fn warn_of_others(&mut self) {
        for place in 0..self.sockets.len() {
            if let Ok(Some(_)) = self.sockets.take_raw_fd(place) {
                let name = self.names.get(place).map_or("", String::as_str);
                tracing::warn!(name, "systemd passed on a socket that no listener asks for, and nobody serves it");
            }
        }
    }

    fn take(&mut self, name: &str) -> io::Result<Bound> {
        let named = |place: &usize| self.names.get(*place).is_some_and(|other| other == name);
        let places: Vec<_> = (0..self.sockets.len()).filter(named).collect();
        let [place] = places[..] else {
            let passed = if self.sockets.len() == 0 { "none" } else { &self.names.join(", ") };
            return Err(io::Error::other(format!(
                "systemd must pass on one socket with FileDescriptorName={name}, not {}; passed on: {passed}",
                places.len()
            )));
        };
        if let Ok(Some(socket)) = self.sockets.take_tcp_listener(place) {
            return Ok(Bound::Tcp(socket));
        }
        let socket = self.sockets.take_unix_listener(place)?;
        socket.map(Bound::Unix).ok_or_else(|| io::Error::other("it serves another listener already"))
    }
}

/// A bound socket that is not registered with Tokio yet.
enum Bound {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A listener that does not serve yet.
pub(super) struct Listener {
    socket: Bound,
    /// The actual address: with the port that the system chose if the setting has port 0.
    pub(super) place: Listen,
    /// The file of a Unix socket that was made here, and its inode, which tells whether the file is still ours.
    file: Option<(PathBuf, u64)>,
}

impl Listener {
    pub(super) fn open(
        setting: &'static str,
        listen: &Listen,
        mode: UnixMode,
        inherited: &mut Inherited,
    ) -> Result<Self, ServeError> {
        let mut open = || {
            let (socket, file) = match listen {
                Listen::Address(address) => (Bound::Tcp(TcpListener::bind(address)?), None),
                Listen::Unix(path) => {
                    let (socket, file) = bind_unix(path, mode)?;
                    (Bound::Unix(socket), Some(file))
                }
                Listen::Systemd(name) => (inherited.take(name)?, None),
            };
            let place = match &socket {
                Bound::Tcp(socket) => {
                    // The longest queue that the system allows, for connections that arrive while others are evicted.
                    SockRef::from(socket).listen(QUEUE)?;
                    socket.set_nonblocking(true)?;
                    // Linux lets accepted connections inherit it; Salvo has no setting of its own.
                    SockRef::from(socket).set_tcp_nodelay(true)?;
                    Listen::Address(socket.local_addr()?)
                }
                Bound::Unix(socket) => {
                    socket.set_nonblocking(true)?;
                    let path = socket.local_addr()?.as_pathname().map(Path::to_owned);
                    // The name that a socket made here was bound under is not the one that it has now.
                    let path = path.filter(|_| matches!(listen, Listen::Systemd(_)));
                    path.map_or_else(|| listen.clone(), Listen::Unix)
                }
            };
            Ok(Self { socket, place, file })
        };
        open().map_err(|source| ServeError::Listen { setting, listen: listen.clone(), source })
    }

    /// Returns the port, or `None` for a Unix socket.
    pub(super) fn port(&self) -> Option<u16> {
        match &self.place {
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
    ) -> io::Result<Running> {
        let socket = match self.socket {
            Bound::Tcp(socket) => Socket::Tcp(tokio::net::TcpListener::from_std(socket)?),
            Bound::Unix(socket) => Socket::Unix(tokio::net::UnixListener::from_std(socket)?),
        };
        let acceptor = Acceptor::new(socket, connections.clone())?;
        let protocol = Arc::new(Protocol::new(Arc::new(routes), tls, acceptor.local_addr()));
        let tasks = TaskTracker::new();
        let watched = connections.clone();
        Ok(Running {
            file: self.file,
            accepting: tokio::spawn(acceptor.serve(protocol, tasks.clone())),
            watching: tokio::spawn(async move { watched.watch().await }),
            connections,
            tasks,
        })
    }
}

/// Binds a Unix socket under a temporary name, and renames it when it has its permissions and listens. Replaces a socket that
/// another server left behind, unless a process still listens there.
fn bind_unix(path: &Path, mode: UnixMode) -> io::Result<(UnixListener, (PathBuf, u64))> {
    let new = || socket2::Socket::new(Domain::UNIX, Type::STREAM, None);
    let probe = new()?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?).map_err(|error| error.kind()) {
        Err(io::ErrorKind::NotFound) => {}
        Err(io::ErrorKind::ConnectionRefused) if is_socket(path) => {}
        Err(io::ErrorKind::ConnectionRefused) => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        // `WouldBlock`: its queue is full.
        Ok(()) | Err(io::ErrorKind::WouldBlock) => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens there"));
        }
        Err(kind) => return Err(kind.into()),
    }
    let mut other_name = path.as_os_str().to_owned();
    other_name.push(format!(".{}", std::process::id()));
    let made = PathBuf::from(other_name);
    let socket = new()?;
    socket.bind(&SockAddr::unix(&made)?)?;
    let ready = || {
        std::fs::set_permissions(&made, std::fs::Permissions::from_mode(mode.0))?;
        socket.listen(QUEUE)?;
        let number = std::fs::symlink_metadata(&made)?.ino();
        std::fs::rename(&made, path).map(|()| number)
    };
    let number = ready().inspect_err(|_| drop(std::fs::remove_file(&made)))?;
    Ok((socket.into(), (path.to_owned(), number)))
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// A listener that serves.
pub(super) struct Running {
    file: Option<(PathBuf, u64)>,
    accepting: JoinHandle<()>,
    watching: JoinHandle<()>,
    connections: Arc<Connections>,
    /// One task for each connection.
    tasks: TaskTracker,
}

impl Running {
    /// Closes the socket, and waits until requests in progress are finished, for at most `timeout`. A socket that systemd also
    /// holds goes on listening: clients that connect wait for the next process.
    pub(super) async fn stop(self, timeout: Duration) {
        self.accepting.abort();
        // Waits until the task has ended, which closes the socket.
        let _ = self.accepting.await;
        if let Some((path, number)) = &self.file
            && std::fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *number)
            && let Err(error) = std::fs::remove_file(path)
        {
            tracing::warn!(%error, path = %path.display(), "the socket's file cannot be removed; the next start replaces it");
        }
        tokio::time::sleep(FIRST_REQUEST_TIMEOUT.min(timeout)).await;
        self.connections.take_leave();
        self.tasks.close();
        if tokio::time::timeout(timeout, self.tasks.wait()).await.is_err() {
            self.connections.close();
            self.tasks.wait().await;
        }
        self.watching.abort();
    }
}
