//! A corpus of broken routes files: good ones, each spoilt in one place by a seeded hand. Each
//! gives a message that names the line and the remedy. `CORPUS_SEED=<n>` makes another corpus.

use expect_test::expect_file;
use fastrand::Rng;

use super::*;

/// Files of each kind of mistake, for each sample.
const FILES_OF_A_KIND: u64 = 4;
/// Fewer would leave mistakes out.
const FILES_MIN: usize = 200;
const SEED: u64 = 1;
/// Reports that are kept to be read.
const SHOWN: usize = 30;

/// Good files, of which the first is that of production.
const SAMPLES: [(&str, &str); 3] = [
    (
        "production",
        include_str!("../../../../../copilot/gateway/routes.yaml"),
    ),
    (
        "dev",
        concat!(
            include_str!("../../../../src/dev/routes.yaml"),
            include_str!("../../../../src/dev/upstreams.yaml")
        ),
    ),
    ("everything", include_str!("corpus/everything.yaml")),
];

fn variables(name: &str) -> Option<String> {
    let value = match name {
        "JWT_ISSUER" | "GATEWAY_DEV_ISSUER" => "https://issuer.example/",
        "GATEWAY_DEV_JWKS_URI" => "http://127.0.0.1:9100/jwks.json",
        "GATEWAY_LISTEN" => "127.0.0.1:8080",
        "GATEWAY_ADMIN" => "127.0.0.1:9090",
        "JWT_AUDIENCE" => "api",
        "CLOUD_MAP_ENDPOINT" => "http://127.0.0.1:9200",
        name if name.starts_with("COPILOT_") || name.starts_with("GATEWAY_DEV_") => "test.local",
        _ => return super::variables(name),
    };
    Some(value.to_owned())
}

fn refused(text: &str) -> Option<Problems> {
    let source = Source {
        name: "routes.yaml",
        text,
    };
    let read = read(source, &variables);
    if read.is_ok() {
        assert_eq!(schema::refusal(text), None, "{text}");
    }
    read.err()
}

/// How a file is spoilt.
type Mistake = fn(&mut Spoilt, &mut Rng) -> bool;

