//! The program of an upstream instance: this very executable, started once more.
//!
//! `listen address, journal` are its arguments. It writes `listening ADDRESS` when it does, does
//! as each line on standard input says, and confirms with that line. SIGTERM makes it leave as a
//! good service does: it still serves for a while, each connection until its next answer, and
//! goes when the last is done. It also ends when standard input does, so that it never outlives
//! the suite.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::behaviour::Behaviour;
use crate::journal::Journal;
use crate::order;

/// What makes a process an upstream.
pub(crate) const VARIABLE: &str = "FAULTS_UPSTREAM";
/// Time that an order takes: some are always under way when something breaks.
const SERVICE_TIME: Duration = Duration::from_millis(5);
/// For how long it still serves when it was told to leave.
const LAME_DUCK: Duration = Duration::from_millis(2_500);
/// Time for the bytes of an answer to arrive before a reset overtakes them.
const HEAD_START: Duration = Duration::from_millis(5);
/// A slow body: so many pieces, each after a pause.
const PIECES: usize = 8;
const PIECE_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a header that no gateway takes.
const LONG_HEADER: usize = 1024 * 1024;
/// Headers of a request, at most.
const HEADERS_MAX: usize = 64;
/// Orders that wait on standard input.
const COMMANDS_MAX: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Each connection ends with its next answer.
    LameDuck,
    /// Idle connections are closed too.
    Closing,
}

#[derive(Clone, Copy)]
struct State {
    behaviour: Behaviour,
    phase: Phase,
}

struct Request {
    method: String,
    number: u64,
}

/// Runs to the end.
pub(crate) fn run() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(Upstream::from_arguments().serve());
}

struct Upstream {
    address: SocketAddr,
    journal: Arc<Journal>,
    state: watch::Sender<State>,
}

impl Upstream {
    fn from_arguments() -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut next = || arguments.next().expect("an address and a path");
        let state = State {
            behaviour: Behaviour::Good,
            phase: Phase::Serving,
        };
        Self {
            address: next().parse().expect("an address"),
            journal: Arc::new(Journal::open(Path::new(&next()))),
            state: watch::channel(state).0,
        }
    }

    async fn serve(mut self) {
        let mut listener = Some(self.listen().await);
        let mut commands = commands();
        let mut terminate = signal(SignalKind::terminate()).expect("a signal can be waited for");
        let mut connections = JoinSet::new();
        let mut end = None;
        say(&format!("listening {}", self.address));
        loop {
            tokio::select! {
                socket = accept(listener.as_ref()) => {
                    let (state, journal) = (self.state.subscribe(), Arc::clone(&self.journal));
                    connections.spawn(converse(socket, state, journal));
                }
                command = commands.recv() => {
                    // The suite has ended.
                    let Some(command) = command else { return };
                    let behaviour = Behaviour::named(&command);
                    self.state.send_modify(|state| state.behaviour = behaviour);
                    if behaviour == Behaviour::Refuse {
                        listener = None;
                        connections.shutdown().await;
                    } else if listener.is_none() {
                        listener = Some(self.listen().await);
                    }
                    say(&command);
                }
                _ = terminate.recv(), if end.is_none() => {
                    end = Some(Instant::now() + LAME_DUCK);
                    self.state.send_modify(|state| state.phase = Phase::LameDuck);
                }
                () = reached(end) => break,
                Some(_) = connections.join_next() => {}
            }
        }
        drop(listener);
        self.state.send_modify(|state| state.phase = Phase::Closing);
        while connections.join_next().await.is_some() {}
    }

    /// The port of the first time, also when it comes back.
    async fn listen(&mut self) -> TcpListener {
        let listener = TcpListener::bind(self.address).await.expect("a free port");
        self.address = listener.local_addr().expect("bound");
        listener
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody listens when the suite has ended, which standard input tells too.
    let _told = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn commands() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lines().map_while(Result::ok);
        lines
            .map(|line| sender.blocking_send(line))
            .take_while(Result::is_ok)
            .for_each(drop);
    });
    receiver
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.expect("descriptors are left").0,
        None => std::future::pending().await,
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Answers what comes on one connection; a failure to read or write ends it.
async fn converse(mut socket: TcpStream, state: watch::Receiver<State>, journal: Arc<Journal>) {
    let mut unread = Vec::new();
    let mut closing = state.clone();
    loop {
        let request = tokio::select! {
            biased;
            request = read(&mut socket, &mut unread, &journal) => request,
            _ = closing.wait_for(|state| state.phase == Phase::Closing) => return,
        };
        let Some(request) = request else { return };
        sleep(SERVICE_TIME).await;
        let now = *state.borrow();
        let is_last = now.phase != Phase::Serving;
        let answered = answer(&mut socket, now.behaviour, request.number, is_last).await;
        if is_last || !matches!(answered, Ok(After::GoOn)) {
            return;
        }
    }
}

