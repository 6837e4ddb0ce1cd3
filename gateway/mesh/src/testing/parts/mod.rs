//! Servers that others wrote, each a process of its own on a port of the loopback interface.
//! `./copilotw.sh test` installs them.

#[cfg(feature = "real-parts")]
pub mod dynamodb;
pub mod moto;
#[cfg(feature = "real-parts")]
pub mod postgres;

#[cfg(feature = "real-parts")]
use std::net::TcpListener;

/// A port that was free a moment ago, for programs that cannot take one themselves.
#[cfg(feature = "real-parts")]
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    listener.local_addr().expect("bound").port()
}
