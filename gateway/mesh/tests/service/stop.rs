//! The way out, and an address that is taken.

use std::time::Duration;

use http::StatusCode;
use mesh::client::Client;
use mesh::service::Server;
use mesh::shutdown::Signal;
use mesh::testing::{PATIENCE, describe_problem, settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::notes::{Note, gated, read_until, spawn_get, text};

#[tokio::test]
async fn a_stop_finishes_the_request_in_flight_closes_idle_connections_and_is_then_over() {
    let (server, gate) = gated(|_| {}).await;
    let address = server.address;
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut idle, "}").await;
    let in_flight = spawn_get(server.url("/notes"));
    gate.entered.notified().await;

    let stopping = server.stop(Signal::Interrupt);
    assert_eq!(
        idle.read_buf(&mut Vec::new()).await.unwrap(),
        0,
        "the idle connection is closed"
    );
    gate.opened.add_permits(1);
    let answer = in_flight.await.unwrap().unwrap();
    assert_eq!(text(&answer), r#"[{"id":1,"text":"late"}]"#);
    assert_eq!(answer.headers()["connection"], "close");
    stopping.ended().await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test]
async fn a_lame_duck_still_serves_new_connections_but_is_not_ready() {
    let lame_duck = Duration::from_secs(2);
    let (server, gate) = gated(|settings| settings.lame_duck = lame_duck).await;
    gate.opened.add_permits(1);
    let url = server.url("");
    let started = tokio::time::Instant::now();
    let stopping = server.stop(Signal::Terminate);
    let client = Client::new(PATIENCE);
    let ready = loop {
        let answer = client.get(&format!("{url}/readyz")).await.unwrap();
        if answer.status() != StatusCode::OK {
            break answer;
        }
    };
    assert_eq!(describe_problem(&ready), "503 shutting_down: ");
    assert_eq!(
        client.get(&format!("{url}/notes")).await.unwrap().status(),
        StatusCode::OK
    );
    stopping.ended().await.unwrap();
    assert!(started.elapsed() >= lame_duck);
}

#[tokio::test]
async fn the_drain_limit_cuts_off_a_request_that_does_not_end() {
    let (server, gate) = gated(|settings| settings.drain_limit = Duration::from_millis(20)).await;
    let in_flight = spawn_get(server.url("/notes"));
    gate.entered.notified().await;
    server.stop(Signal::Interrupt).ended().await.unwrap();
    assert!(in_flight.await.unwrap().is_err());
}

#[tokio::test]
async fn asking_twice_cuts_the_lame_duck_and_the_request_in_flight_short() {
    let patience = Duration::from_hours(1);
    let (server, gate) = gated(|settings| {
        settings.lame_duck = patience;
        settings.drain_limit = 2 * patience;
    })
    .await;
    let in_flight = spawn_get(server.url("/notes"));
    gate.entered.notified().await;
    let stopping = server.stop(Signal::Terminate);
    stopping.stop(Signal::Terminate);
    stopping.ended().await.unwrap();
    assert!(in_flight.await.unwrap().is_err());
}

#[tokio::test]
async fn an_address_in_use_is_named_together_with_the_remedy() {
    let (server, gate) = gated(|_| {}).await;
    let mut settings = settings();
    settings.listen = server.address;
    let error = Server::bind::<Note, _>(settings, gate)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&server.address.to_string()) && error.contains("--listen"),
        "{error}"
    );
}
