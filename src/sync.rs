//! Synchronization of this process with other nodes: it commits revocations to the store, follows the store's log, and
//! rereads the key directory.

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
