//! Variables in scalars: `${NAME}`, `${NAME:-default}`, and `$$` for a `$`.

/// Bytes that all expanded scalars of a file may have together.
pub(super) const MAX_EXPANDED_BYTES: usize = 1024 * 1024;

/// What a variable holds, if it is set.
type LookUp<'v> = dyn Fn(&str) -> Option<String> + 'v;

/// Puts variables into scalars.
pub(super) struct Expander<'v> {
    /// Without them a `$` is a `$`.
    variables: Option<&'v LookUp<'v>>,
    expanded_bytes: usize,
}

/// Why a reference cannot be replaced.
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) help: String,
}

const SYNTAX: &str = "write `${NAME}` or `${NAME:-default}`; `$$` stands for a single `$`";

impl<'v> Expander<'v> {
    pub(super) fn new(variables: &'v LookUp<'v>) -> Self {
        Self {
            variables: Some(variables),
            expanded_bytes: 0,
        }
    }

    /// Leaves all text as it is.
    pub(super) fn none() -> Self {
        Self {
            variables: None,
            expanded_bytes: 0,
        }
    }

    /// The text with its variables replaced, or `None` when it holds no `$`.
    ///
    /// What a variable holds is never expanded again. As in a shell, the
    /// default also replaces an empty value.
    pub(super) fn expand(&mut self, text: &str) -> Result<Option<String>, Vec<Fault>> {
        let Some(variables) = self.variables.filter(|_| text.contains('$')) else {
            return Ok(None);
        };
        let mut out = String::with_capacity(text.len());
        let mut faults = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            rest = after;
            if let Some(after) = rest.strip_prefix('$') {
                out.push('$');
                rest = after;
            } else if let Some(after) = rest.strip_prefix('{') {
                let Some((reference, after)) = after.split_once('}') else {
                    faults.push(fault("`${` without its `}`", SYNTAX));
                    break;
                };
                match look_up(reference, variables) {
                    Ok(value) => out.push_str(&value),
                    Err(fault) => faults.push(fault),
                }
                rest = after;
            } else {
                out.push('$');
            }
            if self.expanded_bytes.saturating_add(out.len()) > MAX_EXPANDED_BYTES {
                faults.push(fault(
                    format!(
                        "the variables of this file hold more than {} KiB together",
                        MAX_EXPANDED_BYTES / 1024
                    ),
                    "shorten their values",
                ));
                return Err(faults);
            }
        }
        out.push_str(rest);
        self.expanded_bytes += out.len();
        if faults.is_empty() {
            Ok(Some(out))
        } else {
            Err(faults)
        }
    }
}

fn look_up(reference: &str, variables: &dyn Fn(&str) -> Option<String>) -> Result<String, Fault> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    if !is_name(name) {
        let name = super::tree::quote(name);
        return Err(fault(
            format!("`{name}` is not the name of a variable"),
            SYNTAX,
        ));
    }
    if default.is_some_and(|default| default.contains("${")) {
        return Err(fault(
            format!("the default of `{name}` holds another variable"),
            "write a plain default; variables do not nest",
        ));
    }
    let value = variables(name);
    match (value, default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(fault(
            format!("variable `{name}` is not set"),
            format!("set it, or write `${{{name}:-default}}`"),
        )),
    }
}

fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word) && name.starts_with(|c: char| !c.is_ascii_digit())
}

fn fault(message: impl Into<String>, help: impl Into<String>) -> Fault {
    Fault {
        message: message.into(),
        help: help.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Expander, MAX_EXPANDED_BYTES};

    fn variables(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("api".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    fn expand(text: &str) -> Result<Option<String>, Vec<String>> {
        let faults = |faults: Vec<super::Fault>| faults.into_iter().map(|f| f.message).collect();
        Expander::new(&variables).expand(text).map_err(faults)
    }

    #[test]
    fn references_defaults_and_escapes_are_replaced_once() {
        for (text, expected) in [
            ("plain", None),
            ("${HOST}", Some("api")),
            ("http://${HOST}:80/${HOST}", Some("http://api:80/api")),
            ("${ABSENT:-x}", Some("x")),
            ("${ABSENT:-}", Some("")),
            ("${EMPTY}", Some("")),
            ("${EMPTY:-x}", Some("x")),
            ("${HOST:-x}", Some("api")),
            ("${ABSENT:-a:-b}", Some("a:-b")),
            ("${NESTED}", Some("${HOST}")),
            ("$${HOST}", Some("${HOST}")),
            ("$$${HOST}", Some("$api")),
            ("^/a$", Some("^/a$")),
            ("$HOST", Some("$HOST")),
        ] {
            assert_eq!(expand(text), Ok(expected.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn every_bad_reference_of_a_scalar_is_reported() {
        assert_eq!(
            expand("${A} ${HOST} ${1} ${B:?no} ${A:-${B}} ${"),
            Err(vec![
                "variable `A` is not set".to_owned(),
                "`1` is not the name of a variable".to_owned(),
                "`B:?no` is not the name of a variable".to_owned(),
                "the default of `A` holds another variable".to_owned(),
                "`${` without its `}`".to_owned(),
            ])
        );
    }

    #[test]
    fn without_variables_a_dollar_is_a_dollar() {
        for text in ["${HOST}", "$$", "${", "plain"] {
            assert!(matches!(Expander::none().expand(text), Ok(None)), "{text}");
        }
    }

    #[test]
    fn large_variables_are_bounded_over_the_whole_file() {
        let large = |_: &str| Some("x".repeat(MAX_EXPANDED_BYTES / 2));
        let mut expander = Expander::new(&large);
        assert!(expander.expand("${A}").is_ok());
        assert!(expander.expand("${A}").is_ok());
        assert!(expander.expand("${A}").is_err());
    }
}
