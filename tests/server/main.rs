//! The real binary, driven from outside: over HTTP, by its command line, by signals and by faults.

mod asvs;
mod audit;
mod bad_cookies;
mod clock;
mod csrf;
mod database;
mod doctor;
mod durability;
mod faketime;
mod harness;
mod keys;
mod lifecycle;
mod login;
mod logout;
mod migrate;
mod must_change;
mod pages;
mod password;
mod protocol;
mod restored;
mod slow;
mod status;
mod throttle;
mod users;
mod verify;
mod versions;
