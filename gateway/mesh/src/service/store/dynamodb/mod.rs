//! Rows in a table of DynamoDB.
//!
//! The table's key is a partition, `pk` (text), which holds the collection's name, and within it
//! `id` (number). So DynamoDB itself keeps the rows in the order of their ids, and a page
//! is one query that reads what it hands out, and no scan. Reads are consistent.

mod migrate;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::Region;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::ProvideCredentials;
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::create_table::CreateTableError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use tokio::sync::Semaphore;

pub use migrate::MigrationError;

use super::any::START_PATIENCE;
use super::database::DynamoDbOptions;
use super::{Bounds, FieldError, Fields, PoolState, Record, Store, StoreError};

/// What a call to DynamoDB failed with.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The attribute that holds the collection's name: the partition key, a text.
pub const PARTITION: &str = "pk";
/// The attribute that holds the row's id: the sort key, a number.
pub const ID: &str = "id";

/// Tries of one call, all within the statement timeout.
const TRIES: u32 = 3;
/// Pause before the second try, at most; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Answers that one page of ours may take. DynamoDB ends an answer at 1 MB and a row at
/// 400 KB, so the 101 rows that are asked for at most fit into 51.
const ANSWERS_MAX: usize = 64;
/// The region of an emulator, which has none.
const EMULATED_REGION: &str = "us-east-1";

/// Why DynamoDB cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No region.
    #[error(
        "no region for table `{table}`; set AWS_REGION, or write dynamodb:{table}?region=REGION (ECS sets it for tasks on Fargate)"
    )]
    NoRegion {
        /// The table.
        table: String,
    },
    /// No credentials.
    #[error("no AWS credentials for table `{table}`; on ECS the task role gives them")]
    NoCredentials {
        /// The table.
        table: String,
        /// Where was looked.
        source: Cause,
    },
    /// The table of an emulator cannot be created.
    #[error("cannot create table `{table}`")]
    Create {
        /// The table.
        table: String,
        /// Why not.
        source: Cause,
    },
    /// It cannot be brought to the newest version.
    #[error(
        "cannot use table `{table}`, which needs the partition key `pk` (text) and the sort key `id` (number)"
    )]
    Migration {
        /// The table.
        table: String,
        /// Why not.
        source: MigrationError,
    },
}

/// A [`Store`] on DynamoDB.
pub struct DynamoDbStore<R> {
    shared: Arc<Shared>,
    row: PhantomData<fn() -> R>,
}

struct Shared {
    client: Client,
    table: String,
    bounds: Bounds,
    /// One for each call that may be under way.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl<R> Clone for DynamoDbStore<R> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            row: PhantomData,
        }
    }
}

impl<R: Record> DynamoDbStore<R> {
    /// Brings the table to the newest version.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(options: &DynamoDbOptions, bounds: Bounds) -> Result<Self, OpenError> {
        let table = || options.table.clone();
        let config = config(options, bounds).await?;
        let client = Client::new(&config);
        if options.endpoint.is_some() {
            create_table(&client, &options.table)
                .await
                .map_err(|source| OpenError::Create {
                    table: table(),
                    source,
                })?;
        }
        // Starting is not as urgent as answering: more and longer tries than requests have.
        let patient = aws_sdk_dynamodb::config::Builder::from(&config)
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(bounds.connect_timeout)
                    .operation_attempt_timeout(bounds.statement_timeout)
                    .operation_timeout(START_PATIENCE)
                    .build(),
            )
            .retry_config(RetryConfig::standard().with_max_attempts(30));
        let patient = Client::from_conf(patient.build());
        let scripts = R::TABLE.dynamodb;
        migrate::migrate(&patient, &options.table, R::COLLECTION, scripts)
            .await
            .map_err(|source| OpenError::Migration {
                table: table(),
                source,
            })?;
        let shared = Shared {
            client,
            table: table(),
            bounds,
            permits: Arc::new(Semaphore::new(bounds.pool_size)),
            waiting: AtomicUsize::new(0),
        };
        Ok(Self {
            shared: Arc::new(shared),
            row: PhantomData,
        })
    }
}

/// What the SDK finds in its surroundings, with our bounds.
async fn config(
    options: &DynamoDbOptions,
    bounds: Bounds,
) -> Result<aws_config::SdkConfig, OpenError> {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(bounds.connect_timeout)
        .operation_timeout(bounds.statement_timeout);
    let retries = RetryConfig::standard()
        .with_max_attempts(TRIES)
        .with_initial_backoff(FIRST_PAUSE);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts.build())
        .retry_config(retries);
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    } else if options.endpoint.is_some() {
        loader = loader.region(Region::new(EMULATED_REGION));
    }
    let config = loader.load().await;
    let table = || options.table.clone();
    if config.region().is_none() {
        return Err(OpenError::NoRegion { table: table() });
    }
    let credentials = config.credentials_provider();
    let credentials = credentials.ok_or_else(|| OpenError::NoCredentials {
        table: table(),
        source: "none are configured".into(),
    })?;
    // Asked for once here, so that their absence has a name of its own.
    credentials
        .provide_credentials()
        .await
        .map_err(|source| OpenError::NoCredentials {
            table: table(),
            source: source.into(),
        })?;
    Ok(config)
}

