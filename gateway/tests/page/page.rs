//! The admin page in a real browser: page.mjs beside this file says what must hold.

use std::process::Command;

use crate::support::backend::Backend;
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::{installed, run_well};

#[test]
fn the_page_is_right_for_desktops_phones_keyboards_and_the_dark() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    gateway.wait_until_ready();
    for path in ["/", "/a//b"] {
        gateway.get(path).fetch();
    }
    let pictures = tempfile::tempdir().expect("a directory can be made");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/page.mjs");
    run_well(
        Command::new(installed("OIDC_NODE"))
            .arg(script)
            .arg(installed("PAGE_PACKAGES"))
            .arg(format!("http://{}/", gateway.admin_address()))
            .arg(pictures.path())
            .env("CHROMIUM", installed("CHROMIUM"))
            // Nobody looks at these pictures: rates need not be there.
            .env("WAIT_MS", "0"),
    );
    let taken = pictures.path().read_dir().expect("the directory").count();
    assert_eq!(taken, 4);
}
