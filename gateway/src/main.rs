//! The `gateway` binary.

use std::process::ExitCode;

/// Half the memory of an idle connection at the same speed as the system's allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    gateway::cli::main()
}
