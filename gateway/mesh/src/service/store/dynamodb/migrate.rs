//! Migrations, which are rows: each in one transaction that also counts it, on the condition
//! that nobody else has. All of it happens or nothing, whoever is killed and however many
//! instances start together.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use serde_json::{Map, Value};

use super::{Cause, ID, PARTITION, key, sdk};
use crate::service::store::record::DYNAMODB_ROWS_MAX;

/// Attribute of the item that counts the migrations.
const VERSION: &str = "version";
/// Times that others may be quicker, or in the way, before it is an error.
const TRIES: usize = 20;

/// Why the table is not at the newest version.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A newer program has been here.
    #[error("it has version {found}, this program knows {known}; run a newer program")]
    TooNew {
        /// The table's version.
        found: String,
        /// The newest version that this program knows.
        known: usize,
    },
    /// A migration is not as [`Table::dynamodb`](crate::service::store::Table) demands.
    #[error("migration {version} of this program is broken: {problem}")]
    Script {
        /// The version that it would have led to.
        version: usize,
        /// What is wrong.
        problem: String,
    },
    /// A migration failed, and left nothing behind.
    #[error("migration {version} failed; the role needs dynamodb:GetItem and dynamodb:PutItem")]
    Failed {
        /// The version that it would have led to.
        version: usize,
        /// DynamoDB's reason.
        source: Cause,
    },
}

/// Runs what is missing.
pub(super) async fn migrate(
    client: &Client,
    table: &str,
    collection: &'static str,
    migrations: &[&str],
) -> Result<(), MigrationError> {
    let ledger = format!("{collection}#migrations");
    for _ in 0..TRIES {
        let found = version(client, table, &ledger).await?;
        let known = migrations.len();
        let done = found.parse().ok().filter(|done: &usize| *done <= known);
        let Some(done) = done else {
            return Err(MigrationError::TooNew { found, known });
        };
        let Some(script) = migrations.get(done) else {
            return Ok(());
        };
        let version = done + 1;
        let rows = rows(script, collection)
            .map_err(|problem| MigrationError::Script { version, problem })?;
        match apply(client, table, &ledger, done, rows).await {
            Ok(()) => tracing::info!(collection, version, "database migrated"),
            // Another instance was quicker, or is at it: look again.
            Err(error) if is_contention(&error) => {}
            Err(error) => {
                let source = sdk(error);
                return Err(MigrationError::Failed { version, source });
            }
        }
    }
    let version = migrations.len();
    Err(MigrationError::Failed {
        version,
        source: format!("others were in the way {TRIES} times").into(),
    })
}

/// The table's version, as text, so that what is no number is reported as it is.
async fn version(client: &Client, table: &str, ledger: &str) -> Result<String, MigrationError> {
    let found = client
        .get_item()
        .table_name(table)
        .set_key(Some(key(ledger, 0)))
        .consistent_read(true)
        .send()
        .await
        .map_err(|error| MigrationError::Failed {
            version: 0,
            source: sdk(error),
        })?;
    Ok(
        match found.item.as_ref().and_then(|item| item.get(VERSION)) {
            Some(AttributeValue::N(version)) => version.clone(),
            Some(other) => format!("{other:?}"),
            None => "0".into(),
        },
    )
}

