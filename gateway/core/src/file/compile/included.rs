//! A configuration of several files: how they become one, and what messages say of them.

use super::Checker;
use crate::config::{Problem, Sections, Unmatched};

/// What becomes of keys that several files have.
pub(super) const SECTIONS: Sections = Sections {
    joined: &["upstreams", "jwt_providers", "api_keys"],
    appended: &["routes"],
    repeated: &["version"],
};

impl<'a> Checker<'a> {
    /// ` (routes.d/users.yaml:7)`, for messages that name a second place; nothing where there is
    /// only one file, since a line and its path say enough then.
    pub(super) fn place_of(&self, path: &str) -> String {
        let position = self.partial.positions.key(path);
        match position.filter(|_| self.problems.file_names().nth(1).is_some()) {
            Some(at) => format!(" ({}:{})", self.problems.file_name(at.file), at.line),
            None => String::new(),
        }
    }

    /// The patterns of `include` that no file matches.
    pub(in crate::file) fn unmatched(&self) -> &'a [Unmatched] {
        &self.partial.unmatched
    }

    /// Adds what is odd about a place that no path leads to.
    pub(in crate::file) fn warn_at(&mut self, warning: Problem) {
        self.warnings.push(warning);
    }
}

#[cfg(test)]
mod tests {
    use super::SECTIONS;
    use crate::file::schema;

    #[test]
    fn every_section_of_names_is_joined() {
        let schema = schema();
        let keys = schema["properties"].as_object().expect("a map").iter();
        let named = keys.filter(|(_, it)| it["additionalProperties"].is_object());
        let named: Vec<_> = named.map(|(key, _)| key.as_str()).collect();
        let mut joined = SECTIONS.joined.to_vec();
        joined.sort_unstable();
        assert_eq!(named, joined);
    }
}
