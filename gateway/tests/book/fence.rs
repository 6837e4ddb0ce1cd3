//! What stands after a fence, and what it means.

/// How a block is held to be true; the table is in `main.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fence {
    /// A file that the gateway reads; commands of the page may find it under a name.
    File(Option<String>),
    /// Something that files of the page name, and that is no such file itself.
    Part(String),
    /// A file that is refused, for commands that show how.
    Broken(String),
    Fragment(Of),
    Manifest,
    Json,
    Endpoints,
    Output,
    Shell(Place),
    /// Runs beside what follows; ready when this port is listened at.
    Background(u16),
    Console {
        place: Place,
        eventually: bool,
    },
    /// Not run, for want of this.
    Needs(String),
    /// Nobody could run it.
    Shown,
}

/// What a fragment is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    File,
    Route,
    Upstream,
    Provider,
}

/// Beside what commands are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A folder of the page's own.
    Page,
    /// `./copilotw.sh local`.
    Local,
}

impl Fence {
    pub(crate) fn parse(info: &str) -> Result<Self, String> {
        let (language, tag) = info.split_once(' ').unwrap_or((info, ""));
        let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
        let console = |place, eventually| Self::Console { place, eventually };
        Ok(match (language, name, value) {
            ("yaml", "", "") => Self::File(None),
            ("yaml", "file", name) if !name.is_empty() => Self::File(Some(name.to_owned())),
            ("yaml", "part", name) if !name.is_empty() => Self::Part(name.to_owned()),
            ("yaml", "broken", name) if !name.is_empty() => Self::Broken(name.to_owned()),
            ("yaml", "fragment", "") => Self::Fragment(Of::File),
            ("yaml", "fragment", "route") => Self::Fragment(Of::Route),
            ("yaml", "fragment", "upstream") => Self::Fragment(Of::Upstream),
            ("yaml", "fragment", "provider") => Self::Fragment(Of::Provider),
            ("yaml", "manifest", "") => Self::Manifest,
            ("json", "", "") => Self::Json,
            ("json", "endpoints", "") => Self::Endpoints,
            ("json", "output", "") => Self::Output,
            ("sh", "", "") => Self::Shell(Place::Page),
            ("sh", "local", "") => Self::Shell(Place::Local),
            ("sh", "background", port) => {
                let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
                Self::Background(port)
            }
            ("sh", "needs", what) if !what.is_empty() => Self::Needs(what.to_owned()),
            ("console", "", "") => console(Place::Page, false),
            ("console", "eventually", "") => console(Place::Page, true),
            ("console", "local", "") => console(Place::Local, false),
            ("text" | "js" | "ini" | "promql", "", "") => Self::Shown,
            ("", ..) => return Err("a block without a tag".to_owned()),
            _ => return Err(format!("the tag `{info}` is not known")),
        })
    }
}

#[test]
fn a_tag_that_nobody_knows_is_refused() {
    for info in [
        "",
        "yml",
        "bash",
        "yaml fragment=routes",
        "yaml file=",
        "sh background=http",
        "sh needs=",
        "sh needs",
        "sh remote",
        "console needs=aws",
        "text local",
    ] {
        assert!(Fence::parse(info).is_err(), "{info}");
    }
}
