//! Tests of the real binary: over HTTP, through the command line, with signals, and with injected faults.
//!
//! The module `harness` starts the server in a test directory. `tests/cluster` and `tests/load` also include that module.

mod accounts;
mod audit;
mod backup;
mod clock;
mod clock_file;
mod commands;
mod copies;
mod database;
mod database_files;
mod disconnects;
mod doctor;
mod durability;
mod faketime;
mod hardening;
mod harness;
mod keys;
mod lifecycle;
mod log_flood;
mod log_reader;
mod logs;
mod lone_client;
mod memory;
mod migrate;
mod must_change;
mod output;
mod password;
mod protocol;
mod ready;
mod reload;
mod restored;
mod slow;
mod spellings;
mod systemd;
mod two_servers;
mod unusable_database;
mod users;
mod verify;
mod versions;
