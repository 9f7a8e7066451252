//! Keeping this process like others: writing revocations to the store, reading its log, and following the key directory.

#[cfg(feature = "store")]
pub(crate) mod committer;
#[cfg(feature = "store")]
pub(crate) mod follower;
pub(crate) mod key_directory;
#[cfg(feature = "store")]
pub(crate) mod lag;
#[cfg(feature = "store")]
pub(crate) mod log_reader;
pub(crate) mod single_flight;
