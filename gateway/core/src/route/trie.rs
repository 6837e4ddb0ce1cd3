//! The index of paths: a trie of segments, so that the cost of a match depends
//! on the request and not on the number of routes.

use std::cmp::Reverse;
use std::ops::ControlFlow;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::RouteIndex;
use super::method::MethodRule;
use super::params::Captures;
use super::path_rule::{Kind, PathRule, Segment};

/// Keys come from the configuration alone and requests only look up, so a fixed
/// hash cannot be flooded.
pub(super) type Map<V> = HashMap<Box<str>, V, FixedState>;

/// A route at its place in the index, with all that decides its precedence
/// among the routes of that place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) route: RouteIndex,
    pub(super) methods: MethodRule,
    pub(super) header_count: usize,
    pub(super) query_count: usize,
}

impl Entry {
    /// Lower wins; equal ranks at one place must exclude each other.
    pub(super) fn rank(&self) -> (u8, Reverse<usize>, Reverse<usize>) {
        (
            self.methods.rank(),
            Reverse(self.header_count),
            Reverse(self.query_count),
        )
    }
}

/// The paths of one host, in three parts that are searched in turn.
#[derive(Debug, Default)]
pub(super) struct Paths {
    /// Whole literal paths.
    pub(super) exact: Map<Vec<Entry>>,
    /// Whole paths with parameters.
    pub(super) closed: Trie,
    /// Paths with an open end: prefixes and tails.
    pub(super) open: Trie,
}

impl Paths {
    pub(super) fn insert(&mut self, path: &PathRule, entry: Entry) {
        let list = match path.kind {
            Kind::Exact => self
                .exact
                .entry(exact_key(&path.segments).into())
                .or_default(),
            Kind::Pattern => &mut self.closed.node_mut(&path.segments).at_end,
            Kind::Tail => &mut self.open.node_mut(&path.segments).tail,
            Kind::Prefix => &mut self.open.node_mut(&path.segments).prefix,
        };
        list.push(entry);
        // Stable, so that routes of equal rank stay in the order of the file;
        // they exclude each other, so no request can tell.
        list.sort_by_key(Entry::rank);
    }

    /// Visits the routes whose path matches, in order of precedence.
    pub(super) fn walk<'a, B>(
        &'a self,
        path: &'a str,
        visit: &mut impl FnMut(&'a Entry, &Captures<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let mut captures = Captures::default();
        if let Some(entries) = self.exact.get(path) {
            visit_all(entries, &captures, visit)?;
        }
        self.closed.walk(path, &mut captures, visit)?;
        self.open.walk(path, &mut captures, visit)
    }

    /// Every list of routes that share a place.
    pub(super) fn lists(&self) -> impl Iterator<Item = &[Entry]> {
        let exact = self.exact.values().map(Vec::as_slice);
        exact.chain(self.closed.lists()).chain(self.open.lists())
    }

    /// The routes for whole paths of exactly these segments.
    pub(super) fn closed_at(&self, segments: &[Segment]) -> &[Entry] {
        if segments.contains(&Segment::Parameter) {
            let node = self.closed.node(segments);
            return node.map_or(&[], |node| &node.at_end);
        }
        self.exact
            .get(exact_key(segments).as_str())
            .map_or(&[], Vec::as_slice)
    }
}

fn exact_key(segments: &[Segment]) -> String {
    segments.iter().fold(String::new(), |mut key, segment| {
        key.push('/');
        if let Segment::Literal(text) = segment {
            key.push_str(text);
        }
        key
    })
}

