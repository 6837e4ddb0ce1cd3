//! Commands of the pages, run in order.

use std::path::Path;
use std::thread::sleep;
use std::time::Instant;

use crate::compare::{Exchange, exchanges, is_as_told};
use crate::fence::{Fence, Place};
use crate::none;
use crate::page::{self, Page};
use crate::samples::VARIABLES;
use crate::session::{Errors, PATIENCE, POLL_INTERVAL, Ports, Shell};

/// Fewer pages would mean that their commands are not found any more.
const PAGES_MIN: usize = 3;

/// What a page says that is not so; the rest of the page is not tried then.
type Outcome = Result<(), String>;

/// A page's shell.
struct Reading<'a> {
    shell: &'a mut Shell,
    /// Where files of the page go.
    folder: &'a Path,
    ports: &'a Ports,
    place: Place,
    /// By the last `sh` block, if that was run here.
    printed: Option<String>,
}

impl Reading<'_> {
    fn read(&mut self, page: &Page) -> Outcome {
        for block in &page.blocks {
            let Ok(fence) = &block.fence else { continue };
            let done = self.block(fence, &block.text);
            done.map_err(|told| format!("{}:{}: {told}", page.path, block.line))?;
        }
        Ok(())
    }

    fn block(&mut self, fence: &Fence, text: &str) -> Outcome {
        match fence {
            Fence::File(Some(name)) | Fence::Part(name) | Fence::Broken(name)
                if self.place == Place::Page =>
            {
                let path = self.folder.join(name);
                let written = page::write(&path, &self.ports.to_real(text));
                written.map_err(|error| format!("{name}: {error}"))
            }
            Fence::Shell(place) if *place == self.place => {
                let ran = self.shell.run(text, Errors::Apart);
                if !ran.is_done {
                    return Err(format!("it fails\n{}{}", ran.output, ran.errors));
                }
                self.printed = Some(ran.output);
                Ok(())
            }
            Fence::Shell(_) => {
                self.printed = None;
                Ok(())
            }
            Fence::Output => match &self.printed {
                Some(printed) => same("what was run", printed, text),
                None => Ok(()),
            },
            Fence::Background(port) if self.place == Place::Page => {
                self.shell.run_beside(text, *port, PATIENCE)
            }
            Fence::Console { place, eventually } if *place == self.place => exchanges(text)
                .iter()
                .try_for_each(|it| self.exchange(it, *eventually)),
            _ => Ok(()),
        }
    }

    fn exchange(&mut self, told: &Exchange, eventually: bool) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ran = self.shell.run(&told.command, Errors::Among);
            if !ran.is_done {
                return Err(format!("it ends the shell: {}{}", told.command, ran.output));
            }
            let outcome = same(&told.command, &ran.output, &told.output);
            if outcome.is_ok() || !eventually || Instant::now() > deadline {
                return outcome;
            }
            sleep(POLL_INTERVAL);
        }
    }
}

fn same(command: &str, printed: &str, told: &str) -> Outcome {
    let command = command.trim_end();
    if is_as_told(printed, told) {
        Ok(())
    } else {
        Err(format!(
            "{command}\n--- prints\n{printed}--- and not\n{told}---"
        ))
    }
}

/// Whether any block is run at this place.
fn has_commands(page: &Page, at: Place) -> bool {
    page.blocks.iter().any(|block| match &block.fence {
        Ok(Fence::Shell(place) | Fence::Console { place, .. }) => *place == at,
        Ok(Fence::Background(_)) => at == Place::Page,
        _ => false,
    })
}

#[test]
fn commands_do_what_the_pages_say() {
    let mut complaints = Vec::new();
    let mut pages = 0;
    for page in Page::all()
        .iter()
        .filter(|it| has_commands(it, Place::Page))
    {
        let folder = tempfile::tempdir().expect("a folder");
        let ports = Ports::free();
        let mut shell = Shell::start(ports.clone(), |bash| {
            bash.current_dir(folder.path()).env("HOME", folder.path());
            bash.envs(VARIABLES);
        });
        let mut reading = Reading {
            shell: &mut shell,
            folder: folder.path(),
            ports: &ports,
            place: Place::Page,
            printed: None,
        };
        complaints.extend(reading.read(page).err());
        pages += 1;
    }
    assert!(pages >= PAGES_MIN, "{pages} pages have commands");
    none(&complaints, "mend the page, or what it is about");
}

/// The system of `./copilotw.sh local`, as the README has it started.
#[cfg(feature = "real-parts")]
#[test]
fn commands_beside_the_local_system_do_what_the_pages_say() {
    /// It may build everything from nothing.
    const BUILD_PATIENCE: std::time::Duration = std::time::Duration::from_mins(30);
    /// What cargo finds its toolchain and what it has built by.
    const KEPT: [&str; 4] = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"];

    let data = tempfile::tempdir().expect("a folder");
    let ports = Ports::free();
    let mut shell = Shell::start(ports.clone(), |bash| {
        bash.current_dir(page::root());
        bash.env("COPILOTW_DATA", data.path());
        bash.env("COPILOTW_PROFILE", "dev");
        bash.envs(
            KEPT.iter()
                .filter_map(|name| Some((name, std::env::var_os(name)?))),
        );
    });
    let system = "./copilotw.sh local --port 8080 --admin-port 9090\n";
    let started = shell.run_beside(system, 8080, BUILD_PATIENCE);
    started.expect("the system starts");
    let mut complaints = Vec::new();
    for page in Page::all()
        .iter()
        .filter(|it| has_commands(it, Place::Local))
    {
        let mut reading = Reading {
            shell: &mut shell,
            folder: data.path(),
            ports: &ports,
            place: Place::Local,
            printed: None,
        };
        complaints.extend(reading.read(page).err());
    }
    none(&complaints, "mend the page, or what it is about");
}
