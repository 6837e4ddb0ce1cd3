//! The text format of `OpenMetrics`, read line by line.

use std::collections::{BTreeMap, BTreeSet};

/// One scrape.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Values by series: name and labels as written.
    values: BTreeMap<String, String>,
    /// Types by family.
    pub(crate) types: BTreeMap<String, String>,
    /// Lines with an exemplar, and what it says.
    pub(crate) exemplars: Vec<(String, String)>,
}

impl Metrics {
    /// Reads a scrape; panics with the line that is not of the format.
    pub(crate) fn parse(text: &str) -> Self {
        let mut metrics = Self {
            values: BTreeMap::new(),
            types: BTreeMap::new(),
            exemplars: Vec::new(),
        };
        let lines = text
            .strip_suffix("# EOF\n")
            .unwrap_or_else(|| panic!("no end: {text}"));
        for line in lines.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                metrics.comment(comment);
            } else {
                metrics.sample(line);
            }
        }
        metrics
    }

    fn comment(&mut self, comment: &str) {
        let mut words = comment.splitn(3, ' ');
        let (kind, name, rest) = (words.next(), words.next(), words.next());
        let name = name.unwrap_or_else(|| panic!("no name: {comment}"));
        match (kind, rest) {
            (Some("TYPE"), Some(kind)) => {
                let earlier = self.types.insert(name.into(), kind.into());
                assert_eq!(earlier, None, "a family twice: {comment}");
            }
            (Some("HELP"), Some(_)) => {}
            _ => panic!("not of the format: {comment}"),
        }
    }

    fn sample(&mut self, line: &str) {
        let line = match line.split_once(" # ") {
            Some((line, exemplar)) => {
                self.exemplars.push((line.to_owned(), exemplar.to_owned()));
                line
            }
            None => line,
        };
        let (series, value) = line
            .rsplit_once(' ')
            .unwrap_or_else(|| panic!("no value: {line}"));
        if let Err(error) = value.parse::<f64>() {
            panic!("{error}: {line}");
        }
        let name = series.split('{').next().unwrap_or(series);
        let suffixes: &[&str] = match self.family(name) {
            Some("counter") => &["_total"],
            Some("gauge") => &[""],
            Some("histogram") => &["_bucket", "_sum", "_count"],
            other => panic!("{other:?}: {line}"),
        };
        assert!(
            suffixes.iter().any(|suffix| name.ends_with(suffix)),
            "{line}"
        );
        let earlier = self.values.insert(series.into(), value.into());
        assert_eq!(earlier, None, "a series twice: {line}");
    }

    /// The type of the family that a sample belongs to.
    fn family(&self, sample: &str) -> Option<&str> {
        let suffixes = ["", "_total", "_bucket", "_sum", "_count"];
        let names = suffixes
            .iter()
            .filter_map(|suffix| sample.strip_suffix(suffix));
        names
            .filter_map(|name| self.types.get(name))
            .map(String::as_str)
            .next()
    }

    /// The value of a counter or gauge; 0 where it is absent, as a sum would have it.
    pub(crate) fn value(&self, series: &str) -> u64 {
        self.values
            .get(series)
            .map_or(0, |value| whole(series, value))
    }

    /// All counters or gauges of a name, with their values.
    pub(crate) fn series(&self, name: &str) -> Vec<(&str, u64)> {
        let found = self.values.iter().filter(|(series, _)| is_of(name, series));
        found
            .map(|(series, value)| (series.as_str(), whole(series, value)))
            .collect()
    }

    /// The names of the labels that the series of a family have, `le` aside; nothing without series.
    pub(crate) fn labels(&self, family: &str) -> Option<BTreeSet<&str>> {
        let mut found: Option<BTreeSet<&str>> = None;
        for series in self.values.keys() {
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let suffix = name.strip_prefix(family);
            if suffix.is_some_and(|it| ["", "_total", "_bucket"].contains(&it)) {
                let labels = labels.trim_end_matches('}').split(',');
                let names = labels.filter_map(|label| Some(label.split_once('=')?.0));
                let names = names.filter(|name| *name != "le");
                found.get_or_insert_default().extend(names);
            }
        }
        found
    }

    /// The sum of all series of a name, in seconds.
    pub(crate) fn seconds(&self, name: &str) -> f64 {
        let found = self.values.iter().filter(|(series, _)| is_of(name, series));
        found
            .map(|(_, value)| value.parse::<f64>().expect("checked as it was read"))
            .sum()
    }
}

fn is_of(name: &str, series: &str) -> bool {
    series.split('{').next() == Some(name)
}

fn whole(series: &str, value: &str) -> u64 {
    value
        .parse()
        .unwrap_or_else(|error| panic!("{error}: {series} {value}"))
}
