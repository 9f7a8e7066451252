//! The type of `http.listen` and `http.admin_listen`: an address, a Unix socket, or a socket that systemd opened.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Address of a listener: `ADDRESS:PORT`, `unix:PATH`, or `systemd:NAME` for the socket with this name that systemd
/// passes to the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) enum Listen {
    Address(SocketAddr),
    Unix(PathBuf),
    Systemd(String),
}

impl Listen {
    /// Returns the IP address, or `None` for a Unix socket or a socket that systemd opened.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address.ip()),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }

    /// Returns the port in the setting, or `None` for a Unix socket or a socket that systemd opened.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Self::Address(address) => Some(address.port()),
            Self::Unix(_) | Self::Systemd(_) => None,
        }
    }

    /// Returns whether two listeners cannot use these addresses at the same time. With port 0, each listener gets a
    /// different port.
    pub(crate) fn collides_with(&self, other: &Self) -> bool {
        self == other && !matches!(self, Self::Address(address) if address.port() == 0)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

impl TryFrom<String> for Listen {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Self::Unix(path.into())),
            Some(("systemd", name)) if !name.is_empty() => Ok(Self::Systemd(name.to_owned())),
            _ => text
                .parse()
                .map(Self::Address)
                .map_err(|_| "it must be an address such as 127.0.0.1:8080, unix:PATH, or systemd:NAME"),
        }
    }
}

impl From<Listen> for String {
    fn from(listen: Listen) -> Self {
        listen.to_string()
    }
}

/// File permissions of a Unix socket, written in octal, such as `0660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct UnixMode(pub(crate) u32);

impl TryFrom<String> for UnixMode {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.map(Self).ok_or("it must be permissions in octal, such as 0660")
    }
}

impl From<UnixMode> for String {
    fn from(mode: UnixMode) -> Self {
        format!("{:04o}", mode.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints_every_form_of_a_listener() {
        for text in ["127.0.0.1:8080", "[::1]:0", "unix:/run/sealjar/public.sock", "systemd:public"] {
            assert_eq!(Listen::try_from(text.to_owned()).map(String::from).as_deref(), Ok(text));
        }
        for text in ["", "nowhere", "127.0.0.1", "unix:", "systemd:", "http://localhost"] {
            assert!(Listen::try_from(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn parses_and_prints_permissions() {
        assert_eq!(UnixMode::try_from("660".to_owned()).map(String::from).as_deref(), Ok("0660"));
        for text in ["", "rw", "1777", "888", "-1"] {
            assert!(UnixMode::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
