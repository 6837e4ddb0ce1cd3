//! The collection: `GET /users` and `GET /users/{id}`, for every kind of row.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Response};
use http::header::LINK;

use super::Resource;
use super::fault::Fault;
use super::page::{self, Page, Pairs};
use super::store::Store;

/// Lists the rows of a page in the order of their ids.
pub(super) async fn list<R: Resource, S: Store<R>>(
    State(store): State<S>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Fault> {
    let page = Page::parse(&pairs)?;
    // One row more than asked for tells whether there is a next page.
    let mut rows = store.list(page.after, page.limit + 1).await?;
    let more = rows.len() > page.limit;
    rows.truncate(page.limit);
    let last = rows.last().map(Resource::id);
    let mut response = Json(rows).into_response();
    if let (true, Some(last)) = (more, last) {
        response
            .headers_mut()
            .insert(LINK, page.link_to_next::<R>(last));
    }
    Ok(response)
}

/// Answers with one row.
pub(super) async fn get<R: Resource, S: Store<R>>(
    State(store): State<S>,
    Path(text): Path<String>,
    Query(pairs): Query<Pairs>,
) -> Result<Response, Fault> {
    page::no_parameters(&pairs)?;
    let Some(id) = page::parse_id(&text) else {
        return Err(Fault::InvalidId { text });
    };
    match store.get(id).await? {
        Some(row) => Ok(Json(row).into_response()),
        None => Err(Fault::NoRow {
            collection: R::COLLECTION,
            id,
        }),
    }
}
