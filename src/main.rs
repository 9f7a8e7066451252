//! Executable of the `sealjar` command. All of its code is in the library.

fn main() -> std::process::ExitCode {
    sealjar::cli::run()
}