async fn apply(
    client: &Client,
    table: &str,
    ledger: &str,
    done: usize,
    rows: Vec<HashMap<String, AttributeValue>>,
) -> Result<(), SdkError<TransactWriteItemsError>> {
    let mut count = key(ledger, 0);
    count.insert(VERSION.into(), AttributeValue::N((done + 1).to_string()));
    let count = Put::builder().table_name(table).set_item(Some(count));
    let count = if done == 0 {
        count
            .condition_expression("attribute_not_exists(#version)")
            .expression_attribute_names("#version", VERSION)
    } else {
        count
            .condition_expression("#version = :done")
            .expression_attribute_names("#version", VERSION)
            .expression_attribute_values(":done", AttributeValue::N(done.to_string()))
    };
    // A row that is there already stays as it is: somebody may have changed it since.
    let rows = rows.into_iter().map(|row| {
        Put::builder()
            .table_name(table)
            .set_item(Some(row))
            .condition_expression("attribute_not_exists(#id)")
            .expression_attribute_names("#id", ID)
    });
    let puts = std::iter::once(count).chain(rows).map(|put| {
        let put = put.build().expect("the table and the item are given");
        TransactWriteItem::builder().put(put).build()
    });
    client
        .transact_write_items()
        .set_transact_items(Some(puts.collect()))
        .send()
        .await
        .map(drop)
}

/// Whether another instance counted the same migration, or had the items in hand.
fn is_contention(error: &SdkError<TransactWriteItemsError>) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) =
        error.as_service_error()
    else {
        return matches!(
            error.as_service_error(),
            Some(TransactWriteItemsError::TransactionInProgressException(_))
        );
    };
    let codes = canceled.cancellation_reasons().iter();
    let mut codes = codes.map(|reason| reason.code().unwrap_or_default());
    // The first item is the count. A row in the way that is not counted is no contention.
    matches!(codes.next(), Some("ConditionalCheckFailed"))
        || codes.any(|code| code == "TransactionConflict")
}

/// Reads a script.
fn rows(script: &str, collection: &str) -> Result<Vec<HashMap<String, AttributeValue>>, String> {
    let rows: Vec<Map<String, Value>> =
        serde_json::from_str(script).map_err(|error| error.to_string())?;
    if rows.len() > DYNAMODB_ROWS_MAX {
        return Err(format!("more than {DYNAMODB_ROWS_MAX} rows"));
    }
    rows.into_iter().map(|row| item(row, collection)).collect()
}

fn item(
    row: Map<String, Value>,
    collection: &str,
) -> Result<HashMap<String, AttributeValue>, String> {
    let mut item = HashMap::from([(
        PARTITION.to_owned(),
        AttributeValue::S(collection.to_owned()),
    )]);
    if row.get(ID).and_then(Value::as_i64).is_none_or(|id| id <= 0) {
        return Err("a row without a positive `id`".into());
    }
    for (name, value) in row {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => AttributeValue::S(text),
            Value::Number(number) if number.is_i64() => AttributeValue::N(number.to_string()),
            _ => return Err(format!("`{name}` is neither an integer nor a text")),
        };
        if item.insert(name.clone(), value).is_some() {
            return Err(format!("`{name}` is ours, and not for rows"));
        }
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_flat_rows_of_integers_and_texts_with_an_id() {
        let script = r#"[{"id":9223372036854775807,"name":"ä","none":null}]"#;
        let expected = HashMap::from([
            ("pk".to_owned(), AttributeValue::S("users".into())),
            ("id".to_owned(), AttributeValue::N(i64::MAX.to_string())),
            ("name".to_owned(), AttributeValue::S("ä".into())),
        ]);
        assert_eq!(rows(script, "users"), Ok(vec![expected]));
        let many = vec![r#"{"id":1}"#; 100].join(",");
        for (script, part) in [
            ("{}", "sequence"),
            ("[1]", "map"),
            (r#"[{"name":"x"}]"#, "positive `id`"),
            (r#"[{"id":0}]"#, "positive `id`"),
            (r#"[{"id":1.5}]"#, "positive `id`"),
            (r#"[{"id":1,"a":[]}]"#, "`a` is neither"),
            (r#"[{"id":1,"a":1.5}]"#, "`a` is neither"),
            (r#"[{"id":1,"pk":"x"}]"#, "`pk` is ours"),
            (&format!("[{many}]"), "more than 99"),
        ] {
            let problem = rows(script, "users").expect_err(script);
            assert!(problem.contains(part), "{script}: {problem}");
        }
    }
}