/// Creates a table as this store needs it, unless it is there. For emulators: on AWS the
/// table belongs to the template of the deployment.
///
/// # Errors
/// What the SDK says.
pub async fn create_table(client: &Client, table: &str) -> Result<(), Cause> {
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(kind)
            .build()
    };
    let key = |name: &str, kind| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
    };
    let created = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(PARTITION, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(ID, ScalarAttributeType::N)?)
        .key_schema(key(PARTITION, KeyType::Hash)?)
        .key_schema(key(ID, KeyType::Range)?)
        .send()
        .await;
    match created {
        Ok(_) => Ok(()),
        Err(error) => match error.as_service_error() {
            Some(CreateTableError::ResourceInUseException(_)) => Ok(()),
            _ => Err(sdk(error)),
        },
    }
}

/// The whole cause in one line: the SDK's `Display` says "service error" and no more.
fn sdk<E: std::error::Error + Send + Sync + 'static>(error: SdkError<E>) -> Cause {
    DisplayErrorContext(error).to_string().into()
}

fn key(partition: &str, id: i64) -> HashMap<String, AttributeValue> {
    HashMap::from([
        (PARTITION.into(), AttributeValue::S(partition.into())),
        (ID.into(), AttributeValue::N(id.to_string())),
    ])
}

impl Shared {
    /// Runs one read, of as many calls as it takes, in its turn.
    async fn run<T>(&self, read: impl Future<Output = Result<T, Cause>>) -> Result<T, StoreError> {
        let patience = self.bounds.acquire_timeout;
        let _permit = super::acquire(&self.permits, &self.waiting, patience).await?;
        let limit = self.bounds.statement_timeout;
        let read = tokio::time::timeout(limit, read).await;
        let read = read.map_err(|_| StoreError::failed(format!("no answer within {limit:?}")))?;
        read.map_err(StoreError::failed)
    }

    async fn query(
        &self,
        collection: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<HashMap<String, AttributeValue>>, Cause> {
        let mut rows = Vec::new();
        let mut start = None;
        for _ in 0..ANSWERS_MAX {
            let left = limit - rows.len();
            let answer = self
                .client
                .query()
                .table_name(&self.table)
                .consistent_read(true)
                .key_condition_expression("#pk = :collection AND #id > :after")
                .expression_attribute_names("#pk", PARTITION)
                .expression_attribute_names("#id", ID)
                .expression_attribute_values(":collection", AttributeValue::S(collection.into()))
                .expression_attribute_values(":after", AttributeValue::N(after.to_string()))
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .send()
                .await
                .map_err(sdk)?;
            rows.extend(answer.items.unwrap_or_default());
            start = answer.last_evaluated_key;
            if start.is_none() || rows.len() >= limit {
                return Ok(rows);
            }
        }
        Err(format!("a page of more than {ANSWERS_MAX} answers").into())
    }
}

impl<R: Record> Store<R> for DynamoDbStore<R> {
    async fn list(&self, after: i64, limit: usize) -> Result<Vec<R>, StoreError> {
        // On the heap, as below: what the SDK does takes more than 20 KB.
        let query = Box::pin(self.shared.query(R::COLLECTION, after, limit));
        let rows = self.shared.run(query).await?;
        let rows: Result<_, FieldError> = rows.iter().map(|row| R::read(&Item(row))).collect();
        rows.map_err(StoreError::failed)
    }

    async fn get(&self, id: i64) -> Result<Option<R>, StoreError> {
        let shared = &self.shared;
        let call = async {
            let call = shared
                .client
                .get_item()
                .table_name(&shared.table)
                .set_key(Some(key(R::COLLECTION, id)))
                .consistent_read(true)
                .send();
            call.await.map_err(sdk)
        };
        let answer = shared.run(Box::pin(call)).await?;
        let row = answer.item.as_ref().map(|row| R::read(&Item(row)));
        row.transpose().map_err(StoreError::failed)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // The very query that requests run: a table that is gone is not ready.
        self.list(0, 1).await.map(drop)
    }

    fn pool(&self) -> PoolState {
        let shared = &self.shared;
        let limit = shared.bounds.pool_size;
        let in_use = limit.saturating_sub(shared.permits.available_permits());
        PoolState {
            limit,
            open: in_use,
            in_use,
            waiting: shared.waiting.load(Ordering::Relaxed),
        }
    }
}

/// A row as DynamoDB hands it out.
struct Item<'a>(&'a HashMap<String, AttributeValue>);

impl Fields for Item<'_> {
    fn optional_integer(&self, name: &'static str) -> Result<Option<i64>, FieldError> {
        match self.0.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::N(number)) => match number.parse() {
                Ok(number) => Ok(Some(number)),
                Err(error) => Err(FieldError::of(name, error)),
            },
            Some(_) => Err(FieldError::of(name, "not a number")),
        }
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        match self.0.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text.clone())),
            Some(_) => Err(FieldError::of(name, "not a text")),
        }
    }
}
