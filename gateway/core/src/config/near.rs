//! Near misses: which known word somebody most likely meant.

/// The candidate that `word` is most likely a misspelling of.
///
/// One edit is allowed for every three characters of the longer word, at most
/// three; a swap of neighbours is one edit. Case and the choice between `-`
/// and `_` count for nothing. Of equally near candidates the first wins.
/// Words of one or two characters have no near miss, unless they differ in
/// case alone.
#[must_use]
pub fn near<'c, I>(word: &str, candidates: I) -> Option<&'c str>
where
    I: IntoIterator<Item = &'c str>,
{
    let word = fold(word);
    candidates
        .into_iter()
        .filter_map(|candidate| {
            let folded = fold(candidate);
            let longer = word.chars().count().max(folded.chars().count());
            // The distance is never below the difference in length, and is
            // quadratic to compute: a key of a megabyte must not get there.
            let shorter = word.chars().count().min(folded.chars().count());
            let allowed = (longer / 3).min(MAX_EDITS);
            if longer - shorter > allowed {
                return None;
            }
            let distance = strsim::osa_distance(&word, &folded);
            (distance <= allowed).then_some((distance, candidate))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// More edits than this make a different word.
const MAX_EDITS: usize = 3;

fn fold(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

/// `` `a`, `b`, `c` ``, for the end of a message.
pub(super) fn list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// The first line of a help text when there is a near miss, and the choices.
pub(super) fn suggest(word: &str, known: &[&str], what: &str) -> Option<String> {
    if known.is_empty() {
        return None;
    }
    let choices = format!("known {what}: {}", list(known));
    Some(match near(word, known.iter().copied()) {
        Some(candidate) => format!("did you mean `{candidate}`?\n{choices}"),
        None => choices,
    })
}

#[cfg(test)]
mod tests {
    use super::near;

    #[test]
    fn a_near_miss_is_within_one_edit_in_three_characters() {
        let known = ["timeout", "retries", "path", "path_prefix", "RS256", "no"];
        for (word, expected) in [
            ("timout", Some("timeout")),
            ("tiemout", Some("timeout")),
            ("TimeOut", Some("timeout")),
            ("path-prefix", Some("path_prefix")),
            ("pth", Some("path")),
            ("paths", Some("path")),
            ("RS255", Some("RS256")),
            ("NO", Some("no")),
            ("on", None),
            ("backends", None),
            ("", None),
        ] {
            assert_eq!(near(word, known), expected, "{word}");
        }
    }

    #[test]
    fn an_enormous_word_costs_nothing() {
        assert_eq!(near(&"a".repeat(1 << 20), ["timeout"]), None);
    }
}
