//! Commands that are not run: the shell understands them, and our own programs know what is asked
//! of them. Commands within sentences are held to the same.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fence::Fence;
use crate::none;
use crate::page::{Page, root};

/// Our programs, and the commands of which some have commands of their own.
const GATEWAY: &str = "gateway";
const WRAPPER: &str = "./copilotw.sh";
const OF_TWO_WORDS: [&str; 1] = ["api-key"];
/// Fewer would mean that they are not found any more.
const COMMANDS_MIN: usize = 20;

/// A command of one of our programs.
#[derive(Debug, PartialEq, Eq)]
struct Ours {
    program: &'static str,
    /// Such as `check`, or `api-key new`.
    command: String,
    options: Vec<String>,
}

/// The commands of our programs in some shell text.
fn ours(text: &str) -> Vec<Ours> {
    let text = text.replace("\\\n", " ");
    let mut all = Vec::new();
    for line in text.lines() {
        let line = line.split(" #").next().unwrap_or_default();
        // `$(…)`, pipes and lists begin further commands.
        for command in line.split(['|', ';', '&', '(', ')']) {
            let mut words = command.split_whitespace();
            let first = words.next().unwrap_or_default().trim_start_matches('"');
            let Some(program) = [GATEWAY, WRAPPER].into_iter().find(|it| *it == first) else {
                continue;
            };
            let words: Vec<_> = words.map(|it| it.trim_matches(['"', '\''])).collect();
            let is_option = |word: &&&str| word.starts_with("--") && word.len() > 2;
            let mut names = words.iter().take_while(|word| !word.starts_with('-'));
            let Some(name) = names.next() else { continue };
            let second = names.next().filter(|_| OF_TWO_WORDS.contains(name));
            all.push(Ours {
                program,
                command: second.map_or_else(|| (*name).to_owned(), |it| format!("{name} {it}")),
                options: words
                    .iter()
                    .filter(is_option)
                    .map(|word| word.split('=').next().unwrap_or(word).to_owned())
                    .collect(),
            });
        }
    }
    all
}

/// What our programs say of themselves.
#[derive(Default)]
struct Helps(HashMap<(&'static str, String), Option<String>>);

impl Helps {
    /// The help of a command; `None` where there is no such command.
    fn of(&mut self, ours: &Ours) -> Option<&str> {
        let key = (ours.program, ours.command.clone());
        let help = self.0.entry(key).or_insert_with(|| help(ours));
        help.as_deref()
    }

    fn complaint(&mut self, ours: &Ours) -> Option<String> {
        let (program, command) = (ours.program, &ours.command);
        let Some(help) = self.of(ours) else {
            return Some(format!("`{program}` has no command `{command}`"));
        };
        let is_known = |option: &&String| {
            let mut words = help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            words.any(|word| word == option.as_str())
        };
        let unknown = ours.options.iter().find(|option| !is_known(option))?;
        Some(format!("`{program} {command}` has no option `{unknown}`"))
    }
}

fn help(ours: &Ours) -> Option<String> {
    let mut command = if ours.program == GATEWAY {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(ours.command.split(' ')).arg("--help");
        command
    } else {
        let mut command = Command::new(root().join("copilotw.sh"));
        command.args(["help", &ours.command]);
        command
    };
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(text)
}

/// What the shell says of text that it does not understand.
fn misunderstood(text: &str, scratch: &Path) -> Option<String> {
    let path: PathBuf = scratch.join("commands.sh");
    std::fs::write(&path, text).expect("it can be written");
    let output = Command::new("bash").arg("-n").arg(&path).output();
    let output = output.expect("there is a bash");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(told)
}

#[test]
fn what_is_not_run_could_be() {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut complaints = Vec::new();
    let mut helps = Helps::default();
    for page in Page::all() {
        for block in &page.blocks {
            let Ok(Fence::Needs(what)) = &block.fence else {
                continue;
            };
            let place = format!("{}:{}", page.path, block.line);
            println!("not run for want of {what}: {place}");
            let told = misunderstood(&block.text, scratch.path());
            let unknown = ours(&block.text);
            let unknown = unknown.iter().filter_map(|it| helps.complaint(it));
            let all = told.into_iter().chain(unknown);
            complaints.extend(all.map(|it| format!("{place}: {it}")));
        }
    }
    none(&complaints, "mend the commands");
}

#[test]
fn commands_within_sentences_exist() {
    let mut complaints = Vec::new();
    let mut helps = Helps::default();
    let mut commands = 0;
    for page in Page::all() {
        for (line, span) in &page.spans {
            for ours in ours(span) {
                commands += 1;
                let complaint = helps.complaint(&ours);
                complaints.extend(complaint.map(|it| format!("{}:{line}: {it}", page.path)));
            }
        }
    }
    assert!(commands >= COMMANDS_MIN, "{commands}");
    none(&complaints, "mend the sentence");
}

#[test]
fn commands_of_ours_are_found_where_they_begin() {
    let found = ours(
        "A=1 # gateway x\nX=$(./copilotw.sh public app --engine=x)\necho gateway | gateway api-key new \\\n  --id a\n",
    );
    let shown: Vec<_> = found
        .iter()
        .map(|it| format!("{} {} {}", it.program, it.command, it.options.join(" ")))
        .collect();
    assert_eq!(
        shown,
        ["./copilotw.sh public --engine", "gateway api-key new --id"]
    );
    let unknown = Ours {
        program: GATEWAY,
        command: "check".to_owned(),
        options: vec!["--form".to_owned()],
    };
    assert!(Helps::default().complaint(&unknown).is_some());
}