/// The name of each mistake, and whether YAML itself is broken by it: then it may show only
/// further down.
const MISTAKES: &[(&str, bool, Mistake)] = &[
    ("a letter of a key is missing", false, |it, random| {
        it.at_key(random, |key, random| {
            let mut key = key.to_owned();
            key.remove(random.usize(1..key.len()));
            key
        })
    }),
    ("two letters of a key are swapped", false, |it, random| {
        it.at_key(random, |key, _| {
            let (first, second) = (&key[..1], &key[1..2]);
            format!("{second}{first}{}", &key[2..])
        })
    }),
    ("a key has a capital", false, |it, random| {
        it.at_key(random, |key, _| key.to_uppercase())
    }),
    ("a key is a stranger", false, |it, random| {
        it.at_key(random, |_, _| "colour".to_owned())
    }),
    ("a list in place of a value", false, |it, random| {
        it.at_value(random, "[[1], [2]]")
    }),
    ("a map in place of a value", false, |it, random| {
        it.at_value(random, "{colour: blue}")
    }),
    ("a huge number", false, |it, random| {
        it.at_number(random, "99999999999999999999999999999999999999999")
    }),
    ("a number that is none", false, |it, random| {
        it.at_number(random, "-.inf")
    }),
    ("nothing in place of a value", false, |it, random| {
        it.at_value(random, "")
    }),
    ("a word in place of a number", false, |it, random| {
        it.at_number(random, "many")
    }),
    ("a variable that is not set", false, |it, random| {
        it.at_value(random, "\"${NOT_SET}\"")
    }),
    ("a variable that does not end", false, |it, random| {
        it.at_value(random, "\"${NOT_SET\"")
    }),
    ("an alias without an anchor", false, |it, random| {
        it.at_value(random, "*nobody")
    }),
    ("an alias within its own anchor", false, |it, random| {
        it.at_value(random, "&self [*self]")
    }),
    ("a tag", false, |it, random| {
        it.at_value(random, "!!binary aGVsbG8=")
    }),
    ("a quote is not closed", true, |it, random| {
        it.at_value(random, "\"abc")
    }),
    ("a bracket is not closed", true, |it, random| {
        it.at_value(random, "[abc")
    }),
    ("a brace too many", true, |it, random| {
        it.at_value(random, "}")
    }),
    ("a control character", true, |it, random| {
        it.at_value(random, "a\u{0}b")
    }),
    ("an unknown escape", true, |it, random| {
        it.at_value(random, "\"\\q\"")
    }),
    ("a unit that is none", false, |it, random| {
        it.at_quantity(random, "5 fortnights")
    }),
    ("a quantity without a unit", false, |it, random| {
        it.at_quantity(random, "\"-5\"")
    }),
    ("a quantity out of range", false, |it, random| {
        it.at_quantity(random, "9999999999d")
    }),
    ("a key is given twice", false, |it, random| {
        it.at_block_line(random, |line| format!("{line}\n{line}"))
    }),
    ("a line is indented by a tab", true, |it, random| {
        it.at_block_line(random, |line| format!("\t{}", line.trim_start()))
    }),
    ("a line is indented by too much", true, |it, random| {
        it.at_block_line(random, |line| format!("   {line}"))
    }),
    ("a merge key", false, |it, random| {
        it.at_block_line(random, |line| {
            let indent = &line[..line.len() - line.trim_start().len()];
            format!("{indent}<<: {{colour: blue}}\n{line}")
        })
    }),
    ("a colon is missing", true, |it, random| {
        it.at_block_line(random, |line| line.replacen(':', "", 1))
    }),
    ("a dash too many", true, |it, random| {
        it.at_block_line(random, |line| line.replacen(line.trim_start(), "- x", 1))
    }),
    ("a second document", true, |it, random| {
        it.at_block_line(random, |line| format!("---\n{line}"))
    }),
    ("lists without end", true, |it, random| {
        it.at_value(random, &"[".repeat(1_000))
    }),
];

/// Names that the user chooses: a slip there means another name.
const NAMES: &[&str] = &[
    "main", "users", "products", "partners", "sub", "tenant", "ring", "stage", "kty", "kid", "crv",
    "x", "y", "keys",
];
/// Keys of quantities.
const QUANTITIES: &[&str] = &[
    "timeout",
    "per_try_timeout",
    "lame_duck",
    "drain",
    "connect_timeout",
    "slow_start",
    "after",
    "clock_skew",
    "idle_timeout",
    "interval",
    "max_request_body",
    "base",
    "lifetime",
];

/// A file, and the line at which it was spoilt.
struct Spoilt {
    lines: Vec<String>,
    line: usize,
}

/// Where a key and its value stand in a line.
struct Place {
    line: usize,
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

impl Spoilt {
    fn of(text: &str) -> Self {
        Self {
            lines: text.lines().map(str::to_owned).collect(),
            line: 0,
        }
    }

    /// Every key of the format itself, with its value where that is one word.
    fn places(&self) -> Vec<Place> {
        let mut places = Vec::new();
        for (line, text) in self.lines.iter().enumerate() {
            let code = text.split(" #").next().unwrap_or_default();
            if code.trim_start().starts_with('#') {
                continue;
            }
            for (colon, _) in code.match_indices(':') {
                let is_end = code[colon + 1..].is_empty() || code[colon + 1..].starts_with(' ');
                let is_letter = |c: char| c.is_ascii_lowercase() || c == '_';
                let start = code[..colon].trim_end_matches(is_letter).len();
                let key = start..colon;
                let is_quoted = code[..start].matches('"').count() % 2 == 1;
                if !is_end || key.len() < 3 || is_quoted || NAMES.contains(&&code[key.clone()]) {
                    continue;
                }
                let rest = code[colon + 1..].trim_start();
                let value_start = code.len() - rest.len();
                let is_over = |c: char| matches!(c, ',' | '}' | ']' | '[' | '{');
                let length = rest.find(is_over).unwrap_or(rest.trim_end().len());
                let is_word = !rest.starts_with(is_over) && !rest.starts_with('"');
                let value = value_start..value_start + if is_word { length } else { 0 };
                places.push(Place { line, key, value });
            }
        }
        places
    }

