//! The real resolver against a name server of our own on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::rdata::SRV,
};
use tokio::net::UdpSocket;

use super::*;
use crate::discovery::FailureReason;

/// What the name server says for one record type.
#[derive(Clone, Copy, Debug)]
enum Say {
    Addresses(&'static [&'static str]),
    Code(ResponseCode),
    Silence,
}
use Say::{Addresses, Code, Silence};

const NO_RECORDS: Say = Addresses(&[]);
const NO_NAME: Say = Code(ResponseCode::NXDomain);
const FAILURE: Say = Code(ResponseCode::ServFail);

/// A resolver of a server that answers each pair of questions (A, AAAA) with
/// the next pair of the script, the last one for ever.
async fn resolver(script: &'static [(Say, Say)]) -> DnsResolver {
    resolver_with_hosts(script, Hosts::default()).await
}

async fn resolver_with_hosts(script: &'static [(Say, Say)], hosts: Hosts) -> DnsResolver {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    tokio::spawn(serve(socket, script));
    resolver_of(server, hosts)
}

fn resolver_of(server: SocketAddr, hosts: Hosts) -> DnsResolver {
    let servers = NameServers {
        addresses: vec![server],
        timeout: Duration::from_secs(1),
    };
    DnsResolver::with_hosts(&servers, hosts).unwrap()
}

async fn serve(socket: UdpSocket, script: &'static [(Say, Say)]) {
    let asked = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let mut packet = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut packet).await {
        let question = Message::from_vec(&packet[..length]).unwrap();
        let query = question.queries[0].clone();
        let family = usize::from(query.query_type() == RecordType::AAAA);
        let turn = asked[family].fetch_add(1, Ordering::Relaxed);
        let pair = script[turn.min(script.len() - 1)];
        let mut reply = question.into_response();
        match [pair.0, pair.1][family] {
            Silence => continue,
            Code(code) => reply.metadata.response_code = code,
            Addresses(addresses) => {
                for address in addresses {
                    let data = match address.parse().unwrap() {
                        IpAddr::V4(ip) => RData::A(ip.into()),
                        IpAddr::V6(ip) => RData::AAAA(ip.into()),
                    };
                    // An hour to live, which must not matter.
                    reply.add_answer(Record::from_rdata(query.name().clone(), 3600, data));
                }
            }
        }
        let bytes = reply.to_vec().unwrap();
        socket.send_to(&bytes, client).await.unwrap();
    }
}

const PORT: NonZeroU16 = NonZeroU16::new(8080).unwrap();

const TTL: TtlBounds = TtlBounds {
    min: Duration::from_secs(5),
    max: Duration::from_secs(30),
};

/// The endpoints in one line, or the reason of the failure.
async fn ask(source: &Dns) -> String {
    match source.discover().await {
        Ok(found) => {
            let addresses = found.endpoints().iter().map(|it| match it.second_address {
                Some(second) => format!("{}|{second}", it.address),
                None => it.address.to_string(),
            });
            addresses.collect::<Vec<_>>().join(" ")
        }
        Err(error) => error.reason().to_string(),
    }
}

