//! The products service; see `products-svc --help`.

use products_svc::Product;

fn main() -> anyhow::Result<()> {
    Ok(mesh::service::main::<Product>()?)
}
