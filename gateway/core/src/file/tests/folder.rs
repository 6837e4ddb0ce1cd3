//! Files that are nowhere but in a test.

use crate::config::Files;

/// Names and texts; `a*b` matches what begins with `a` and ends with `b`.
pub(super) struct Folder<'f>(pub(super) &'f [(&'f str, &'f str)]);

impl Folder<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        let mut files = self.0.iter();
        let found = files.find(|(known, _)| *known == name);
        found.map(|(_, text)| *text)
    }
}

impl Files for Folder<'_> {
    fn identity(&self, name: &str) -> String {
        name.to_owned()
    }

    fn find(&self, from: &str, wanted: &str) -> Result<Vec<String>, String> {
        let directory = from.rsplit_once('/').map(|(directory, _)| directory);
        let path = match (directory, wanted.strip_prefix("../")) {
            (None, _) => wanted.to_owned(),
            (Some(_), Some(above)) => above.to_owned(),
            (Some(directory), None) => format!("{directory}/{wanted}"),
        };
        let Some((start, end)) = path.split_once('*') else {
            return Ok(vec![path]);
        };
        let names = self.0.iter().map(|(name, _)| *name);
        let is_match = |name: &&str| name.starts_with(start) && name.ends_with(end);
        Ok(names.filter(is_match).map(str::to_owned).collect())
    }

    fn read(&self, name: &str, _bytes_max: usize) -> Result<String, String> {
        match self.text(name) {
            Some(text) if text.contains('\0') => Err(format!("`{name}` is not UTF-8 text")),
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("cannot read `{name}`: it is not there")),
        }
    }
}
