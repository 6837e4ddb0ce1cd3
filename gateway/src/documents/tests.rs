use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use reqwest::header::{ETAG, IF_NONE_MATCH};
use tempfile::TempDir;

use super::*;

/// Time for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A list that revokes these tokens.
fn list(tokens: &[&str]) -> String {
    let entries: Vec<_> = tokens.iter().map(|jti| format!("{{jti: {jti}}}")).collect();
    format!("revoked: [{}]\n", entries.join(", "))
}

fn is_revoked(list: &ArcSwap<Revocations>, jti: &str) -> bool {
    let token = revocation::TokenIds {
        jti: Some(jti),
        ..revocation::TokenIds::default()
    };
    list.load().check(&token, 0).is_err()
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

/// A watched list that is looked at often.
struct Watched {
    watch: DocumentWatch,
    list: Arc<ArcSwap<Revocations>>,
}

impl Watched {
    fn new(source: &DocumentSource) -> Self {
        let list = Arc::new(ArcSwap::from_pointee(Revocations::default()));
        let fetcher = Fetcher::new().unwrap();
        let target = Arc::clone(&list);
        let install = move |list: Revocations| target.store(Arc::new(list));
        let mut watch = DocumentWatch::new("main", source, install, &fetcher, Clock::new());
        watch.interval = Duration::from_millis(5);
        watch.place.settle_time = Duration::from_millis(20);
        Self { watch, list }
    }

    fn file(path: &std::path::Path) -> Self {
        Self::new(&DocumentSource::File(path.display().to_string()))
    }

    fn url(url: &str) -> Self {
        Self::new(&DocumentSource::Url {
            url: url.into(),
            refresh_interval: Duration::from_secs(30),
            is_http_allowed: false,
        })
    }

    /// Looks until what is there is settled; whether it could be used.
    async fn look(&mut self) -> Result<Outcome, String> {
        self.watch
            .refresh()
            .await
            .map_err(|error| error.to_string())
    }
}

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

#[tokio::test]
async fn a_file_is_read_again_however_it_is_replaced() {
    let directory = Directory::new();
    let path = directory.write("list", &list(&["a"]));
    let mut watched = Watched::file(&path);
    watched.watch.read_file_now().unwrap();
    watched.watch.install_file();
    assert!(
        watched.watch.waiting_name().is_none(),
        "a file is there at once"
    );
    let (revoked, stats) = (Arc::clone(&watched.list), watched.watch.stats());
    assert!(is_revoked(&revoked, "a"));
    let watching = tokio::spawn(watched.watch.run(Arc::default()));

    fs::write(&path, list(&["b"])).unwrap();
    eventually("written in place", || is_revoked(&revoked, "b")).await;
    assert!(!is_revoked(&revoked, "a"));

    let other = directory.write("other", &list(&["c"]));
    fs::rename(&other, &path).unwrap();
    eventually("renamed over", || is_revoked(&revoked, "c")).await;

    // As a ConfigMap or a release directory is swapped: a link to a link.
    for version in ["v1", "v2"] {
        fs::create_dir(directory.path(version)).unwrap();
        directory.write(&format!("{version}/list"), &list(&[version]));
    }
    symlink("v1", directory.path("current")).unwrap();
    fs::remove_file(&path).unwrap();
    symlink("current/list", &path).unwrap();
    eventually("a link", || is_revoked(&revoked, "v1")).await;
    symlink("v2", directory.path("next")).unwrap();
    fs::rename(directory.path("next"), directory.path("current")).unwrap();
    eventually("the link points elsewhere", || is_revoked(&revoked, "v2")).await;
    assert_eq!(stats.changed.load(Ordering::Relaxed), 5);
    assert_eq!(stats.entries.load(Ordering::Relaxed), 1);
    watching.abort();
}

#[tokio::test]
async fn what_cannot_be_used_keeps_the_last_good_document() {
    let directory = Directory::new();
    let path = directory.write("list", &list(&["a"]));
    let mut watched = Watched::file(&path);
    watched.watch.read_file_now().unwrap();
    watched.watch.install_file();
    for (content, message) in [
        ("".as_bytes(), "the file is empty"),
        (b"revoked: [{jti: a}, {jti", "line 1"),
        (b"revoked: 7", "expected a list"),
        (b"revoked: [{jti: \xff}]", "is not UTF-8 text"),
        (&vec![b' '; Revocations::BYTES_MAX + 1], "larger than"),
    ] {
        fs::write(&path, content).unwrap();
        let told = watched.look().await.err().expect(message);
        assert!(told.contains(message), "{told}");
        assert!(is_revoked(&watched.list, "a"), "{message}");
    }
    fs::remove_file(&path).unwrap();
    let told = watched.look().await.err().expect("it is gone");
    assert!(told.contains("cannot read"), "{told}");
    fs::create_dir(&path).unwrap();
    let told = watched.look().await.err().expect("a directory");
    assert!(told.contains("not a regular file"), "{told}");
    fs::remove_dir(&path).unwrap();

    fs::write(&path, list(&["b"])).unwrap();
    assert!(matches!(watched.look().await, Ok(Outcome::Current)));
    assert!(is_revoked(&watched.list, "b") && !is_revoked(&watched.list, "a"));
}

#[tokio::test]
async fn what_was_refused_is_told_once_and_is_not_confirmed() {
    let directory = Directory::new();
    let path = directory.write("list", "revoked: 7");
    let mut watched = Watched::file(&path);
    assert!(watched.look().await.is_err());
    assert!(matches!(watched.look().await, Ok(Outcome::StillRefused)));
    // The same content with another date.
    fs::write(&path, "revoked: 7").unwrap();
    assert!(matches!(watched.look().await, Ok(Outcome::StillRefused)));
    assert_eq!(watched.watch.stats().confirmed(), None);
}

#[tokio::test]
async fn a_file_that_is_the_same_is_not_installed_again() {
    let directory = Directory::new();
    let path = directory.write("list", &list(&["a"]));
    let mut watched = Watched::file(&path);
    watched.watch.read_file_now().unwrap();
    watched.watch.install_file();
    let (stats, installed) = (watched.watch.stats(), watched.list.load_full());
    for _ in 0..3 {
        assert!(matches!(watched.look().await, Ok(Outcome::Current)));
        fs::write(&path, list(&["a"])).unwrap();
    }
    assert_eq!(stats.unchanged.load(Ordering::Relaxed), 3);
    assert!(Arc::ptr_eq(&installed, &watched.list.load_full()));
    assert!(stats.confirmed().is_some());
}

#[tokio::test]
async fn a_file_that_is_being_written_is_left_until_it_is_whole() {
    let directory = Directory::new();
    let path = directory.write("list", &list(&["a", "b"]));
    let mut watched = Watched::file(&path);
    watched.watch.read_file_now().unwrap();
    watched.watch.install_file();
    let is_writing = Arc::new(AtomicBool::new(true));
    let writer = {
        let (is_writing, path) = (Arc::clone(&is_writing), path.clone());
        // Each state of the file is a whole list, and most of them lack an entry.
        std::thread::spawn(move || {
            while is_writing.load(Ordering::Relaxed) {
                let mut file = fs::File::create(&path).unwrap();
                for line in ["revoked:\n", "- {jti: a}\n", "- {jti: b}\n", "- {jti: c}\n"] {
                    file.write_all(line.as_bytes()).unwrap();
                }
            }
        })
    };
    let told = watched.look().await.err().expect("it is being written");
    assert!(told.contains("changes all the time"), "{told}");
    assert!(is_revoked(&watched.list, "b") && !is_revoked(&watched.list, "c"));
    is_writing.store(false, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(matches!(watched.look().await, Ok(Outcome::Current)));
    assert!(
        ["a", "b", "c"]
            .iter()
            .all(|jti| is_revoked(&watched.list, jti))
    );
}

#[test]
fn a_file_that_is_wrong_at_the_start_is_an_error() {
    let directory = Directory::new();
    for (path, message) in [
        (directory.path("nowhere"), "cannot read"),
        (
            directory.write("broken", "revoked: [{}]"),
            "line 1: revoked[0]",
        ),
    ] {
        let error = Watched::file(&path).watch.read_file_now();
        let told = error.expect_err(message).to_string();
        assert!(told.contains(message), "{told}");
        assert!(told.contains(path.to_str().unwrap()), "{told}");
    }
}

/// What a server publishes, and how often it sent all of it.
#[derive(Default)]
struct Published {
    status: Mutex<Option<StatusCode>>,
    text: Mutex<String>,
    sent: AtomicU64,
}

async fn publish(State(published): State<Arc<Published>>, headers: HeaderMap) -> Response {
    if let Some(status) = *published.status.lock().unwrap() {
        return status.into_response();
    }
    let text = published.text.lock().unwrap().clone();
    let etag = format!("\"{}\"", text.len());
    let is_known = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|known| *known == *etag);
    if is_known {
        return (StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response();
    }
    published.sent.fetch_add(1, Ordering::SeqCst);
    ([(ETAG, etag)], text).into_response()
}

async fn server() -> (String, Arc<Published>) {
    let published = Arc::new(Published::default());
    let router = Router::new()
        .route("/list", get(publish))
        .with_state(Arc::clone(&published));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/list", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (url, published)
}

#[tokio::test]
async fn a_list_from_a_url_is_fetched_again_and_says_readiness_once() {
    let (url, published) = server().await;
    *published.status.lock().unwrap() = Some(StatusCode::BAD_GATEWAY);
    let mut watched = Watched::url(&url);
    watched.watch.read_file_now().unwrap();
    watched.watch.install_file();
    let name = watched.watch.waiting_name().expect("nothing was read yet");
    assert_eq!(name, "revocations `main`");
    let lifecycle = Arc::new(Lifecycle::default());
    lifecycle.wait_for([name]);
    let (revoked, stats) = (Arc::clone(&watched.list), watched.watch.stats());
    assert!(watched.look().await.is_err());
    assert!(lifecycle.unready().is_some());
    *published.text.lock().unwrap() = list(&["a"]);
    *published.status.lock().unwrap() = None;
    let watching = tokio::spawn(watched.watch.run(Arc::clone(&lifecycle)));
    eventually("readiness", || lifecycle.unready().is_none()).await;
    assert!(is_revoked(&revoked, "a"));
    *published.text.lock().unwrap() = list(&["a", "b"]);
    eventually("the next list", || is_revoked(&revoked, "b")).await;
    assert_eq!(stats.changed.load(Ordering::Relaxed), 2);
    watching.abort();
}

#[tokio::test]
async fn a_list_that_did_not_change_is_not_sent_again() {
    let (url, published) = server().await;
    let mut watched = Watched::url(&url);
    for (text, is_good) in [(list(&["a"]), true), ("revoked: 7".into(), false)] {
        *published.text.lock().unwrap() = text;
        let before = published.sent.load(Ordering::SeqCst);
        assert_eq!(watched.look().await.is_ok(), is_good);
        for _ in 0..3 {
            let outcome = watched.look().await.unwrap();
            assert_eq!(matches!(outcome, Outcome::Current), is_good);
        }
        assert_eq!(published.sent.load(Ordering::SeqCst), before + 1);
        assert!(is_revoked(&watched.list, "a"), "the last good list stays");
    }
}

#[tokio::test]
async fn a_list_that_cannot_be_fetched_stays() {
    let (url, published) = server().await;
    *published.text.lock().unwrap() = list(&["a"]);
    let mut watched = Watched::url(&url);
    watched.look().await.unwrap();
    for status in [
        StatusCode::NOT_FOUND,
        StatusCode::NO_CONTENT,
        StatusCode::INTERNAL_SERVER_ERROR,
    ] {
        *published.status.lock().unwrap() = Some(status);
        let told = watched.look().await.err().expect("a failure");
        assert!(told.contains(&format!("status {status}")), "{told}");
        assert!(is_revoked(&watched.list, "a"), "{status}");
    }
}

#[test]
fn a_url_that_fails_is_left_alone_for_longer_each_time() {
    let watched = Watched::url("https://a.example/");
    let interval = Duration::from_mins(5);
    let pauses: Vec<_> = [1, 2, 3, 6, 7, u32::MAX]
        .map(|failures| {
            watched
                .watch
                .place
                .pause_after_failure(interval, failures)
                .as_secs()
        })
        .into();
    assert_eq!(pauses, [1, 2, 4, 30, 30, 30]);
}
