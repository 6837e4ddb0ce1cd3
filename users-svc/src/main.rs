//! The users service; see `users-svc --help`.

use users_svc::User;

fn main() -> anyhow::Result<()> {
    Ok(mesh::service::main::<User>()?)
}