    fn replace(&mut self, line: usize, range: std::ops::Range<usize>, text: &str) -> bool {
        self.lines[line].replace_range(range, text);
        self.line = line;
        true
    }

    fn at_key(&mut self, random: &mut Rng, spoil: fn(&str, &mut Rng) -> String) -> bool {
        let places = self.places();
        let Place { line, key, .. } = &places[random.usize(..places.len())];
        let spoilt = spoil(&self.lines[*line][key.clone()], random);
        self.replace(*line, key.clone(), &spoilt)
    }

    fn at_value(&mut self, random: &mut Rng, text: &str) -> bool {
        self.at_value_of(random, text, |_, _| true)
    }

    fn at_number(&mut self, random: &mut Rng, text: &str) -> bool {
        self.at_value_of(random, text, |_, value| value.parse::<u64>().is_ok())
    }

    fn at_quantity(&mut self, random: &mut Rng, text: &str) -> bool {
        self.at_value_of(random, text, |key, _| QUANTITIES.contains(&key))
    }

    fn at_value_of(
        &mut self,
        random: &mut Rng,
        text: &str,
        is_meant: fn(key: &str, value: &str) -> bool,
    ) -> bool {
        let mut places = self.places();
        places.retain(|place| {
            let line = &self.lines[place.line];
            let value = &line[place.value.clone()];
            !value.is_empty() && is_meant(&line[place.key.clone()], value)
        });
        if places.is_empty() {
            return false;
        }
        let Place { line, value, .. } = places.swap_remove(random.usize(..places.len()));
        self.replace(line, value, text)
    }

