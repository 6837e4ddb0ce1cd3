//! Registration with a local registry.

use mesh::registration::Registration;
use mesh::service::Error;
use mesh::shutdown::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::notes::{gated, read_until};

/// Answers one request with 200, as a registry does; hands back what was asked.
async fn take_registration(listener: &TcpListener) -> String {
    let (mut stream, _) = listener.accept().await.expect("it listens");
    let request = read_until(&mut stream, "}").await;
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        .await
        .expect("the service reads");
    request
}

fn registration(endpoint: String) -> Registration {
    Registration {
        endpoint,
        service_id: "srv-notes".into(),
        instance_id: "i-1".into(),
        availability_zone: None,
    }
}

#[tokio::test]
async fn an_instance_registers_its_real_port_and_deregisters_when_it_stops() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (server, _gate) =
        gated(|settings| settings.registration = Some(registration(endpoint))).await;
    let asked = take_registration(&listener).await;
    let port = format!(r#""AWS_INSTANCE_PORT":"{}""#, server.address.port());
    assert!(
        asked.contains(".RegisterInstance") && asked.contains(&port),
        "{asked}"
    );
    let stopping = server.stop(Signal::Terminate);
    let asked = take_registration(&listener).await;
    assert!(
        asked.contains(".DeregisterInstance") && asked.contains(r#""InstanceId":"i-1""#),
        "{asked}"
    );
    stopping.ended().await.unwrap();
}

#[tokio::test]
async fn an_instance_that_no_registry_can_list_ends_instead_of_waiting_for_nobody() {
    let (server, _gate) =
        gated(|settings| settings.registration = Some(registration("https://127.0.0.1".into())))
            .await;
    let error = server.ended().await.unwrap_err();
    assert!(matches!(error, Error::Registration(_)), "{error}");
}
