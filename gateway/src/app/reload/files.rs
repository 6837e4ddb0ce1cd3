//! The files of one configuration: reading them, and whether they are others now.

use std::cell::RefCell;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256, digest};
use gateway_core::config::{Files, MAX_INCLUDED_FILES};
use glob::{MatchOptions, Pattern, glob_with};
use serde::{Deserialize, Serialize};

use crate::files::{FileError, Fingerprint, look, read_file, text};

/// Bytes of the digest that are shown.
const HASH_BYTES_SHOWN: usize = 8;

/// The texts of one configuration, and which entry of an `include` meant which of them: enough to
/// read it again when the files are others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bundle {
    /// The first one includes the others.
    files: Vec<Text>,
    found: Vec<Found>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    from: String,
    wanted: String,
    names: Vec<String>,
}

impl Bundle {
    pub(super) fn of(name: &str, text: &str) -> Self {
        let mut bundle = Self::default();
        bundle.add(name, text);
        bundle
    }

    fn add(&mut self, name: &str, text: &str) {
        self.files.push(Text {
            name: name.to_owned(),
            text: text.to_owned(),
        });
    }

    /// The name and the text of the file that includes the others.
    pub(super) fn main(&self) -> Option<(&str, &str)> {
        let first = self.files.first()?;
        Some((&first.name, &first.text))
    }

    /// How it is remembered: one file as it is, several with what they include.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match (self.files.as_slice(), self.found.is_empty()) {
            ([only], true) => only.text.clone().into_bytes(),
            _ => serde_json::to_vec(self).expect("texts and names are always JSON"),
        }
    }

    /// From what was remembered; `None` where that is one file as it is.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The beginning of the SHA-256 of one file, or of the digests of several in their order: what
    /// the files are called does not matter.
    pub(super) fn hash(&self) -> Box<str> {
        let texts = self.files.iter().map(|file| file.text.as_bytes());
        let digests: Vec<_> = texts.map(|text| digest(&SHA256, text)).collect();
        if let [only] = digests.as_slice() {
            return shown(only.as_ref());
        }
        let mut context = Context::new(&SHA256);
        for digest in &digests {
            context.update(digest.as_ref());
        }
        shown(context.finish().as_ref())
    }
}

/// The beginning of the SHA-256 of bytes that need not be text.
pub(super) fn hash(bytes: &[u8]) -> Box<str> {
    shown(digest(&SHA256, bytes).as_ref())
}

fn shown(digest: &[u8]) -> Box<str> {
    let shown: [u8; HASH_BYTES_SHOWN] =
        digest[..HASH_BYTES_SHOWN].try_into().expect("it is longer");
    format!("{:016x}", u64::from_be_bytes(shown)).into()
}

/// What was remembered, read without the files themselves.
impl Files for Bundle {
    fn identity(&self, name: &str) -> String {
        name.to_owned()
    }

    fn find(&self, from: &str, wanted: &str) -> Result<Vec<String>, String> {
        let mut found = self.found.iter();
        let found = found.find(|it| it.from == from && it.wanted == wanted);
        let names = found.map(|it| it.names.clone());
        names.ok_or_else(|| format!("`{wanted}` is not remembered"))
    }

    fn read(&self, name: &str, _bytes_max: usize) -> Result<String, String> {
        let text = self.files.iter().find(|it| it.name == name);
        let text = text.map(|it| it.text.clone());
        text.ok_or_else(|| format!("`{name}` is not remembered"))
    }
}

/// What the system said of the files of a configuration, and of the patterns that name some, when
/// they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The first one includes the others; `None` where the system says nothing.
    files: Vec<(Box<str>, Option<Fingerprint>)>,
    patterns: Vec<(Box<str>, Option<Vec<String>>)>,
}

impl Look {
    /// At one file.
    pub(super) fn at(path: &str, fingerprint: Option<Fingerprint>) -> Self {
        Self {
            files: vec![(path.into(), fingerprint)],
            patterns: Vec::new(),
        }
    }

    /// What the system says of the same now.
    pub(super) fn again(&self) -> Self {
        let files = self.files.iter();
        let patterns = self.patterns.iter();
        Self {
            files: files
                .map(|(path, _)| (path.clone(), look(path).ok()))
                .collect(),
            patterns: patterns
                .map(|(pattern, _)| (pattern.clone(), matching(pattern).ok()))
                .collect(),
        }
    }

    /// Whether files were read one after the other, so that they may not belong together.
    pub(super) fn is_of_several(&self) -> bool {
        self.files.len() > 1 || !self.patterns.is_empty()
    }

    /// Whether what was read can be read again: a pipe cannot.
    pub(super) fn is_repeatable(&self) -> bool {
        self.files.first().is_some_and(|(_, it)| it.is_some())
    }
}

/// Files where they are, and a note of all that was read and found.
pub(super) struct Disk(RefCell<Seen>);

struct Seen {
    look: Look,
    bundle: Bundle,
}

impl Disk {
    /// Beside the file that was read already.
    pub(super) fn beside(path: &str, text: &str, fingerprint: Option<Fingerprint>) -> Self {
        Self(RefCell::new(Seen {
            look: Look::at(path, fingerprint),
            bundle: Bundle::of(path, text),
        }))
    }

    pub(super) fn into_seen(self) -> (Look, Bundle) {
        let seen = self.0.into_inner();
        (seen.look, seen.bundle)
    }
}

impl Files for Disk {
    fn identity(&self, name: &str) -> String {
        let path = std::fs::canonicalize(name);
        path.map_or_else(|_| name.to_owned(), |it| it.to_string_lossy().into_owned())
    }

