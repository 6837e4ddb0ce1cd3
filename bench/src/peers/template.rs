//! Configuration templates: `@NAME@` stands for a value.

/// Why a template cannot be filled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("placeholder `@{0}@` has no value; the known ones are listed in bench/README.md")]
pub(super) struct UnknownPlaceholder(String);

/// The values of one run's placeholders.
#[derive(Debug, Default, Clone)]
pub(super) struct Values {
    single: Vec<(&'static str, String)>,
    lists: Vec<(&'static str, Vec<String>)>,
}

impl Values {
    /// Adds a value.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.single.push((name, value.into()));
    }

    /// Adds a list: a line with its placeholder is written once for each value, with `@NTH@`
    /// counting from 1.
    pub(super) fn set_list(&mut self, name: &'static str, values: Vec<String>) {
        self.lists.push((name, values));
    }

    /// The template with every placeholder replaced by its value. An `@` that
    /// begins no placeholder stays as it is.
    ///
    /// # Errors
    /// When a placeholder has no value.
    pub(super) fn fill(&self, template: &str) -> Result<String, UnknownPlaceholder> {
        let mut filled = String::with_capacity(template.len());
        for line in template.split_inclusive('\n') {
            let mut lists = self.lists.iter();
            let list = lists.find(|(name, _)| line.contains(&format!("@{name}@")));
            let Some((name, values)) = list else {
                self.fill_line(line, &[], &mut filled)?;
                continue;
            };
            for (nth, value) in (1..).zip(values) {
                let nth = u32::to_string(&nth);
                let own = [(*name, value.as_str()), ("NTH", nth.as_str())];
                self.fill_line(line, &own, &mut filled)?;
            }
        }
        Ok(filled)
    }

    /// Fills one line, with values of its own beside those of all.
    fn fill_line(
        &self,
        line: &str,
        own: &[(&str, &str)],
        filled: &mut String,
    ) -> Result<(), UnknownPlaceholder> {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once('@') {
            filled.push_str(before);
            match after.split_once('@') {
                Some((name, behind)) if is_name(name) => {
                    let own = own.iter().find(|(known, _)| *known == name);
                    filled.push_str(own.map_or_else(|| self.get(name), |(_, value)| Ok(value))?);
                    rest = behind;
                }
                _ => {
                    filled.push('@');
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        Ok(())
    }

    fn get(&self, name: &str) -> Result<&str, UnknownPlaceholder> {
        self.single
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
        values.set("PORT", "1");
        values.set_list("UPSTREAM", vec!["a:1".to_owned(), "b:2".to_owned()]);
        values.set_list("NONE", Vec::new());
        for (template, expected) in [
            ("log @DIR@/a; to @PORT@", "log /tmp/x/a; to 1"),
            (
                "to:\n  s@NTH@ @UPSTREAM@ in @DIR@\nend",
                "to:\n  s1 a:1 in /tmp/x\n  s2 b:2 in /tmp/x\nend",
            ),
            ("a\n@NONE@\nb", "a\nb"),
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
