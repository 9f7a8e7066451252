//! Test scenarios, with one module for each fault, change or configuration.

mod accounts;
mod clocks;
mod concurrent_start;
mod copies;
mod doctor;
mod durable;
mod embedded;
mod failover;
mod faults;
mod key_revocation;
mod long_list;
mod lost_connections;
mod migrate;
mod notifications;
mod order;
mod records;
mod restored;
mod rotation;
mod sign_out;
mod suspended_commit;
mod suspended_nodes;
mod tls;
mod versions;
mod wrong_database;
