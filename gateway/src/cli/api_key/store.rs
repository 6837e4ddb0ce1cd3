//! A file of keys that is changed as a whole or not at all.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use tempfile::NamedTempFile;

use super::super::read_text;

/// Replaces the file's text by what `change` makes of it; a file that is not there has none.
///
/// The new text is written beside the file and takes its place in one step, so that a gateway that
/// reads meanwhile sees one or the other. Mode and owner stay; a new file is its owner's alone.
pub(super) fn change(
    path: &Path,
    change: impl FnOnce(&str) -> anyhow::Result<String>,
) -> anyhow::Result<()> {
    let shown = path.display();
    // A link stays a link: what it points to is replaced.
    let target = match path.canonicalize() {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(anyhow!(error).context(format!("cannot read `{shown}`"))),
    };
    let directory = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let lock =
        File::open(directory).with_context(|| format!("cannot open the directory of `{shown}`"))?;
    // Of two commands at a time the second sees what the first has written.
    lock.lock()
        .with_context(|| format!("cannot lock the directory of `{shown}`"))?;
    let before = match target.metadata() {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(anyhow!(error).context(format!("cannot read `{shown}`"))),
    };
    let text = match before {
        Some(_) => read_text(path)?,
        None => String::new(),
    };
    let changed = change(&text).with_context(|| format!("`{shown}` is not changed"))?;
    replace(&target, directory, &changed, before.as_ref())
        .and_then(|()| lock.sync_all())
        .with_context(|| format!("cannot write `{shown}`"))
}

fn replace(
    target: &Path,
    directory: &Path,
    text: &str,
    before: Option<&Metadata>,
) -> io::Result<()> {
    // Readable for its owner alone, unless the file was there and says otherwise.
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(text.as_bytes())?;
    if let Some(before) = before {
        let written = file.as_file().metadata()?;
        if (written.uid(), written.gid()) != (before.uid(), before.gid()) {
            fchown(file.as_file(), Some(before.uid()), Some(before.gid()))?;
        }
        let mode = Permissions::from_mode(before.permissions().mode());
        file.as_file().set_permissions(mode)?;
    }
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    Ok(())
}
