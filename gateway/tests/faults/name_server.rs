//! A name server of our own: it knows the instances by SRV records, answers as it is told to, or
//! not at all.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::support::{eventually, runtime};

/// The name of the service.
pub(crate) const SERVICE: &str = "_http._tcp.orders.faults.test";
/// Seconds that a record lives: the gateway asks about once in so many.
const TTL: u32 = 1;
/// Bytes of a question that came by UDP.
const QUESTION_BYTES_MAX: usize = 512;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As it should.
    Good,
    /// It cannot tell (SERVFAIL).
    Failing,
    /// There is no such name (NXDOMAIN).
    Forgetful,
    /// It never answers.
    Silent,
    /// The name is there and has no records.
    Empty,
}

struct Zone {
    mood: Mood,
    /// Questions since the last change.
    asked: u64,
    instances: Vec<SocketAddr>,
}

/// A running name server; dropping it ends it.
pub(crate) struct NameServer {
    address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
    serving: JoinHandle<()>,
}

impl NameServer {
    pub(crate) fn start(instances: impl IntoIterator<Item = SocketAddr>) -> Self {
        let zone = Arc::new(Mutex::new(Zone {
            mood: Mood::Good,
            asked: 0,
            instances: instances.into_iter().collect(),
        }));
        let bind = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let socket = runtime().block_on(bind).expect("port 0 is free");
        Self {
            address: socket.local_addr().expect("bound"),
            serving: runtime().spawn(serve(socket, Arc::clone(&zone))),
            zone,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it answers so; returns when it has been asked once.
    pub(crate) fn turns(&self, mood: Mood) {
        let mut zone = lock(&self.zone);
        (zone.mood, zone.asked) = (mood, 0);
        drop(zone);
        eventually("the name server is asked", || {
            (lock(&self.zone).asked > 0).then_some(())
        });
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn lock(zone: &Mutex<Zone>) -> MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut packet = [0; QUESTION_BYTES_MAX];
    while let Ok((length, client)) = socket.recv_from(&mut packet).await {
        let question = Message::from_vec(&packet[..length]).expect("the gateway asks in DNS");
        let reply = lock(&zone).answer(question);
        if let Some(reply) = reply {
            let bytes = reply.to_vec().expect("all names are valid");
            // A gateway that has ended waits for nothing.
            let _sent = socket.send_to(&bytes, client).await;
        }
    }
}

impl Zone {
    fn answer(&mut self, question: Message) -> Option<Message> {
        self.asked += 1;
        let query = question.queries.first().expect("one question").clone();
        let mut reply = question.into_response();
        match self.mood {
            Mood::Silent => return None,
            Mood::Failing => reply.metadata.response_code = ResponseCode::ServFail,
            Mood::Forgetful => reply.metadata.response_code = ResponseCode::NXDomain,
            Mood::Empty => {}
            Mood::Good => {
                for data in self.records(query.query_type()) {
                    reply.add_answer(Record::from_rdata(query.name().clone(), TTL, data));
                }
            }
        }
        Some(reply)
    }

    /// Each instance has a port of its own, and all have one address.
    fn records(&self, kind: RecordType) -> Vec<RData> {
        let target = || Name::from_ascii("instance.faults.test.").expect("a name");
        match kind {
            RecordType::SRV => {
                let ports = self.instances.iter().map(SocketAddr::port);
                let servers = ports.map(|port| RData::SRV(SRV::new(0, 1, port, target())));
                servers.collect()
            }
            RecordType::A => vec![RData::A(Ipv4Addr::LOCALHOST.into())],
            _ => Vec::new(),
        }
    }
}
