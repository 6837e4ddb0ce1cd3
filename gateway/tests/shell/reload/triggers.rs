//! What has the file read again, and who may ask for it.

use std::fs;
use std::os::unix::fs::symlink;

use gateway::{ConfigSource, Gateway, Options};
use http::Method;
use nix::sys::signal::Signal;

use super::{code, file, fixed, status};
use crate::support::eventually;
use crate::support::gateway::{TestGateway, whole};
use crate::support::http_client::{Fetch as _, client};
use crate::support::process::Process;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn a_file_that_is_written_replaced_or_linked_anew_is_read() {
    let yaml = |status| whole(&file(&[], &[fixed("one", status)]));
    let written = TestGateway::start_watching_file(&file(&[], &[fixed("one", 200)]));
    let renamed = TestGateway::start_watching_file(&file(&[], &[fixed("one", 200)]));
    // As Kubernetes mounts a config map: the file is a link through a link to a folder.
    let mount = tempfile::tempdir().unwrap();
    let folder = |name: &str, status| {
        let folder = mount.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("routes.yaml"), yaml(status)).unwrap();
    };
    folder("first", 200);
    symlink("first", mount.path().join("data")).unwrap();
    let path = mount.path().join("routes.yaml");
    symlink("data/routes.yaml", &path).unwrap();
    let log = mount.path().join("log").display().to_string();
    let source = ConfigSource::file_with(path, move |_| Some(log.clone()));
    let linked =
        Gateway::build_from(source, Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let linked = linked.spawn().unwrap();

    fs::write(written.routes(), yaml(201)).unwrap();
    let beside = renamed.routes().with_extension("new");
    fs::write(&beside, yaml(202)).unwrap();
    fs::rename(beside, renamed.routes()).unwrap();
    folder("second", 203);
    symlink("second", mount.path().join("data.new")).unwrap();
    fs::rename(mount.path().join("data.new"), mount.path().join("data")).unwrap();

    for (gateway, expected) in [(&written, 201), (&renamed, 202)] {
        eventually("the file is read again", || {
            (status(gateway, "/one") == expected).then_some(())
        });
    }
    let url = format!("http://{}/one", linked.addresses[0]);
    eventually("the file is read again", || {
        (client().get(&url).fetch().status() == 203).then_some(())
    });
}

#[test]
fn on_sighup_the_file_is_read_and_what_is_wrong_is_logged_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("routes.yaml");
    let write = |yaml: &str| {
        let yaml = whole(yaml).replace("output: \"${ACCESS_LOG}\"", "format: none");
        fs::write(&path, yaml).unwrap();
    };
    write(&file(&[], &[fixed("one", 200)]));
    let process = Process::start(&["run", "--config", path.to_str().unwrap()]);
    let address = process.wait_for("listening")["address"]
        .as_str()
        .unwrap()
        .to_owned();
    let url = format!("http://{address}/one");
    eventually("it serves", || client().get(&url).try_fetch().ok());
    write(&file(&[], &[fixed("one", 204)]));
    process.signal(Signal::SIGHUP);
    let line = process.wait_for("another configuration is in force");
    assert_eq!(line["generation"], 2);
    assert_eq!(line["routes"].as_str().unwrap().trim(), "~one");
    assert_eq!(client().get(&url).fetch().status(), 204);
    write(&format!(
        "{}nonsense: 1\nmore: 2\n",
        file(&[], &[fixed("one", 200)])
    ));
    process.signal(Signal::SIGHUP);
    let line = process.wait_for("the configuration is refused; the one before it stays in force");
    let problems = line["problems"].as_str().unwrap();
    assert!(
        problems.contains("nonsense") && problems.contains("more"),
        "{problems}"
    );
    assert_eq!(client().get(&url).fetch().status(), 204);
    process.signal(Signal::SIGINT);
    assert_eq!(process.ended().0, Some(0));
}