#[tokio::test]
async fn both_families_make_one_set_and_neither_half_makes_one_alone() {
    const V4: Say = Addresses(&["10.0.0.2", "10.0.0.1"]);
    const V6: Say = Addresses(&["fd00::1"]);
    let cases: &[(&'static [(Say, Say)], &str)] = &[
        (&[(V4, V6)], "10.0.0.1:8080 10.0.0.2:8080 [fd00::1]:8080"),
        (
            &[(Addresses(&["10.0.0.1"]), V6)],
            "10.0.0.1:8080|[fd00::1]:8080",
        ),
        (&[(V4, NO_RECORDS)], "10.0.0.1:8080 10.0.0.2:8080"),
        (&[(NO_RECORDS, V6)], "[fd00::1]:8080"),
        (&[(NO_RECORDS, NO_RECORDS)], ""),
        (&[(NO_NAME, NO_NAME)], "not_found"),
        (&[(FAILURE, FAILURE)], "outage"),
        (&[(V4, FAILURE)], "outage"),
        (&[(FAILURE, V6)], "outage"),
        (&[(Code(ResponseCode::Refused), V6)], "outage"),
    ];
    for (script, expected) in cases {
        let source = resolver(script)
            .await
            .name("api.internal", PORT, TTL)
            .unwrap();
        assert_eq!(ask(&source).await, *expected, "{script:?}");
    }
}

#[tokio::test]
async fn neither_an_answer_nor_its_absence_is_remembered() {
    let script = &[
        (NO_NAME, NO_NAME),
        (Addresses(&["10.0.0.1"]), NO_RECORDS),
        (Addresses(&["10.0.0.2"]), NO_RECORDS),
    ];
    let source = resolver(script)
        .await
        .name("api.internal", PORT, TTL)
        .unwrap();
    let answers = [ask(&source).await, ask(&source).await, ask(&source).await];
    assert_eq!(answers, ["not_found", "10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_a_timeout() {
    let source = resolver(&[(Silence, Silence)])
        .await
        .name("api.internal", PORT, TTL)
        .unwrap();
    let error = source.discover().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Timeout, "{error}");
}

#[tokio::test]
async fn addresses_and_localhost_need_no_server() {
    let resolver = resolver(&[(FAILURE, FAILURE)]).await;
    let cases = [
        ("192.0.2.7", "192.0.2.7:8080"),
        ("::1", "[::1]:8080"),
        ("localhost", "127.0.0.1:8080|[::1]:8080"),
    ];
    for (name, expected) in cases {
        let source = resolver.name(name, PORT, TTL).unwrap();
        assert_eq!(ask(&source).await, expected, "{name}");
    }
}

#[tokio::test]
async fn the_hosts_file_comes_first() {
    let name = Name::from_utf8("api.internal.").unwrap();
    let data = RData::A("192.0.2.9".parse::<std::net::Ipv4Addr>().unwrap().into());
    let record = Record::from_rdata(name.clone(), 60, data);
    let query = Query::query(name.clone(), RecordType::A);
    let mut hosts = Hosts::default();
    hosts.insert(
        name,
        RecordType::A,
        hickory_resolver::lookup::Lookup::new_with_max_ttl(query, [record]),
    );
    let resolver = resolver_with_hosts(&[(FAILURE, FAILURE)], hosts).await;
    let source = resolver.name("api.internal", PORT, TTL).unwrap();
    assert_eq!(ask(&source).await, "192.0.2.9:8080");
}

#[tokio::test]
async fn what_is_no_host_name_is_refused_by_name() {
    let resolver = resolver(&[(FAILURE, FAILURE)]).await;
    let long = "a".repeat(64);
    for name in ["", ".", "a..b", "http://api", "api:80", "a b", &long] {
        let error = resolver.name(name, PORT, TTL).unwrap_err();
        assert_eq!(error, DnsError::Name { name: name.into() });
    }
}

/// A record's name, time to live and data.
type ZoneRecord = (&'static str, u32, &'static str);

/// A name server of a zone; what is not in it does not exist, and `fail.internal` fails.
async fn zone(records: &[ZoneRecord]) -> DnsResolver {
    let records: Vec<_> = records
        .iter()
        .map(|(name, ttl, data)| {
            let words: Vec<_> = data.split(' ').collect();
            let data = match words[..] {
                [priority, weight, port, target] => RData::SRV(SRV::new(
                    priority.parse().unwrap(),
                    weight.parse().unwrap(),
                    port.parse().unwrap(),
                    Name::from_utf8(target).unwrap(),
                )),
                [address] => match address.parse().unwrap() {
                    IpAddr::V4(ip) => RData::A(ip.into()),
                    IpAddr::V6(ip) => RData::AAAA(ip.into()),
                },
                _ => panic!("{data}"),
            };
            Record::from_rdata(Name::from_utf8(name).unwrap(), *ttl, data)
        })
        .collect();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let server = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut packet).await {
            let question = Message::from_vec(&packet[..length]).unwrap();
            let query = question.queries[0].clone();
            let mut reply = question.into_response();
            let of_name = records.iter().filter(|it| it.name == *query.name());
            let mut exists = false;
            for record in of_name {
                exists = true;
                if record.record_type() == query.query_type() {
                    reply.add_answer(record.clone());
                }
            }
            if !exists {
                reply.metadata.response_code = ResponseCode::NXDomain;
            }
            if query.name().to_utf8().starts_with("fail.") {
                reply.metadata.response_code = ResponseCode::ServFail;
            }
            let bytes = reply.to_vec().unwrap();
            socket.send_to(&bytes, client).await.unwrap();
        }
    });
    resolver_of(server, Hosts::default())
}

