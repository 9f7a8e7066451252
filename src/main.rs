//! The `sealjar` command; everything is in the library.

fn main() -> std::process::ExitCode {
    sealjar::cli::run()
}