#[test]
fn a_start_with_a_bad_file_serves_by_the_last_good_one_where_that_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("routes.yaml");
    let last_good = directory.path().join("last-good.yaml");
    let write = |yaml: &str| {
        let text = whole(yaml).replace("output: \"${ACCESS_LOG}\"", "format: none");
        fs::write(&path, text).unwrap();
    };
    let start = || {
        let source = ConfigSource::file_with(&path, |_| None);
        let source = source.remembered_at(Some(last_good.clone()));
        Gateway::build_from(source, Options::unwatched())
    };
    let wrong = format!("{}nonsense: 1\n", file(&[], &[fixed("one", 200)]));
    write(&wrong);
    let error = start().err().expect("nothing is remembered");
    assert!(error.to_string().contains("nonsense"), "{error}");

    write(&file(&[], &[fixed("one", 200)]));
    let gateway = start().unwrap_or_else(|error| panic!("{error}"));
    let gateway = gateway.spawn().unwrap();
    eventually("it is remembered", || last_good.exists().then_some(()));
    write(&file(&[], &[fixed("one", 204)]));
    let post = |admin| client().post(format!("http://{admin}/reload")).fetch();
    assert_eq!(post(gateway.admin).status(), 200);
    drop(gateway);

    write(&wrong);
    let gateway = start().unwrap_or_else(|error| panic!("{error}"));
    let gateway = gateway.spawn().unwrap();
    let one = || {
        let url = format!("http://{}/one", gateway.addresses[0]);
        client().get(url).fetch().status()
    };
    assert_eq!(one(), 204, "the one that was in force last");
    let ready = client()
        .get(format!("http://{}/readyz", gateway.admin))
        .fetch();
    assert_eq!(ready.json()["configuration"]["problems"], 1);
    write(&file(&[], &[fixed("one", 201)]));
    assert_eq!(post(gateway.admin).status(), 200);
    assert_eq!(one(), 201, "mended");
}

#[test]
fn a_token_that_is_configured_must_be_shown() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let text = whole(&file(&[], &[fixed("one", 200)])).replace(
        "admin: {address: \"127.0.0.1:0\"}",
        &format!(
            "admin: {{address: \"127.0.0.1:0\", token: {{file: {}}}}}",
            token.display()
        ),
    );
    let path = directory.path().join("routes.yaml");
    fs::write(&path, text).unwrap();
    let log = directory.path().join("log").display().to_string();
    let source = ConfigSource::file_with(path, move |_| Some(log.clone()));
    let gateway =
        Gateway::build_from(source, Options::default()).unwrap_or_else(|error| panic!("{error}"));
    let gateway = gateway.spawn().unwrap();
    let post = || client().post(format!("http://{}/reload", gateway.admin));
    let reply = post().fetch();
    assert_eq!(
        (reply.status(), code(&reply)),
        (401, "admin_token_missing".into())
    );
    assert_eq!(reply.header("www-authenticate").as_deref(), Some("Bearer"));
    let reply = post()
        .bearer_auth("0123456789abcdef0123456789abcdee")
        .fetch();
    assert_eq!(
        (reply.status(), code(&reply)),
        (401, "admin_token_wrong".into())
    );
    assert_eq!(post().bearer_auth(TOKEN).fetch().status(), 200);
    fs::write(&token, "ffffffffffffffffffffffffffffffff").unwrap();
    assert_eq!(
        post().bearer_auth(TOKEN).fetch().status(),
        401,
        "it was changed"
    );
}

#[test]
fn only_a_post_of_no_page_reads_the_file_again() {
    let gateway = TestGateway::start_by_file(&file(&[], &[fixed("one", 200)]));
    assert_eq!(gateway.admin("/reload").status(), 405);
    let reply = gateway
        .post_admin("/reload")
        .header("origin", "http://evil.example")
        .fetch();
    assert_eq!(
        (reply.status(), code(&reply)),
        (403, "admin_token_required".into())
    );
    let put = format!("http://{}/reload", gateway.admin_address());
    assert_eq!(client().request(Method::PUT, put).fetch().status(), 405);
    let fixed = TestGateway::start(&file(&[], &[fixed("one", 200)]), &[]);
    let reply = fixed.post_admin("/reload").fetch();
    assert_eq!(
        (reply.status(), code(&reply)),
        (503, "reload_unavailable".into())
    );
}