/// A trie of segments; node 0 is the root.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
pub(super) struct Node {
    literals: Map<usize>,
    parameter: Option<usize>,
    pub(super) at_end: Vec<Entry>,
    pub(super) tail: Vec<Entry>,
    pub(super) prefix: Vec<Entry>,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl Trie {
    fn node_mut(&mut self, segments: &[Segment]) -> &mut Node {
        let mut index = 0;
        for segment in segments {
            let next = self.nodes.len();
            let node = &mut self.nodes[index];
            index = match segment {
                Segment::Literal(text) => *node.literals.entry(text.clone()).or_insert(next),
                Segment::Parameter => *node.parameter.get_or_insert(next),
            };
            if index == next {
                self.nodes.push(Node::default());
            }
        }
        &mut self.nodes[index]
    }

    /// Every list of routes that share a place.
    pub(super) fn lists(&self) -> impl Iterator<Item = &[Entry]> {
        let nodes = self.nodes.iter();
        nodes
            .flat_map(|node| [&node.at_end, &node.tail, &node.prefix])
            .map(Vec::as_slice)
    }

    pub(super) fn node(&self, segments: &[Segment]) -> Option<&Node> {
        let mut index = 0;
        for segment in segments {
            let node = &self.nodes[index];
            index = match segment {
                Segment::Literal(text) => *node.literals.get(text)?,
                Segment::Parameter => node.parameter?,
            };
        }
        self.nodes.get(index)
    }

    /// Every node with the segments that lead to it.
    pub(super) fn each_node(&self, visit: &mut impl FnMut(&[Segment], &Node)) {
        self.each_node_below(0, &mut Vec::new(), visit);
    }

    /// As deep as the longest route: `MAX_SEGMENTS`.
    fn each_node_below(
        &self,
        index: usize,
        segments: &mut Vec<Segment>,
        visit: &mut impl FnMut(&[Segment], &Node),
    ) {
        let node = &self.nodes[index];
        visit(segments, node);
        let literals = node.literals.iter();
        let children = literals
            .map(|(text, child)| (Segment::Literal(text.clone()), *child))
            .chain(node.parameter.map(|child| (Segment::Parameter, child)));
        for (segment, child) in children {
            segments.push(segment);
            self.each_node_below(child, segments, visit);
            segments.pop();
        }
    }

    /// How many nodes one search can visit beside the purely literal ones.
    ///
    /// The literals on the way to a node are given by the request, so a node is
    /// told from others of its depth by the places of its parameters alone: one
    /// search visits at most one node for each arrangement of parameters.
    pub(super) fn arrangements(&self) -> usize {
        let mut seen: HashSet<(usize, u32), FixedState> = HashSet::default();
        self.each_node(&mut |segments, _| {
            let places = segments
                .iter()
                .enumerate()
                .fold(0_u32, |places, (at, segment)| {
                    places | u32::from(*segment == Segment::Parameter) << at
                });
            if places != 0 {
                seen.insert((segments.len(), places));
            }
        });
        seen.len()
    }

    fn walk<'a, B>(
        &'a self,
        path: &'a str,
        captures: &mut Captures<'a>,
        visit: &mut impl FnMut(&'a Entry, &Captures<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.walk_node(0, path.get(1..), captures, visit)
    }

    /// Depth first, the narrower branch first: literal, parameter, tail, prefix.
    /// `rest` is what follows the slash after this node; `None` at the end.
    fn walk_node<'a, B>(
        &'a self,
        index: usize,
        rest: Option<&'a str>,
        captures: &mut Captures<'a>,
        visit: &mut impl FnMut(&'a Entry, &Captures<'a>) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        let node = &self.nodes[index];
        if let Some(rest) = rest {
            let (segment, after) = split_segment(rest);
            if let Some(child) = node.literals.get(segment) {
                self.walk_node(*child, after, captures, visit)?;
            }
            if let Some(child) = node.parameter
                && !segment.is_empty()
            {
                captures.push(segment);
                self.walk_node(child, after, captures, visit)?;
                captures.pop();
            }
            if !node.tail.is_empty() {
                captures.push(rest);
                visit_all(&node.tail, captures, visit)?;
                captures.pop();
            }
        } else {
            visit_all(&node.at_end, captures, visit)?;
        }
        visit_all(&node.prefix, captures, visit)
    }
}

fn split_segment(rest: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'/', rest.as_bytes()) {
        Some(slash) => (&rest[..slash], Some(&rest[slash + 1..])),
        None => (rest, None),
    }
}

fn visit_all<'a, B>(
    entries: &'a [Entry],
    captures: &Captures<'a>,
    visit: &mut impl FnMut(&'a Entry, &Captures<'a>) -> ControlFlow<B>,
) -> ControlFlow<B> {
    for entry in entries {
        visit(entry, captures)?;
    }
    ControlFlow::Continue(())
}
