//! Numbers that mean the same from one plan to the next.
//!
//! Workers remember verified tokens by the numbers of policy and provider, and what they remember
//! outlives a plan. So a number is taken over only by what is the same in all that a verdict rests
//! on; everything else gets one that nothing ever had.

use std::collections::{HashMap, HashSet};
use std::mem;

use super::Plan;
use crate::auth::jwt::Provider;
use crate::auth::{Auth, Credential, Policy};

/// What a policy that has been looked at before became: its new number.
type Renamed = HashMap<u64, u64>;

impl Plan {
    /// Takes the numbers of `previous` over for what is the same, before this plan is used.
    ///
    /// `is_trust_kept` says of a provider of that name whether its keys and its deny list are those
    /// of before: with others, what was verified earlier has to be verified again.
    pub fn succeed(&mut self, previous: &Plan, is_trust_kept: impl Fn(&str) -> bool) {
        let mut next = previous.next_number;
        let mut number = |taken_over: Option<u64>| {
            taken_over.unwrap_or_else(|| {
                next += 1;
                next - 1
            })
        };
        for provider in &mut self.providers {
            let same = previous.providers.iter().find(|earlier| {
                // Only the number may differ.
                provider.id = earlier.id;
                *provider == **earlier && is_trust_kept(&earlier.name)
            });
            provider.id = number(same.map(|earlier| earlier.id));
        }
        let known = known(previous);
        let mut renamed = Renamed::new();
        let providers = &self.providers;
        for route in &mut self.routes {
            let Auth::AnyOf(policies) = &mut route.auth else {
                continue;
            };
            for policy in policies {
                let own = policy.id;
                policy.id = *renamed.entry(own).or_insert_with(|| {
                    let same = find(policy, providers, &known, previous);
                    number(same.map(|earlier| earlier.id))
                });
            }
        }
        self.next_number = next;
    }
}

/// The policies of a plan by a text that equal ones have in common: there may be thousands.
fn known(plan: &Plan) -> HashMap<String, Vec<&Policy>> {
    let policies = plan.routes.iter().flat_map(|route| route.auth.policies());
    let mut seen = HashSet::new();
    let mut known: HashMap<String, Vec<&Policy>> = HashMap::new();
    for policy in policies.filter(|policy| seen.insert(policy.id)) {
        known.entry(text(policy)).or_default().push(policy);
    }
    known
}

fn text(policy: &Policy) -> String {
    let Policy {
        networks,
        requirements,
        identity,
        withheld,
        ..
    } = policy;
    format!("{networks:?} {requirements:?} {identity:?} {withheld:?}")
}

fn find<'p>(
    policy: &Policy,
    providers: &[Provider],
    known: &HashMap<String, Vec<&'p Policy>>,
    previous: &Plan,
) -> Option<&'p Policy> {
    let alike = known.get(&text(policy))?.iter();
    let is_same = |earlier: &&&Policy| {
        is_same_credential(
            (&policy.credential, providers),
            (&earlier.credential, &previous.providers),
        ) && policy.networks == earlier.networks
            && policy.requirements == earlier.requirements
            && policy.identity == earlier.identity
            && policy.withheld == earlier.withheld
    };
    alike.copied().find(|earlier| is_same(&earlier))
}

