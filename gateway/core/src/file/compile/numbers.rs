//! What is told apart by number while requests are served.

use std::collections::HashMap;

use http::HeaderName;

use crate::auth::jwt::Provider;
use crate::auth::{Auth, Policy};
use crate::plan::Route;

pub(super) fn number_providers(providers: &mut [Provider]) {
    for (provider, number) in providers.iter_mut().zip(0..) {
        provider.id = number;
    }
}

/// Equal policies get one number: a token that was verified for one of them is known to all.
/// Returns the next number.
pub(super) fn number_policies(routes: &mut [Route]) -> u64 {
    // By their text first, because a file may have thousands.
    let mut known: HashMap<String, Vec<(&Policy, u64)>> = HashMap::new();
    let mut ids = Vec::new();
    let mut next = 0;
    for policy in policies(routes) {
        let alike = known.entry(format!("{policy:?}")).or_default();
        let same = alike.iter().find(|(other, _)| *other == policy);
        if let Some((_, id)) = same {
            ids.push(*id);
            continue;
        }
        alike.push((policy, next));
        ids.push(next);
        next += 1;
    }
    let all = routes.iter_mut().flat_map(|route| match &mut route.auth {
        Auth::Open => &mut [],
        Auth::AnyOf(policies) => &mut policies[..],
    });
    for (policy, id) in all.zip(ids) {
        policy.id = id;
    }
    next
}

fn policies(routes: &[Route]) -> impl Iterator<Item = &Policy> {
    routes.iter().flat_map(|route| route.auth.policies())
}

/// The headers that routes make of claims.
pub(super) fn identity_headers(routes: &[Route]) -> Vec<HeaderName> {
    let headers = policies(routes).flat_map(|policy| policy.identity.names().cloned());
    headers.collect()
}
