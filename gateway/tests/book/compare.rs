//! What a command printed beside what the page says.

use regex::Regex;

/// Stands for any text.
const ANY: &str = "…";

/// A command of a console, and what it prints.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exchange {
    pub(crate) command: String,
    pub(crate) output: String,
}

/// The commands of a console block. A line that ends with `\` goes on in the next one.
pub(crate) fn exchanges(text: &str) -> Vec<Exchange> {
    let mut all: Vec<Exchange> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        let command = match line.strip_prefix("$ ") {
            Some(command) => {
                all.push(Exchange {
                    command: String::new(),
                    output: String::new(),
                });
                Some(command)
            }
            None => goes_on.then_some(line),
        };
        let last = all.last_mut().expect("a console begins with `$ `");
        let part = if command.is_some() {
            &mut last.command
        } else {
            &mut last.output
        };
        part.push_str(command.unwrap_or(line));
        part.push('\n');
        goes_on = command.is_some_and(|it| it.ends_with('\\'));
    }
    all
}

/// Whether it is what was expected, ends of lines and the last line break apart.
pub(crate) fn is_as_told(printed: &str, told: &str) -> bool {
    let mut pattern = String::from("^");
    for line in told.trim_end().lines() {
        if line.trim() == ANY {
            pattern += "(?:.*\n)*?";
        } else {
            let parts: Vec<_> = line.trim_end().split(ANY).map(regex::escape).collect();
            pattern += &parts.join(".*");
            pattern += " *\n";
        }
    }
    let printed = printed.trim_end().replace('\r', "") + "\n";
    let printed = if printed == "\n" { "" } else { &printed };
    let pattern = Regex::new(&(pattern + "$")).expect("its parts are escaped");
    pattern.is_match(printed)
}

#[test]
fn an_ellipsis_stands_for_any_text_and_nothing_else_does() {
    for (printed, told, expected) in [
        ("a\n", "a\n", true),
        ("", "", true),
        ("a\n", "", false),
        ("", "a", false),
        ("a b  \nc", "a b\nc\n", true),
        ("id 7, done\n", "id …, done\n", true),
        ("id 7, not\n", "id …, done\n", false),
        ("a\nb\nc\n", "a\n…\n", true),
        ("a\nb\nc\n", "…\nc\n", true),
        ("a\nb\nc\n", "a\n…\nc\n", true),
        ("a\nc\n", "a\n…\nc\n", true),
        ("a\nb\n", "a\n…\nc\n", false),
        ("a.b", "a+b", false),
        ("a\nb", "a…b", false),
    ] {
        assert_eq!(is_as_told(printed, told), expected, "{printed:?} {told:?}");
    }
}

#[test]
fn a_console_is_commands_and_outputs() {
    let of = |command: &str, output: &str| Exchange {
        command: command.to_owned(),
        output: output.to_owned(),
    };
    assert_eq!(
        exchanges("$ a \\\n    b\nc\n$ d\n$ e\nf\ng\n"),
        [
            of("a \\\n    b\n", "c\n"),
            of("d\n", ""),
            of("e\n", "f\ng\n")
        ]
    );
}