/// Indices mean something in their own plan only; of a provider the number tells.
fn is_same_credential(one: (&Credential, &[Provider]), other: (&Credential, &[Provider])) -> bool {
    let numbers = |indices: &[usize], providers: &[Provider]| -> Vec<u64> {
        indices.iter().map(|index| providers[*index].id).collect()
    };
    match (one.0, other.0) {
        (Credential::Jwt(own), Credential::Jwt(earlier)) => {
            numbers(own, one.1) == numbers(earlier, other.1)
        }
        // Nothing is remembered of a verdict on these.
        (one, other) => mem::discriminant(one) == mem::discriminant(other),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use crate::config::Source;
    use crate::file::read;

    use super::*;

    const PROVIDERS: [(&str, &str); 2] = [("a", "api"), ("b", "api")];
    const ROUTES: [(&str, &str, &str); 3] = [
        ("one", "a", "read"),
        ("two", "a", "read"),
        ("three", "[a, b]", "write"),
    ];

    fn plan(providers: &[(&str, &str)], routes: &[(&str, &str, &str)]) -> Plan {
        let mut text = String::from("version: 1\njwt_providers:\n");
        for (name, audience) in providers {
            let _infallible = writeln!(
                text,
                "  {name}: {{issuer: \"https://{name}.example/\", audiences: [{audience}], \
                 algorithms: [ES256], jwks_file: /nowhere}}"
            );
        }
        text += "routes:\n";
        for (name, jwt, scope) in routes {
            let _infallible = writeln!(
                text,
                "  - {{name: {name}, match: {{path: /{name}}}, respond: {{status: 204}}, \
                 auth: {{jwt: {jwt}, require: {{scopes: {{all: [{scope}]}}}}}}}}"
            );
        }
        let source = Source {
            name: "the test's file",
            text: &text,
        };
        let compiled = read(source, &|_| None);
        compiled
            .unwrap_or_else(|problems| panic!("{problems}"))
            .plan
    }

    /// The number of each route's one policy.
    fn numbers(plan: &Plan) -> Vec<u64> {
        let ids = plan.routes.iter().flat_map(|route| route.auth.policies());
        ids.map(|policy| policy.id).collect()
    }

    #[test]
    fn a_policy_keeps_its_number_as_long_as_its_verdicts_hold() {
        let before = plan(&PROVIDERS, &ROUTES);
        let [one, _, three] = numbers(&before)[..] else {
            panic!("three routes");
        };
        let with_more = [PROVIDERS[0], PROVIDERS[1], ("aa", "api")];
        let with_other = [PROVIDERS[0], ("b", "other")];
        let moved = [ROUTES[2], ("four", "b", "read"), ROUTES[0]];
        let stricter = [("one", "a", "admin"), ROUTES[1], ROUTES[2]];
        let turned = [ROUTES[0], ROUTES[1], ("three", "[b, a]", "write")];
        let is_new = None;
        let table: [(&str, Plan, &str, &[Option<u64>]); 6] = [
            (
                "nothing",
                plan(&PROVIDERS, &ROUTES),
                "",
                &[Some(one), Some(one), Some(three)],
            ),
            (
                "the order, and another provider",
                plan(&with_more, &moved),
                "",
                &[Some(three), is_new, Some(one)],
            ),
            (
                "what one route asks for",
                plan(&PROVIDERS, &stricter),
                "",
                &[is_new, Some(one), Some(three)],
            ),
            (
                "a provider's audience",
                plan(&with_other, &ROUTES),
                "",
                &[Some(one), Some(one), is_new],
            ),
            (
                "a provider's keys",
                plan(&PROVIDERS, &ROUTES),
                "a",
                &[is_new, is_new, is_new],
            ),
            (
                "the order of providers",
                plan(&PROVIDERS, &turned),
                "",
                &[Some(one), Some(one), is_new],
            ),
        ];
        for (what, mut after, other_keys, expected) in table {
            after.succeed(&before, |name| name != other_keys);
            for (number, expected) in numbers(&after).into_iter().zip(expected) {
                match expected {
                    Some(expected) => assert_eq!(number, *expected, "{what}"),
                    None => assert!(number >= before.next_number, "{what}"),
                }
            }
            assert!(numbers(&after).iter().all(|it| *it < after.next_number));
        }
    }

    #[test]
    fn a_number_that_was_given_up_never_comes_back() {
        let first = plan(&PROVIDERS, &ROUTES);
        let mut second = plan(&PROVIDERS, &[("one", "a", "admin")]);
        second.succeed(&first, |_| true);
        let mut third = plan(&PROVIDERS, &ROUTES);
        third.succeed(&second, |_| true);
        for number in numbers(&third) {
            assert!(!numbers(&first).contains(&number));
            assert!(!numbers(&second).contains(&number));
        }
    }
}
