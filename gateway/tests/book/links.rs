//! The summary has every page, and links lead somewhere.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::none;
use crate::page::{Page, is_summary, root};

/// What is not ours to look at.
const ELSEWHERE: [&str; 3] = ["https://", "http://", "mailto:"];

#[test]
fn the_summary_has_every_page_once() {
    let summary = Page::read("docs/SUMMARY.md");
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (_, target) in &summary.links {
        *counts.entry(format!("docs/{target}")).or_default() += 1;
    }
    let mut complaints = Vec::new();
    let pages = Page::all();
    for page in pages.iter().filter(|page| page.path.starts_with("docs/")) {
        match counts.remove(&page.path).unwrap_or_default() {
            1 => {}
            0 => complaints.push(format!("{} is missing", page.path)),
            count => complaints.push(format!("{} is there {count} times", page.path)),
        }
    }
    complaints.extend(counts.into_keys().map(|path| format!("{path} is no page")));
    none(
        &complaints,
        "docs/SUMMARY.md: one line a page, where it is to be read",
    );
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    let pages: Vec<_> = Page::all_linked();
    let anchors: BTreeMap<_, _> = pages
        .iter()
        .map(|it| (it.path.as_str(), &it.anchors))
        .collect();
    let mut complaints = Vec::new();
    for page in &pages {
        for (line, link) in &page.links {
            if ELSEWHERE.iter().any(|start| link.starts_with(start)) {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                page.path.clone()
            } else {
                joined(page.folder(), file)
            };
            let problem = if !root().join(&target).exists() {
                Some(format!("there is no {target}"))
            } else if anchor.is_empty() {
                None
            } else if let Some(known) = anchors.get(target.as_str()) {
                (!known.contains(anchor)).then(|| format!("{target} has no heading #{anchor}"))
            } else {
                Some(format!("{target} is no page whose headings are known"))
            };
            let problem = problem.map(|it| format!("{}:{line}: [{link}]: {it}", page.path));
            complaints.extend(problem);
        }
    }
    none(&complaints, "mend the link");
}

#[test]
fn links_of_the_summary_are_what_mdbook_reads() {
    let summary = Page::read("docs/SUMMARY.md");
    assert!(is_summary(&summary.path));
    for (line, target) in &summary.links {
        let is_plain = !target.contains(['/', '#'])
            && Path::new(target).extension().is_some_and(|it| it == "md");
        assert!(
            is_plain,
            "docs/SUMMARY.md:{line}: `{target}` is not a page of this folder"
        );
    }
}

/// `file` as it is written on a page in `folder`, from the root.
fn joined(folder: &Path, file: &str) -> String {
    let mut path = PathBuf::new();
    for part in folder.join(file).components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    path.to_string_lossy().into_owned()
}

#[test]
fn a_link_is_read_from_the_folder_of_its_page() {
    for (folder, file, path) in [
        ("docs", "a.md", "docs/a.md"),
        ("docs", "../README.md", "README.md"),
        ("", "docs/a.md", "docs/a.md"),
    ] {
        assert_eq!(joined(Path::new(folder), file), path);
    }
}
