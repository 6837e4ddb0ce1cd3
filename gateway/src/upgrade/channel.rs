//! Messages and descriptors over a unix socket that keeps packets apart.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::Message;

/// Bytes of a message.
const MESSAGE_BYTES_MAX: usize = 4096;

/// Why the other process cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelError {
    #[error("the other process has closed the connection")]
    Closed,
    #[error("the other process says nothing")]
    Silent,
    #[error("the other process refuses: {0}")]
    Refused(String),
    #[error("the other process says what was not expected")]
    Unexpected,
    #[error("a message cannot be sent or received: {0}")]
    Io(io::Error),
}

impl From<io::Error> for ChannelError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// One end of the conversation; must be made and used on one runtime.
///
/// The type is that of streams because it waits as a reactor wants it; all reading and writing
/// is done here, a packet at a time.
pub(super) struct Channel(UnixStream);

impl From<UnixStream> for Channel {
    fn from(socket: UnixStream) -> Self {
        Self(socket)
    }
}

impl Channel {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(UnixStream::from_std(socket.into())?))
    }

    /// The socket, for another runtime.
    pub(super) fn into_inner(self) -> io::Result<OwnedFd> {
        Ok(self.0.into_std()?.into())
    }

    pub(super) async fn send(&self, message: &Message) -> Result<(), ChannelError> {
        self.send_with(message, None).await
    }

    /// Sends a message and, with it, a descriptor (`SCM_RIGHTS`, unix(7)).
    pub(super) async fn send_with(
        &self,
        message: &Message,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), ChannelError> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::from)?;
        let sent = self.0.async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let descriptors = descriptor.as_slice();
            if !descriptors.is_empty() {
                let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
                debug_assert!(fits, "there is space for one");
            }
            let parts = [IoSlice::new(&bytes)];
            Ok(sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)?)
        });
        match tokio::time::timeout(super::REPLY_TIMEOUT, sent).await {
            Ok(sent) => sent.map(|_all| ()).map_err(ChannelError::from),
            Err(_elapsed) => Err(ChannelError::Silent),
        }
    }

    /// The next message, and the descriptor that came with it.
    pub(super) async fn receive(&self) -> Result<(Message, Option<OwnedFd>), ChannelError> {
        let mut bytes = [0; MESSAGE_BYTES_MAX];
        let (count, descriptor) = self
            .0
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut parts = [IoSliceMut::new(&mut bytes)];
                // A descriptor must not leak into a process that is started meanwhile.
                let flags = RecvFlags::CMSG_CLOEXEC;
                let received = recvmsg(&self.0, &mut parts, &mut control, flags)?;
                let mut descriptors = control.drain().filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                    _ => None,
                });
                let descriptor = descriptors.next().and_then(|mut all| all.next());
                let is_whole = !received.flags.contains(ReturnFlags::TRUNC);
                Ok((if is_whole { received.bytes } else { 0 }, descriptor))
            })
            .await?;
        if count == 0 {
            return Err(ChannelError::Closed);
        }
        match serde_json::from_slice(&bytes[..count]) {
            Ok(Message::Refused { why }) => Err(ChannelError::Refused(why)),
            Ok(message) => Ok((message, descriptor)),
            Err(_) => Err(ChannelError::Unexpected),
        }
    }

    /// The same, with a limit on the silence before it.
    pub(super) async fn receive_within(
        &self,
        limit: Duration,
    ) -> Result<(Message, Option<OwnedFd>), ChannelError> {
        let received = tokio::time::timeout(limit, self.receive()).await;
        received.unwrap_or(Err(ChannelError::Silent))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::upgrade::Role;

    fn pair() -> (Channel, Channel) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (left, right) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        (Channel::new(left).unwrap(), Channel::new(right).unwrap())
    }

    #[tokio::test]
    async fn a_descriptor_comes_with_its_message_and_is_the_same_socket() {
        let (left, right) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let offered = super::super::Offered::new(Role::Proxy(address), &listener).unwrap();
        let socket = std::os::fd::AsFd::as_fd(&offered.socket);
        left.send(&Message::Ready).await.unwrap();
        left.send_with(&Message::Socket(offered.role), Some(socket))
            .await
            .unwrap();
        left.send(&Message::Go).await.unwrap();

        let (first, none) = right.receive().await.unwrap();
        assert!(matches!(first, Message::Ready) && none.is_none());
        let (second, descriptor) = right.receive().await.unwrap();
        assert!(matches!(second, Message::Socket(Role::Proxy(given)) if given == address));
        let received = TcpListener::from(descriptor.unwrap());
        assert_eq!(received.local_addr().unwrap(), address);
        let (third, none) = right.receive().await.unwrap();
        assert!(matches!(third, Message::Go) && none.is_none());

        // What the kernel has queued outlives the process that listened first.
        drop((listener, offered));
        let _client = std::net::TcpStream::connect(address).unwrap();
        received.accept().unwrap();
    }

    #[tokio::test]
    async fn an_end_a_refusal_nonsense_and_silence_are_told_apart() {
        let (left, right) = pair();
        let why = "busy".to_owned();
        left.send(&Message::Refused { why }).await.unwrap();
        assert!(matches!(right.receive().await, Err(ChannelError::Refused(why)) if why == "busy"));
        rustix::net::send(&left.0, b"{\"dance\":1}", SendFlags::empty()).unwrap();
        assert!(matches!(
            right.receive().await,
            Err(ChannelError::Unexpected)
        ));
        let silence = right.receive_within(Duration::from_millis(10)).await;
        assert!(matches!(silence, Err(ChannelError::Silent)));
        drop(left);
        assert!(matches!(right.receive().await, Err(ChannelError::Closed)));
    }
}