/// A whole request, noted as soon as its head is there; none when the connection ends.
async fn read(socket: &mut TcpStream, unread: &mut Vec<u8>, journal: &Journal) -> Option<Request> {
    let (request, length) = loop {
        if let Some(found) = parse(unread) {
            break found;
        }
        more(socket, unread).await?;
    };
    journal.note(&request.method, request.number);
    while unread.len() < length {
        more(socket, unread).await?;
    }
    unread.drain(..length);
    Some(request)
}

async fn more(socket: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    let size = socket.read_buf(unread).await.ok()?;
    (size > 0).then_some(())
}

/// The first request of these bytes once its head is there, with its length, body included.
fn parse(bytes: &[u8]) -> Option<(Request, usize)> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut head = httparse::Request::new(&mut headers);
    let parsed = head.parse(bytes).expect("the gateway writes HTTP");
    let httparse::Status::Complete(head_size) = parsed else {
        return None;
    };
    let header = |name: &str| {
        let mut headers = head.headers.iter();
        headers.find(|header| header.name.eq_ignore_ascii_case(name))
    };
    assert!(header("transfer-encoding").is_none(), "lengths are known");
    let body_size = header("content-length").map_or(0, |length| {
        let length = std::str::from_utf8(length.value).expect("digits");
        length.parse().expect("a number")
    });
    let request = Request {
        method: head.method.expect("complete").into(),
        number: order::number(head.path.expect("complete")).expect("an order"),
    };
    Some((request, head_size + body_size))
}

/// What becomes of the connection.
enum After {
    GoOn,
    Close,
}

async fn answer(
    socket: &mut TcpStream,
    behaviour: Behaviour,
    number: u64,
    is_last: bool,
) -> std::io::Result<After> {
    let whole = Answer::about(number, is_last);
    match behaviour {
        Behaviour::Good | Behaviour::Refuse => {
            socket.write_all(&whole.bytes).await?;
            return Ok(After::GoOn);
        }
        Behaviour::SlowBody => {
            let (head, body) = whole.bytes.split_at(whole.head_size);
            socket.write_all(head).await?;
            for piece in body.chunks(body.len().div_ceil(PIECES)) {
                sleep(PIECE_PAUSE).await;
                socket.write_all(piece).await?;
            }
            return Ok(After::GoOn);
        }
        Behaviour::Unavailable => {
            let head = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";
            socket.write_all(head.as_bytes()).await?;
            return Ok(After::GoOn);
        }
        Behaviour::Hang => {
            // Until the gateway has had enough.
            socket.readable().await?;
        }
        Behaviour::ResetBeforeHead => reset(socket)?,
        Behaviour::ResetAfterHead => {
            socket.write_all(&whole.bytes[..whole.head_size]).await?;
            sleep(HEAD_START).await;
            reset(socket)?;
        }
        Behaviour::HalfBody => {
            let half = whole.head_size + order::BODY_SIZE / 2;
            socket.write_all(&whole.bytes[..half]).await?;
            socket.shutdown().await?;
        }
        Behaviour::Garbage => {
            socket
                .write_all(b"\x16\x03\x01 what is this?\r\n\r\n")
                .await?;
            socket.shutdown().await?;
        }
        Behaviour::LongHead => {
            let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n", "y".repeat(LONG_HEADER));
            socket.write_all(head.as_bytes()).await?;
        }
    }
    Ok(After::Close)
}

/// The connection will end with a reset instead of an orderly close.
fn reset(socket: &TcpStream) -> std::io::Result<()> {
    socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO))
}

struct Answer {
    bytes: Vec<u8>,
    head_size: usize,
}

impl Answer {
    /// Every other one is chunked, so that either kind of end is tested.
    fn about(number: u64, is_last: bool) -> Self {
        let body = order::body(number);
        let connection = if is_last { "connection: close\r\n" } else { "" };
        let (framing, body) = if number.is_multiple_of(2) {
            (format!("content-length: {}", body.len()), body)
        } else {
            let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
            ("transfer-encoding: chunked".to_owned(), chunks)
        };
        let head = format!("HTTP/1.1 200 OK\r\n{connection}{framing}\r\n\r\n");
        Self {
            head_size: head.len(),
            bytes: (head + &body).into_bytes(),
        }
    }
}
