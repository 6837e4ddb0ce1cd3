//! Configuration templates: `@NAME@` stands for a value.

/// Why a template cannot be filled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("placeholder `@{0}@` has no value; the known ones are listed in bench/README.md")]
pub(super) struct UnknownPlaceholder(String);

/// The values of one run's placeholders.
#[derive(Debug, Default, Clone)]
pub(super) struct Values(Vec<(&'static str, String)>);

impl Values {
    /// Adds a value.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.0.push((name, value.into()));
    }

    /// The template with every placeholder replaced by its value. An `@` that
    /// begins no placeholder stays as it is.
    ///
    /// # Errors
    /// When a placeholder has no value.
    pub(super) fn fill(&self, template: &str) -> Result<String, UnknownPlaceholder> {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('@') {
            filled.push_str(before);
            match after.split_once('@') {
                Some((name, behind)) if is_name(name) => {
                    filled.push_str(self.get(name)?);
                    rest = behind;
                }
                _ => {
                    filled.push('@');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn get(&self, name: &str) -> Result<&str, UnknownPlaceholder> {
        self.0
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| UnknownPlaceholder(name.to_owned()))
    }
}

fn is_name(text: &str) -> bool {
    let is_name_byte =
        |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    !text.is_empty() && text.bytes().all(is_name_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_and_other_signs_kept() {
        let mut values = Values::default();
        values.set("DIR", "/tmp/x");
        values.set("UPSTREAM_1", "127.0.0.1:1");
        for (template, expected) in [
            (
                "log @DIR@/a; to @UPSTREAM_1@",
                "log /tmp/x/a; to 127.0.0.1:1",
            ),
            ("@DIR@@DIR@", "/tmp/x/tmp/x"),
            ("log ring@access and me@host", "log ring@access and me@host"),
            ("ring@access @DIR@", "ring@access /tmp/x"),
            ("@@", "@@"),
            ("", ""),
        ] {
            assert_eq!(values.fill(template).unwrap(), expected);
        }
    }

    #[test]
    fn unknown_placeholder_is_named() {
        let error = Values::default().fill("a @NOPE@ b").unwrap_err();
        assert_eq!(error, UnknownPlaceholder("NOPE".to_owned()));
    }
}