    /// A line within a block: indented as the key above it. An only child may be indented anyhow.
    fn at_block_line(&mut self, random: &mut Rng, spoil: fn(&str) -> String) -> bool {
        let places = self.places();
        let begins = |place: &&Place| {
            let before = &self.lines[place.line][..place.key.start];
            !before.is_empty() && before.trim().is_empty()
        };
        let begins: Vec<_> = places.iter().filter(begins).collect();
        let pairs = begins.windows(2).filter(|pair| {
            pair[0].line + 1 == pair[1].line && pair[0].key.start == pair[1].key.start
        });
        let lines: Vec<_> = pairs.map(|pair| pair[1]).collect();
        let line = lines[random.usize(..lines.len())].line;
        self.lines[line] = spoil(&self.lines[line]);
        self.line = line;
        true
    }
}

/// How the ends of lines and the beginning of the file are written: of no matter to the lines.
fn written(lines: &[String], random: &mut Rng) -> String {
    match random.u8(..4) {
        0 => lines.join("\r\n"),
        1 => format!("\u{feff}{}", lines.join("\n")),
        _ => lines.join("\n"),
    }
}

/// The lines that a problem of this line may be shown at: its own, the next one, which may be its
/// twin, and those that it belongs to, where what is missing is missing.
fn lines_of(lines: &[String], line: usize) -> Vec<usize> {
    let depth = |text: &str| text.len() - text.trim_start_matches([' ', '-']).len();
    let mut own = vec![line, line + 1];
    let mut least = depth(&lines[line]);
    for (above, text) in lines[..line].iter().enumerate().rev() {
        let is_code = !text.trim_start().is_empty() && !text.trim_start().starts_with('#');
        // The first key of an item stands for the item.
        let begins_item = text.trim_start().starts_with('-') && depth(text) == least;
        if is_code && (depth(text) < least || begins_item) {
            least = depth(text).min(least);
            own.push(above);
        }
    }
    own
}

/// Whether the problems name the line and say what to do.
fn judge(
    problems: &Problems,
    file: &[String],
    line: usize,
    is_yaml_broken: bool,
) -> Result<(), String> {
    if problems.iter().any(|it| it.position.is_none()) {
        return Err("a problem has no place".into());
    }
    let own = lines_of(file, line);
    let lines = problems.iter().filter_map(|it| it.position);
    let mut lines = lines.map(|it| it.line as usize - 1);
    // What YAML cannot tell shows where it cannot be read any further.
    if !lines.any(|found| own.contains(&found) || (is_yaml_broken && found > line)) {
        return Err(format!("nothing is said of line {}", line + 1));
    }
    let has_remedy = |it: &crate::config::Problem| {
        it.help.is_some() || it.message.starts_with("expected ") || it.path.contains(".match")
    };
    match problems.iter().find(|it| !has_remedy(it)) {
        Some(problem) => Err(format!("no remedy: {}", problem.message)),
        None => Ok(()),
    }
}

#[test]
fn every_sample_is_good() {
    for (name, text) in SAMPLES {
        let problems = refused(text);
        assert!(problems.is_none(), "{name}: {}", problems.expect("some"));
    }
}

#[test]
fn every_broken_file_gets_a_line_and_a_remedy() {
    let given = std::env::var("CORPUS_SEED").ok();
    let seed = given
        .as_deref()
        .map_or(SEED, |seed| seed.parse().expect("a number"));
    println!("CORPUS_SEED={seed}");
    let mut failures = String::new();
    let mut shown = String::new();
    let mut count = 0;
    for (kind, (mistake, is_yaml_broken, spoil)) in MISTAKES.iter().enumerate() {
        for (sample, (name, text)) in SAMPLES.iter().enumerate() {
            for round in 0..FILES_OF_A_KIND {
                let number = (kind * SAMPLES.len() + sample) as u64 * FILES_OF_A_KIND + round;
                let mut random = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number));
                let mut file = Spoilt::of(text);
                if !spoil(&mut file, &mut random) {
                    continue;
                }
                count += 1;
                let title = format!("{mistake}, {name}, file {number}, line {}", file.line + 1);
                let problems = refused(&written(&file.lines, &mut random));
                let verdict = match &problems {
                    None => Err("it is accepted".to_owned()),
                    Some(problems) => judge(problems, &file.lines, file.line, *is_yaml_broken),
                };
                let report = problems.map(|it| it.to_string()).unwrap_or_default();
                if let Err(why) = verdict {
                    let line = &file.lines[file.line];
                    let line: String = line.chars().take(120).collect();
                    writeln!(failures, "## {title}: {why}\n{line}\n{report}").unwrap();
                }
                if sample == kind % SAMPLES.len() && round == 0 && kind < SHOWN {
                    writeln!(shown, "## {title}\n{report}").unwrap();
                }
            }
        }
    }
    println!("{count} broken files");
    assert!(failures.is_empty(), "{failures}");
    assert!(count >= FILES_MIN, "only {count} files");
    if given.is_none() {
        expect_file!["corpus/reports.txt"].assert_eq(&shown);
    }
}

#[test]
fn files_that_are_no_routes_file_at_all_are_refused_with_a_remedy() {
    let laughs: String = (0..20)
        .map(|n| match n {
            0 => "a0: &a0 [x]\n".to_owned(),
            n => format!(
                "a{n}: &a{n} [{}]\n",
                vec![format!("*a{}", n - 1); 10].join(", ")
            ),
        })
        .collect();
    let garbage = String::from_utf8_lossy(&[0x7f, b'E', b'L', b'F', 0xff, 0, 1, 2]).into_owned();
    let cases = [
        ("nothing", String::new()),
        ("a remark", "# nothing\n".to_owned()),
        ("a word", "hello".to_owned()),
        ("a list", "- 1\n- 2\n".to_owned()),
        ("another document", "{\"openapi\": \"3.1.0\"}".to_owned()),
        ("a program", garbage),
        ("a billion laughs", laughs),
        ("a long line", format!("version: {}", "9".repeat(1_000_000))),
        (
            "an unfinished one",
            "version: 1\nroutes:\n  - name: a\n    match: {path: /".to_owned(),
        ),
    ];
    for (name, text) in cases {
        let problems = refused(&text).unwrap_or_else(|| panic!("{name} is accepted"));
        judge(&problems, &[text], 0, true)
            .unwrap_or_else(|why| panic!("{name}: {why}\n{problems}"));
    }
}
