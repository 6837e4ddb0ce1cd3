//! From what a route says to what is matched.

use super::condition::{self, Condition};
use super::host::{self, HostRule};
use super::method::{self, MethodNames, MethodRule};
use super::path_rule::{self, PathRule};
use super::spec::{MatchSpec, Problems, SpecProblem};

/// A `match` without a problem of its own.
#[derive(Clone, Debug)]
pub(super) struct CompiledMatch {
    pub(super) hosts: Vec<HostRule>,
    pub(super) path: PathRule,
    pub(super) methods: Vec<MethodRule>,
    /// Headers first, then query.
    pub(super) conditions: Vec<Condition>,
}

/// Compiles one spec, or says everything that is wrong with it.
pub(super) fn compile(
    spec: &MatchSpec,
    names: &mut MethodNames,
) -> Result<CompiledMatch, Vec<SpecProblem>> {
    let mut problems = Problems::default();
    let path = path_rule::compile(spec, &mut problems);
    let hosts = host::compile(spec.hosts.as_deref(), &mut problems);
    let methods = method::compile(spec.methods.as_deref(), names, &mut problems);
    let mut conditions = Vec::with_capacity(spec.headers.len() + spec.query.len());
    condition::compile_headers(&spec.headers, &mut problems, &mut conditions);
    condition::compile_query(&spec.query, &mut problems, &mut conditions);
    let compiled = path.map(|path| CompiledMatch {
        hosts,
        path,
        methods,
        conditions,
    });
    problems.into_result(compiled)
}