    fn find(&self, from: &str, wanted: &str) -> Result<Vec<String>, String> {
        let directory = Path::new(from).parent().unwrap_or(Path::new(""));
        let mut seen = self.0.borrow_mut();
        let names = if is_pattern(wanted) {
            // What is special in the name of the directory is meant as it stands.
            let directory = Pattern::escape(&directory.to_string_lossy());
            let pattern = Path::new(&directory).join(wanted).display().to_string();
            let names = matching(&pattern);
            let known = names.as_ref().ok().cloned();
            seen.look.patterns.push((pattern.into(), known));
            names?
        } else {
            vec![directory.join(wanted).display().to_string()]
        };
        seen.bundle.found.push(Found {
            from: from.to_owned(),
            wanted: wanted.to_owned(),
            names: names.clone(),
        });
        Ok(names)
    }

    fn read(&self, name: &str, bytes_max: usize) -> Result<String, String> {
        let mut seen = self.0.borrow_mut();
        let (bytes, fingerprint) = match read_file(name, bytes_max) {
            Ok(read) => read,
            Err(error) => {
                // It may be there, or be another one, at the next look.
                seen.look.files.push((name.into(), look(name).ok()));
                return Err(match error {
                    FileError::TooLarge { .. } => format!(
                        "with `{name}` the files are too large together; take out what is generated"
                    ),
                    error => error.to_string(),
                });
            }
        };
        seen.look.files.push((name.into(), Some(fingerprint)));
        let text = text(name, bytes).map_err(|error| error.to_string())?;
        seen.bundle.add(name, &text);
        Ok(text)
    }
}

fn is_pattern(wanted: &str) -> bool {
    wanted.contains(['*', '?', '['])
}

/// The paths that a pattern matches, in the order of the alphabet; one more than allowed at most.
fn matching(pattern: &str) -> Result<Vec<String>, String> {
    if pattern.contains("**") {
        // A walk through all that is below has no bound.
        return Err("`**` is not known; name the directories, as in `*/*.yaml`".to_owned());
    }
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        // What editors and Kubernetes keep beside the files is not meant.
        require_literal_leading_dot: true,
    };
    let paths = glob_with(pattern, options).map_err(|error| {
        format!("this is no pattern: {error}; `*` stands for any part of a name")
    })?;
    let mut names = Vec::new();
    for path in paths.take(MAX_INCLUDED_FILES + 1) {
        let path = path.map_err(|error| error.to_string())?;
        names.push(path.display().to_string());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with `a.yaml` and `b.yaml`, read by a pattern beside `main`.
    fn read(folder: &Path) -> (Look, Bundle) {
        let main = folder.join("main").display().to_string();
        let disk = Disk::beside(&main, "include: [\"*.yaml\"]", None);
        let names = disk.find(&main, "*.yaml").expect("a pattern");
        for name in names {
            disk.read(&name, 100).expect("a file");
        }
        disk.into_seen()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a directory");
        for (name, text) in [("main", ""), ("a.yaml", "a"), ("b.yaml", "b")] {
            std::fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    type Change = fn(&Path) -> std::io::Result<()>;

    #[test]
    fn a_look_sees_every_change_of_the_files_that_were_read() {
        let changes: [(&str, Change); 5] = [
            ("written", |it| std::fs::write(it.join("a.yaml"), "other")),
            ("removed", |it| std::fs::remove_file(it.join("a.yaml"))),
            ("added", |it| std::fs::write(it.join("c.yaml"), "c")),
            ("replaced", |it| {
                std::fs::write(it.join("new"), "a")?;
                std::fs::rename(it.join("new"), it.join("a.yaml"))
            }),
            ("linked", |it| {
                std::fs::remove_file(it.join("a.yaml"))?;
                std::os::unix::fs::symlink("b.yaml", it.join("a.yaml"))
            }),
        ];
        for (what, change) in changes {
            let folder = folder();
            let (mut look, _) = read(folder.path());
            // The first file is not on disk as it was said.
            look.files.remove(0);
            assert_eq!(look.again(), look, "nothing has changed yet");
            change(folder.path()).expect("the folder is writable");
            assert_ne!(look.again(), look, "{what}");
        }
    }

    #[test]
    fn what_is_remembered_is_read_without_the_files() {
        let folder = folder();
        let (_, bundle) = read(folder.path());
        let main = folder.path().join("main").display().to_string();
        drop(folder);
        let kept = Bundle::from_bytes(&bundle.to_bytes()).expect("several files");
        assert_eq!(kept, bundle);
        let names = kept.find(&main, "*.yaml").expect("it was found");
        let texts: Vec<_> = names.iter().map(|it| kept.read(it, 100)).collect();
        assert_eq!(texts, [Ok("a".to_owned()), Ok("b".to_owned())]);
        assert!(kept.read("elsewhere", 100).is_err());
    }

    #[test]
    fn one_file_is_remembered_as_it_is_and_hashed_as_such() {
        let text = "version: 1\nroutes: []\n";
        let bundle = Bundle::of("routes.yaml", text);
        assert_eq!(bundle.to_bytes(), text.as_bytes());
        assert_eq!(Bundle::from_bytes(text.as_bytes()), None);
        assert_eq!(bundle.hash(), hash(text.as_bytes()));
    }

    #[test]
    fn the_hash_goes_by_texts_and_their_order_and_not_by_names() {
        let bundle = |files: &[(&str, &str)]| {
            let mut bundle = Bundle::default();
            for (name, text) in files {
                bundle.add(name, text);
            }
            bundle.hash()
        };
        let hash = bundle(&[("a", "1"), ("b", "2")]);
        assert_eq!(hash, bundle(&[("c", "1"), ("d", "2")]));
        assert_ne!(hash, bundle(&[("a", "2"), ("b", "1")]));
        assert_ne!(hash, bundle(&[("a", "12"), ("b", "")]));
    }
}
