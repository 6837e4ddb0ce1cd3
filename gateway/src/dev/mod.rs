//! Everything `gateway dev` needs beside the gateway itself.

pub mod issuer;
mod loopback;
pub mod registry;
pub mod supervisor;
