//! Configuration templates: `@NAME@` stands for a value.

/// Why a template cannot be filled.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("placeholder `@{0}@` has no value; the known ones are listed in bench/README.md")]
pub(super) struct UnknownPlaceholder(String);

/// The values of one run's placeholders.
#[derive(Debug, Default, Clone)]
pub(super) struct Values {
    single: Vec<(&'static str, String)>,
    lists: Vec<List>,
}

/// Rows of values, one value for each name.
#[derive(Debug, Clone)]
struct List {
    names: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl List {
    fn is_on(&self, line: &str) -> bool {
        let mut names = self.names.iter();
        names.any(|name| line.contains(&format!("@{name}@")))
    }
}

impl Values {
    /// Adds a value.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<String>) {
        self.single.push((name, value.into()));
    }

    /// Adds a list: a line with any of its placeholders is written once for each row, with
    /// `@NTH@` counting from 1.
    pub(super) fn set_list(&mut self, names: &'static [&'static str], rows: Vec<Vec<String>>) {
        self.lists.push(List { names, rows });
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
            let Some(list) = lists.find(|list| list.is_on(line)) else {
                self.fill_line(line, &[], &mut filled)?;
                continue;
            };
            for (nth, row) in (1..).zip(&list.rows) {
                let nth = u32::to_string(&nth);
                let values = row.iter().map(String::as_str);
                let mut own: Vec<(&str, &str)> = list.names.iter().copied().zip(values).collect();
                own.push(("NTH", &nth));
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
        let upstreams = [["a:1", "a"], ["b:2", "b"]].map(|row| row.map(str::to_owned).to_vec());
        values.set_list(&["UPSTREAM", "UPSTREAM_HOST"], upstreams.to_vec());
        values.set_list(&["NONE"], Vec::new());
        for (template, expected) in [
            ("log @DIR@/a; to @PORT@", "log /tmp/x/a; to 1"),
            (
                "to:\n  s@NTH@ @UPSTREAM@ in @DIR@\nend",
                "to:\n  s1 a:1 in /tmp/x\n  s2 b:2 in /tmp/x\nend",
            ),
            ("s@NTH@ @UPSTREAM_HOST@\n", "s1 a\ns2 b\n"),
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
