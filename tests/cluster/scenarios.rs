//! What must hold, one module for each kind of trouble.

mod accounts;
mod clocks;
mod copies;
mod doctor;
mod durable;
mod embedded;
mod failover;
mod faults;
mod freezing;
mod key_revocation;
mod long_list;
mod lost_connections;
mod migrate;
mod notices;
mod order;
mod records;
mod restored;
mod rotation;
mod sign_out;
mod tls;
mod together;
mod versions;
mod waking;
mod wrong_database;
