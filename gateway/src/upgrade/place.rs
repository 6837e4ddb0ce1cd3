//! Where the two processes meet: a unix socket that nobody else can reach or put up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::process::geteuid;

/// Conversations that the kernel keeps waiting.
const BACKLOG: i32 = 8;
/// Who may write to a directory besides its owner: group and others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The path of the upgrade socket.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    path: PathBuf,
}

/// Why the upgrade socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    #[error("the directory of `upgrade.socket`, `{}`, cannot be used: {source}; make it", .path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error(
        "others than its owner may write to `{}`, the directory of `upgrade.socket`, and could \
         put a socket of theirs there; take that right away (chmod go-w), or choose another",
        .0.display()
    )]
    Open(PathBuf),
    #[error(
        "`{}`, the directory of `upgrade.socket`, belongs to another user, who could put a socket \
         of theirs there; choose one that belongs to this process's user or to root",
        .0.display()
    )]
    Foreign(PathBuf),
    #[error("`{}` (`upgrade.socket`) is there and is no socket; remove it, or choose another path", .0.display())]
    NoSocket(PathBuf),
    #[error(
        "a gateway is running at `{}` (`upgrade.socket`); take over from it with `gateway upgrade`, \
         stop it, or choose another path",
        .0.display()
    )]
    InUse(PathBuf),
    #[error(
        "no gateway is running at `{}` (`upgrade.socket`); start one with `gateway run`, without \
         `--upgrade`",
        .0.display()
    )]
    Nobody(PathBuf),
    #[error("another user listens at `{}` (`upgrade.socket`)", .0.display())]
    Stranger(PathBuf),
    #[error("the socket `{}` (`upgrade.socket`) cannot be used: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl Place {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Listens there.
    pub(crate) fn listen(&self) -> Result<OwnedFd, PlaceError> {
        self.check_directory()?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(PlaceError::NoSocket(self.path.clone()));
            }
            Ok(_) => match self.connect() {
                Ok(_answers) => return Err(PlaceError::InUse(self.path.clone())),
                // A process that was killed leaves its socket behind.
                Err(PlaceError::Nobody(_)) => self.io(std::fs::remove_file(&self.path))?,
                Err(error) => return Err(error),
            },
            Err(_absent) => {}
        }
        let socket = self.socket()?;
        self.io(SocketAddrUnix::new(&self.path).and_then(|address| bind(&socket, &address)))?;
        // Nobody can connect before `listen`, so the rights are in time.
        let private = std::fs::Permissions::from_mode(0o600);
        self.io(std::fs::set_permissions(&self.path, private))?;
        self.io(listen(&socket, BACKLOG))?;
        Ok(socket)
    }

    /// Connects to whoever listens there.
    pub(crate) fn connect(&self) -> Result<OwnedFd, PlaceError> {
        self.check_directory()?;
        let socket = self.socket()?;
        let address = self.io(SocketAddrUnix::new(&self.path))?;
        match connect(&socket, &address) {
            Ok(()) => {}
            Err(Errno::NOENT | Errno::CONNREFUSED) => {
                return Err(PlaceError::Nobody(self.path.clone()));
            }
            Err(error) => return self.io(Err(error)),
        }
        if !self.io(is_ours(&socket))? {
            return Err(PlaceError::Stranger(self.path.clone()));
        }
        Ok(socket)
    }

    /// Takes the name away; what listens goes on listening.
    pub(super) fn remove(&self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the upgrade socket was gone already");
        }
    }

    fn socket(&self) -> Result<OwnedFd, PlaceError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        self.io(socket_with(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            flags,
            None,
        ))
    }

    fn check_directory(&self) -> Result<(), PlaceError> {
        let path = self.path.parent().unwrap_or(Path::new("/"));
        let found = std::fs::metadata(path).map_err(|source| PlaceError::Directory {
            path: path.to_owned(),
            source,
        })?;
        if found.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(PlaceError::Open(path.to_owned()));
        }
        if !is_trusted(found.uid()) {
            return Err(PlaceError::Foreign(path.to_owned()));
        }
        Ok(())
    }

    fn io<T, E: Into<io::Error>>(&self, result: Result<T, E>) -> Result<T, PlaceError> {
        result.map_err(|error| PlaceError::Io {
            path: self.path.clone(),
            source: error.into(),
        })
    }
}

/// Whether the other end is a process of this user or of root.
pub(super) fn is_ours(socket: impl AsFd) -> rustix::io::Result<bool> {
    Ok(is_trusted(socket_peercred(socket)?.uid.as_raw()))
}

fn is_trusted(user: u32) -> bool {
    user == 0 || user == geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, Place) {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path().join("upgrade.sock"));
        (directory, place)
    }

    #[test]
    fn only_its_owner_may_connect_and_one_gateway_may_listen() {
        let (_directory, place) = place();
        assert!(matches!(place.connect(), Err(PlaceError::Nobody(_))));
        let listening = place.listen().unwrap();
        let mode = std::fs::metadata(&place.path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(place.listen(), Err(PlaceError::InUse(_))));
        // What a killed process leaves behind is in nobody's way.
        drop(listening);
        assert!(matches!(place.connect(), Err(PlaceError::Nobody(_))));
        place.listen().unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_refused() {
        let (directory, place) = place();
        for mode in [0o770, 0o702, 0o1777] {
            let open = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(directory.path(), open).unwrap();
            assert!(
                matches!(place.listen(), Err(PlaceError::Open(_))),
                "{mode:o}"
            );
            assert!(
                matches!(place.connect(), Err(PlaceError::Open(_))),
                "{mode:o}"
            );
        }
    }

    #[test]
    fn what_is_no_socket_is_left_alone() {
        let (_directory, place) = place();
        std::fs::write(&place.path, "kept").unwrap();
        assert!(matches!(place.listen(), Err(PlaceError::NoSocket(_))));
        assert_eq!(std::fs::read_to_string(&place.path).unwrap(), "kept");
        let nowhere = Place::new("/nowhere/upgrade.sock");
        assert!(matches!(
            nowhere.listen(),
            Err(PlaceError::Directory { .. })
        ));
    }
}
