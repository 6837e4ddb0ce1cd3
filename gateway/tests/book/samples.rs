//! YAML and JSON of the pages: the gateway and the schema take it.

use std::process::{Command, Output};

use boon::{Compiler, Schemas};
use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::revocation::Revocations;
use gateway_core::config::{Problems, Source};
use gateway_core::file::EndpointFile;
use serde_json::Value;

use crate::complete::whole;
use crate::fence::Fence;
use crate::none;
use crate::page::{self, Page, root};

/// What the samples ask of the environment; the second are 48 bytes, in base64url.
pub(crate) const VARIABLES: [(&str, &str); 5] = [
    ("COPILOT_SERVICE_DISCOVERY_ENDPOINT", "test.app.local"),
    (
        "JWT_SECRET",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v",
    ),
    ("ADMIN_TOKEN", "0123456789abcdef0123456789abcdef"),
    ("LOG_HASH_SECRET", "0123456789abcdef0123456789abcdef"),
    ("RUNTIME_DIRECTORY", "/run/gateway"),
];
/// Fewer of each would mean that they are not found any more.
const ROUTES_FILES_MIN: usize = 25;
const OTHERS_MIN: usize = 3;

/// A block with what it is called in complaints.
struct Sample {
    /// The page's name and the line.
    name: String,
    text: String,
}

/// Every block whose text `of` makes a sample of.
fn samples(of: impl Fn(&Fence, &str) -> Option<String>) -> Vec<Sample> {
    let mut samples = Vec::new();
    for page in Page::all() {
        for block in &page.blocks {
            let text = block.fence.as_ref().ok().and_then(|it| of(it, &block.text));
            let name = format!("{}:{}", page.path, block.line);
            samples.extend(text.map(|text| Sample { name, text }));
        }
    }
    samples
}

fn is_routes_file(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("version:"))
}

/// Whole routes files, completed ones among them.
fn routes_files() -> Vec<Sample> {
    let found = samples(|fence, text| match fence {
        Fence::File(_) if is_routes_file(text) => Some(text.to_owned()),
        Fence::Fragment(of) => Some(whole(*of, text)),
        _ => None,
    });
    assert!(found.len() >= ROUTES_FILES_MIN, "{}", found.len());
    found
}

/// What `gateway check` says of samples, and how many there are.
fn check(samples: Vec<Sample>) -> (Output, usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut names = Vec::new();
    for page in Page::all() {
        let beside = folder.path().join(folder_of(&page.path));
        std::fs::create_dir(&beside).expect("it can be made");
        for block in &page.blocks {
            if let Ok(Fence::Part(name)) = &block.fence {
                page::write(&beside.join(name), &block.text).expect("it can be written");
            }
        }
    }
    for sample in samples {
        let (page, line) = sample.name.split_once(':').expect("it has both");
        let name = format!("{}/line-{line}.yaml", folder_of(page));
        std::fs::write(folder.path().join(&name), sample.text).expect("it can be written");
        names.push(name);
    }
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["check", "--no-files"])
        .args(&names)
        .current_dir(folder.path())
        .env_clear()
        .envs(VARIABLES)
        .output()
        .expect("the program starts");
    (output, names.len())
}

/// Where the samples of a page stand, beside the parts that they name.
fn folder_of(page: &str) -> String {
    page.replace('/', "-")
}

#[test]
fn check_takes_every_routes_file() {
    let (output, count) = check(routes_files());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let good = String::from_utf8_lossy(&output.stdout);
    assert_eq!(good.lines().count(), count, "{good}{told}");
}

#[test]
fn check_refuses_what_is_said_to_be_broken() {
    let broken = samples(|fence, text| matches!(fence, Fence::Broken(_)).then(|| text.to_owned()));
    for sample in broken {
        let name = sample.name.clone();
        let (output, _) = check(vec![sample]);
        assert_eq!(output.status.code(), Some(1), "{name}");
    }
}

#[test]
fn the_schema_takes_every_routes_file() {
    let text = std::fs::read_to_string(root().join("docs/routes-file.schema.json"));
    let schema: Value = serde_json::from_str(&text.expect("it is there")).expect("it is JSON");
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler
        .add_resource("routes-file", schema)
        .expect("it is a resource");
    let schema = compiler
        .compile("routes-file", &mut schemas)
        .expect("it is a schema");
    let mut complaints = Vec::new();
    for sample in routes_files() {
        // As editors read it, by YAML 1.2: `off` is a word.
        let options = serde_saphyr::options! { strict_booleans: true };
        let value = serde_saphyr::from_str_with_options::<Value>(&sample.text, options);
        let value = value.expect(&sample.name);
        if let Err(error) = schemas.validate(&value, schema) {
            complaints.push(format!("{}: {error:#}", sample.name));
        }
    }
    none(&complaints, "mend the sample, or core/src/file/schema.rs");
}

type Reader = fn(Source<'_>) -> Result<(), Problems>;

/// What reads a file that is no routes file, by its first key.
const READERS: [(&str, Reader); 2] = [
    ("keys:", |source| ApiKeys::parse(source).map(|_| ())),
    ("revoked:", |source| Revocations::parse(source).map(|_| ())),
];

#[test]
fn files_that_routes_files_name_are_taken() {
    let mut complaints = Vec::new();
    let files = samples(|fence, text| match fence {
        Fence::File(_) if !is_routes_file(text) => Some(text.to_owned()),
        _ => None,
    });
    let endpoints = samples(|fence, text| {
        let is_list = *fence == Fence::Endpoints;
        is_list.then(|| text.to_owned())
    });
    let count = files.len() + endpoints.len();
    assert!(count >= OTHERS_MIN, "{count}");
    for Sample { name, text } in files {
        let source = Source {
            name: &name,
            text: &text,
        };
        let reader = READERS.iter().find(|(first, _)| text.starts_with(first));
        match reader.map(|(_, read)| read(source)) {
            Some(Ok(())) => {}
            Some(Err(problems)) => complaints.push(problems.to_string()),
            None => complaints.push(format!(
                "{name}: neither `version:` nor {} stands there; is it a `yaml fragment`?",
                READERS.map(|(first, _)| first).join(" nor ")
            )),
        }
    }
    for Sample { name, text } in endpoints {
        let read = EndpointFile::parse(Source {
            name: &name,
            text: &text,
        });
        complaints.extend(read.err().map(|problems| problems.to_string()));
    }
    none(&complaints, "mend the sample");
}

#[test]
fn what_is_said_to_be_yaml_or_json_is() {
    let mut complaints = Vec::new();
    let manifests = samples(|fence, text| {
        matches!(fence, Fence::Manifest | Fence::Part(_)).then(|| text.to_owned())
    });
    for Sample { name, text } in manifests {
        let read = serde_saphyr::from_str::<Value>(&text);
        complaints.extend(read.err().map(|error| format!("{name}: {error}")));
    }
    let texts = samples(|fence, text| {
        matches!(fence, Fence::Json | Fence::Output).then(|| text.to_owned())
    });
    for Sample { name, text } in texts {
        for value in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            complaints.extend(value.err().map(|error| format!("{name}: {error}")));
        }
    }
    none(&complaints, "mend the block");
}
