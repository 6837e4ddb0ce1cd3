//! From a plan back to the lines of its file.

use crate::config::{Positions, item, join};
use crate::plan::{Origins, Plan};

/// The lines on which a file defines what its plan has.
pub(super) fn origins(file: &str, plan: &Plan, positions: &Positions) -> Origins {
    let line = |path: &str| {
        let is_given = positions.is_given(path);
        let position = positions.key(path).filter(|_| is_given);
        position.map(|position| position.line)
    };
    let named = |section: &str, name: &str| line(&join(section, name));
    let clusters = plan.clusters.iter();
    let providers = plan.providers.iter();
    let lists = plan.api_keys.iter();
    let routes = 0..plan.routes.len();
    Origins {
        file: file.into(),
        routes: routes.map(|index| line(&item("routes", index))).collect(),
        upstreams: clusters.map(|it| named("upstreams", &it.name)).collect(),
        jwt_providers: providers
            .map(|it| named("jwt_providers", &it.name))
            .collect(),
        api_keys: lists.map(|it| named("api_keys", &it.name)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Source;
    use crate::file::read;

    #[test]
    fn every_part_of_a_plan_leads_back_to_its_line() {
        let source = Source {
            name: "routes.yaml",
            text: "version: 1\n\
                upstreams:\n\
                \x20 b: {static: [\"127.0.0.1:1\"]}\n\
                \x20 a: {static: [\"127.0.0.1:1\"]}\n\
                routes:\n\
                \x20 - name: one\n\
                \x20   match: {path: /one}\n\
                \x20   auth: none\n\
                \x20   backends: [{upstream: a}]\n\
                \x20 - {name: two, match: {path: /two}, auth: none, respond: {status: 204}}\n",
        };
        let compiled = read(source, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let origins = compiled.plan.origins;
        assert_eq!(&*origins.file, "routes.yaml");
        assert_eq!(origins.routes, [Some(6), Some(10)]);
        assert_eq!(origins.upstreams, [Some(4), Some(3)], "in the plan's order");
    }
}
