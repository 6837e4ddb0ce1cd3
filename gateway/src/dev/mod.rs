//! Everything `gateway dev` needs beside the gateway itself.

mod loopback;
pub mod registry;
