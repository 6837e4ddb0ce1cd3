//! What clients of the users service rely on.

use mesh::testing::{Running, openapi};
use users_svc::User;

#[tokio::test]
async fn the_seeded_rows_are_served_in_the_order_of_their_ids() {
    let server = Running::seeded::<User>().await;
    for (path, body) in [
        (
            "/users",
            r#"[{"id":1,"name":"Tom","age":32},{"id":2,"name":"Jim","age":55},{"id":3,"name":"Luna","age":19}]"#,
        ),
        (
            "/users?limit=1&after=1",
            r#"[{"id":2,"name":"Jim","age":55}]"#,
        ),
        ("/users/3", r#"{"id":3,"name":"Luna","age":19}"#),
    ] {
        assert_eq!(server.get(path).await.body(), body, "{path}");
    }
}

#[tokio::test]
async fn the_service_does_what_its_openapi_document_says() {
    openapi::check::<User>().await;
}
