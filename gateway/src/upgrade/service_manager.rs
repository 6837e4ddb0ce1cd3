//! Tells the service manager which process serves (`sd_notify(3)`).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the service manager listens; unset where there is none.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// This process is ready, and it is the main one from now on.
pub(crate) fn tell_ready() {
    let Some(socket) = std::env::var_os(VARIABLE) else {
        return;
    };
    let state = format!("MAINPID={}\nREADY=1\n", std::process::id());
    if let Err(error) = send(&socket, &state) {
        tracing::warn!(%error, "the service manager cannot be told that this process serves");
    }
}

/// A name that begins with `@` is in the abstract namespace.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_at_a_path_or_an_abstract_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let name = format!("gateway-test-{}", std::process::id());
        let mut abstract_name = std::ffi::OsString::from("@");
        abstract_name.push(&name);
        let by_path = UnixDatagram::bind(&path).unwrap();
        let address = SocketAddr::from_abstract_name(name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();
        for (socket, listening) in [
            (path.as_os_str(), by_path),
            (abstract_name.as_os_str(), by_name),
        ] {
            send(socket, "MAINPID=7\nREADY=1\n").unwrap();
            let mut bytes = [0; 64];
            let count = listening.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..count], b"MAINPID=7\nREADY=1\n");
        }
    }
}
