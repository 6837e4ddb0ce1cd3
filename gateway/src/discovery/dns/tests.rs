//! The real resolver against a name server of our own on loopback.

use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::{
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::{
        op::{Message, ResponseCode},
        rr::RData,
    },
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
    let mut connection = ConnectionConfig::udp();
    connection.port = server.port();
    let server = NameServerConfig::new(server.ip(), true, vec![connection]);
    let config = ResolverConfig::from_name_servers(vec![server]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    bound(builder.options_mut());
    let system = System {
        resolver: builder.build().unwrap(),
        hosts,
    };
    DnsResolver {
        system: Arc::new(system),
    }
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

/// The endpoints in one line, or the reason of the failure.
async fn ask(source: &Dns) -> String {
    match source.discover().await {
        Ok(found) => {
            let addresses = found.endpoints().iter().map(|it| it.address.to_string());
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
        let source = resolver(script).await.name("api.internal", PORT).unwrap();
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
    let source = resolver(script).await.name("api.internal", PORT).unwrap();
    let answers = [ask(&source).await, ask(&source).await, ask(&source).await];
    assert_eq!(answers, ["not_found", "10.0.0.1:8080", "10.0.0.2:8080"]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_a_timeout() {
    let source = resolver(&[(Silence, Silence)])
        .await
        .name("api.internal", PORT)
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
        ("localhost", "127.0.0.1:8080 [::1]:8080"),
    ];
    for (name, expected) in cases {
        let source = resolver.name(name, PORT).unwrap();
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
    let source = resolver.name("api.internal", PORT).unwrap();
    assert_eq!(ask(&source).await, "192.0.2.9:8080");
}

#[tokio::test]
async fn what_is_no_host_name_is_refused_by_name() {
    let resolver = resolver(&[(FAILURE, FAILURE)]).await;
    let long = "a".repeat(64);
    for name in ["", ".", "a..b", "http://api", "api:80", "a b", &long] {
        let error = resolver.name(name, PORT).unwrap_err();
        assert_eq!(error, DnsError::Name { name: name.into() });
    }
}
