//! What clients of the products service rely on.

use mesh::testing::{Running, openapi};
use products_svc::Product;

#[tokio::test]
async fn the_seeded_rows_are_served_in_the_order_of_their_ids() {
    let server = Running::seeded::<Product>().await;
    for (path, body) in [
        (
            "/products",
            r#"[{"id":1,"name":"Auto","store":20,"description":"Ganz schnell"},{"id":2,"name":"Computer","store":42,"description":"Ganz schnell"},{"id":3,"name":"KVM Switch","store":52,"description":"Ganz teuer"}]"#,
        ),
        (
            "/products?limit=1&after=1",
            r#"[{"id":2,"name":"Computer","store":42,"description":"Ganz schnell"}]"#,
        ),
        (
            "/products/3",
            r#"{"id":3,"name":"KVM Switch","store":52,"description":"Ganz teuer"}"#,
        ),
    ] {
        assert_eq!(server.get(path).await.body(), body, "{path}");
    }
}

#[tokio::test]
async fn the_service_does_what_its_openapi_document_says() {
    openapi::check::<Product>().await;
}