const SERVICE: &str = "_http._tcp.users.internal.";

#[tokio::test]
async fn srv_records_give_ports_and_weights_of_the_lowest_priority() {
    let v4 = ("a.internal.", 60, "10.0.0.1");
    let v6 = ("b.internal.", 60, "fd00::2");
    let cases: &[(&[ZoneRecord], &str)] = &[
        (
            &[
                (SERVICE, 60, "10 5 8001 a.internal."),
                (SERVICE, 60, "10 0 8002 b.internal."),
                (SERVICE, 60, "20 9 8003 a.internal."),
                v4,
                v6,
            ],
            "10.0.0.1:8001*5 [fd00::2]:8002*1",
        ),
        // A target that does not exist (any more) is left out, one that fails is not.
        (
            &[
                (SERVICE, 60, "1 1 80 gone.internal."),
                (SERVICE, 60, "1 1 80 a.internal."),
                v4,
            ],
            "10.0.0.1:80*1 skipped 1",
        ),
        (
            &[
                (SERVICE, 60, "1 1 80 fail.internal."),
                (SERVICE, 60, "1 1 80 a.internal."),
                v4,
            ],
            "outage",
        ),
        (&[(SERVICE, 60, "1 1 80 gone.internal.")], "not_found"),
        // There decidedly is no such service.
        (&[(SERVICE, 60, "0 0 0 .")], ""),
        (&[(SERVICE, 60, "10.0.0.1")], ""),
        (&[v4], "not_found"),
    ];
    for (records, expected) in cases {
        let source = zone(records).await.srv("_http._tcp.users.internal", TTL);
        let got = match source.unwrap().discover().await {
            Ok(found) => {
                let words = found.endpoints().iter();
                let words = words.map(|it| format!("{}*{}", it.address, it.weight));
                let mut words: Vec<_> = words.collect();
                words.extend((found.skipped() > 0).then(|| format!("skipped {}", found.skipped())));
                words.join(" ")
            }
            Err(error) => error.reason().to_string(),
        };
        assert_eq!(got, *expected, "{records:?}");
    }
}

#[tokio::test]
async fn the_shortest_time_to_live_counts_within_its_bounds() {
    let srv = (SERVICE, 20, "1 1 80 a.internal.");
    let at = |ttl| ("a.internal.", ttl, "10.0.0.1");
    for (records, expected_seconds) in [
        (vec![srv, at(60)], 20),
        (vec![srv, at(10)], 10),
        (vec![srv, at(0)], 5),
        (vec![(SERVICE, 3600, srv.2), at(3600)], 30),
        (vec![(SERVICE, 3600, "0 0 0 .")], 30),
        (vec![(SERVICE, 3600, "10.0.0.1")], 5),
    ] {
        let source = zone(&records).await.srv("_http._tcp.users.internal", TTL);
        let found = source.unwrap().discover().await.unwrap();
        let expected = Some(Duration::from_secs(expected_seconds));
        assert_eq!(found.lifetime(), expected, "{records:?}");
    }
    let both = [at(20), ("a.internal.", 15, "fd00::1")];
    let source = zone(&both).await.name("a.internal", PORT, TTL).unwrap();
    let found = source.discover().await.unwrap();
    assert_eq!(found.lifetime(), Some(Duration::from_secs(15)));
}
