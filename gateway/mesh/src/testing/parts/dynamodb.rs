//! moto, an emulator of AWS, behind a door that tests open and close.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Credentials;
use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::moto::Moto;
use crate::service::store::dynamodb::{ID, PARTITION, create_table};

/// An emulator that keeps its rows in memory; killed when dropped.
///
/// Services come through the door, so that an emulator which starts anew can get its table and
/// rows back before anybody sees it without.
#[derive(Debug)]
pub struct DynamoDb {
    door: u16,
    open: Option<JoinSet<()>>,
    running: Option<Moto>,
}

impl DynamoDb {
    /// Starts the executable that `MOTO_SERVER` names, with its door open.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0");
        let mut emulator = Self {
            door: listener.local_addr().expect("bound").port(),
            open: None,
            running: None,
        };
        drop(listener);
        emulator.start_again().await;
        emulator.open().await;
        emulator
    }

    /// Kills it, with its rows, and cuts all connections.
    pub async fn kill(&mut self) {
        self.open = None;
        let running = self.running.take().expect("it runs");
        running.kill().await;
    }

    /// Starts it empty, with its door closed.
    pub async fn start_again(&mut self) {
        assert!(self.running.is_none(), "it runs");
        self.running = Some(Moto::start().await);
    }

    /// Opens the door.
    pub async fn open(&mut self) {
        let to = self.url().trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind(("127.0.0.1", self.door)).await;
        let listener = listener.expect("nobody took the port");
        let mut open = JoinSet::new();
        open.spawn(async move {
            let mut guests = JoinSet::new();
            while let Ok((mut guest, _)) = listener.accept().await {
                let to = to.clone();
                while guests.try_join_next().is_some() {}
                guests.spawn(async move {
                    if let Ok(mut inside) = TcpStream::connect(to).await {
                        // Either side may hang up when it likes.
                        let _ = tokio::io::copy_bidirectional(&mut guest, &mut inside).await;
                    }
                });
            }
        });
        self.open = Some(open);
    }

    /// What a service needs in its environment to use a table.
    #[must_use]
    pub fn environment(&self, table: &str) -> Vec<(&'static str, String)> {
        let endpoint = format!("http%3A%2F%2F127.0.0.1%3A{}", self.door);
        vec![
            (
                "DATABASE_URL",
                format!("dynamodb:{table}?endpoint={endpoint}"),
            ),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "test".into()),
            ("LOG", "info,access=off".into()),
        ]
    }

    /// Creates the table unless it is there.
    pub async fn create(&self, table: &str) {
        create_table(&self.client(), table).await.expect("it runs");
    }

    /// Puts rows, past the door.
    pub async fn put(&self, table: &str, collection: &str, rows: &[Map<String, Value>]) {
        let client = self.client();
        for row in rows {
            let mut put = client
                .put_item()
                .table_name(table)
                .item(PARTITION, AttributeValue::S(collection.into()));
            for (name, value) in row {
                let value = match value {
                    Value::Number(number) => AttributeValue::N(number.to_string()),
                    Value::String(text) => AttributeValue::S(text.clone()),
                    Value::Null => continue,
                    other => panic!("{other}"),
                };
                put = put.item(name, value);
            }
            put.send().await.expect("it runs");
        }
    }

    /// Ids of all items of all collections, the counts of migrations included.
    pub async fn items(&self, table: &str) -> usize {
        let scan = self.client().scan().table_name(table).send().await;
        let items = scan.expect("it runs").items.unwrap_or_default();
        assert!(items.iter().all(|item| item.contains_key(ID)));
        items.len()
    }

    fn client(&self) -> Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(self.url())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "tests"));
        Client::from_conf(config.build())
    }

    fn url(&self) -> &str {
        self.running.as_ref().expect("it runs").url()
    }
}
