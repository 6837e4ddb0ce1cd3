//! Whatever a file holds, decoding ends with a value or with problems.

use super::super::MAX_PROBLEMS;
use super::read;
use super::sample::{File, SAMPLE};

const CASES: u64 = 6_000;

/// Pieces that mean something to YAML, to variables or to a terminal.
const PIECES: &[&str] = &[
    "\t",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\r",
    "---\n",
    "...\n",
    ":",
    ": ",
    "- ",
    "? ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "#",
    "&a ",
    "*a",
    "*map",
    "!t ",
    "|",
    ">",
    "'",
    "\"",
    "%",
    "@",
    "`",
    "<<: ",
    "${",
    "}",
    "$$",
    "${A}",
    "${SECRET}",
    "${EMPTY}",
    "~",
    "null",
    "-1",
    ".nan",
    "1e999",
    "0x",
    "99999999999999999999999999999999999999999999",
    "\0",
    "\u{1b}[31m",
    "\u{feff}",
    "\u{2028}",
    "\u{202e}",
    "é",
    "\u{1f600}",
    "\\",
];

#[test]
fn no_mutation_of_a_good_file_panics_and_every_refusal_says_why() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for case in 0..CASES {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(case));
        let mut text = SAMPLE.to_owned();
        for _ in 0..random.usize(1..=4) {
            text = mutate(&text, &mut random);
        }
        let Err(problems) = read::<File>(&text) else {
            continue;
        };
        let shown = problems.to_string();
        assert!(!problems.is_empty(), "case {case}:\n{text}");
        assert!(problems.len() <= MAX_PROBLEMS, "case {case}:\n{text}");
        assert!(!shown.contains("hunter22"), "case {case}:\n{shown}");
        assert!(!shown.contains('\u{1b}'), "case {case}:\n{shown}");
        assert!(!shown.contains("cannot be decoded"), "case {case}:\n{text}");
        assert!(!shown.contains("reported already"), "case {case}:\n{text}");
        assert!(
            problems.iter().all(|problem| !problem.message.is_empty()),
            "case {case}:\n{text}"
        );
        assert!(
            problems.iter().all(|problem| problem.position.is_some()),
            "case {case}:\n{text}\n{shown}"
        );
    }
}

#[test]
fn any_bytes_that_are_text_are_read_to_an_end() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    for case in 0..CASES {
        let mut random = fastrand::Rng::with_seed(seed.wrapping_add(case));
        let length = random.usize(0..60);
        let text: String = (0..length)
            .map(|_| PIECES[random.usize(..PIECES.len())])
            .collect();
        if let Err(problems) = read::<serde_json::Value>(&text) {
            assert!(!problems.is_empty(), "case {case}: {text:?}");
        }
    }
}

fn mutate(text: &str, random: &mut fastrand::Rng) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    let index = random.usize(..lines.len());
    let other = random.usize(..lines.len());
    match random.u8(..8) {
        0 => drop(lines.remove(index)),
        1 => lines.swap(index, other),
        2 => lines.insert(other, lines[index].clone()),
        3 => lines[index].insert_str(0, &" ".repeat(random.usize(1..5))),
        4 => lines[index] = lines[index].trim_start().to_owned(),
        kind => {
            let line = &lines[index];
            let boundaries: Vec<usize> = line
                .char_indices()
                .map(|(at, _)| at)
                .chain([line.len()])
                .collect();
            let start = boundaries[random.usize(..boundaries.len())];
            let rest = &line[start..];
            let rest = match kind {
                5 => rest,
                6 => rest.get(1..).unwrap_or(""),
                _ => rest.get(random.usize(..=rest.len())..).unwrap_or(""),
            };
            let piece = PIECES[random.usize(..PIECES.len())];
            lines[index] = format!("{}{piece}{rest}", &line[..start]);
        }
    }
    lines.join("\n")
}
