//! The record of the checks that the request path's own code makes.

use super::story::{Authentication, CheckStory, PolicyStory};
use super::{Caller, Plan, Route, is_open};
use crate::auth::credential::Place;
use crate::auth::witness::{Check, Witness};
use crate::auth::{Credential, Policy};
use crate::words::rejection::Rejection;

/// Checks that are written down; a file may ask for more, and the rest is left out.
const CHECKS_MAX: usize = 1_000;

/// Writes down what it sees.
#[derive(Debug, Default)]
pub(super) struct Trial {
    policy: usize,
    provider: Option<usize>,
    passed_over: Vec<usize>,
    refused: Vec<usize>,
    admitted: Option<usize>,
    checks: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    policy: usize,
    provider: Option<usize>,
    check: &'static str,
    subject: Option<String>,
    refused: Option<Rejection>,
}

impl Witness for Trial {
    fn policy(&mut self, index: usize) {
        (self.policy, self.provider) = (index, None);
    }

    fn ended(&mut self, is_admitted: bool) {
        if is_admitted {
            self.admitted = Some(self.policy);
        } else {
            self.refused.push(self.policy);
        }
    }

    fn passed_over(&mut self, index: usize) {
        self.passed_over.push(index);
    }

    fn provider(&mut self, index: usize) {
        self.provider = Some(index);
    }

    fn saw(&mut self, check: Check<'_>, outcome: Result<(), &Rejection>) {
        if self.checks.len() == CHECKS_MAX {
            return;
        }
        let is_of_provider = !matches!(
            check,
            Check::Form
                | Check::Header
                | Check::Claims
                | Check::Scopes
                | Check::Claim(_)
                | Check::IdentityHeaders
        );
        self.checks.push(Seen {
            policy: self.policy,
            provider: self.provider.filter(|_| is_of_provider),
            check: check.as_str(),
            subject: match check {
                Check::Claim(path) => Some(path.into()),
                Check::Credential(Some(place)) => Some(place_words(place)),
                _ => None,
            },
            refused: outcome.err().cloned(),
        });
    }
}

fn place_words(place: &Place) -> String {
    match place {
        Place::Authorization => "header authorization".into(),
        Place::Header(name) => format!("header {name}"),
        Place::Cookie(name) => format!("cookie {name}"),
    }
}

impl Trial {
    pub(super) fn into_story(
        self,
        plan: &Plan,
        route: &Route,
        caller: Option<&Caller>,
    ) -> Authentication {
        let policies = route.auth.policies();
        let stories = policies.iter().enumerate();
        let stories = stories.map(|(index, policy)| self.policy_story(plan, index, policy));
        Authentication {
            is_open: is_open(route),
            policies: stories.collect(),
            subject: caller.and_then(|caller| caller.subject.clone()),
            issuer: caller.and_then(|caller| caller.issuer.clone()),
            scopes: caller.map(|caller| caller.scopes.clone()),
        }
    }

    fn policy_story(&self, plan: &Plan, index: usize, policy: &Policy) -> PolicyStory {
        let of_this = self.checks.iter().filter(|seen| seen.policy == index);
        let checks: Vec<_> = of_this.map(|seen| seen.story(plan)).collect();
        let provider = |index: &usize| plan.providers[*index].name.clone();
        let (kind, by) = match &policy.credential {
            Credential::Jwt(indices) => ("jwt", indices.iter().map(provider).collect()),
            Credential::ApiKey(list) => ("api_key", vec![plan.api_keys[*list].name.clone()]),
            Credential::Network => ("network", Vec::new()),
        };
        let verdict = match index {
            _ if self.admitted == Some(index) => "admits",
            _ if self.refused.contains(&index) => "refuses",
            _ if self.passed_over.contains(&index) => "passed_over",
            _ => "not_tried",
        };
        PolicyStory {
            kind,
            by,
            verdict,
            checks,
        }
    }
}

impl Seen {
    fn story(&self, plan: &Plan) -> CheckStory {
        let refused = self.refused.as_ref();
        CheckStory {
            provider: self
                .provider
                .map(|index| plan.providers[index].name.clone()),
            check: self.check,
            subject: self.subject.clone(),
            has_passed: refused.is_none(),
            reason: refused.map(|rejection| rejection.reason.code()),
            detail: refused
                .and_then(|rejection| rejection.detail.as_deref())
                .map(Into::into),
        }
    }
}
