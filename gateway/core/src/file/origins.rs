//! From a plan back to the lines of its file.

use crate::config::{Positions, Problems, item, join};
use crate::plan::{Line, Origins, Plan};

/// The lines on which files define what their plan has; `files` knows how they are called.
pub(super) fn origins(files: &Problems, plan: &Plan, positions: &Positions) -> Origins {
    let line = |path: &str| {
        let is_given = positions.is_given(path);
        let position = positions.key(path).filter(|_| is_given);
        position.map(|position| Line {
            file: position.file,
            line: position.line,
        })
    };
    let named = |section: &str, name: &str| line(&join(section, name));
    let clusters = plan.clusters.iter();
    let providers = plan.providers.iter();
    let lists = plan.api_keys.iter();
    let routes = 0..plan.routes.len();
    Origins {
        files: files.file_names().map(Into::into).collect(),
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
    use crate::plan::{Line, WrittenAt};

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
        assert_eq!(origins.main(), "routes.yaml");
        let at = |line| Some(Line { file: 0, line });
        assert_eq!(origins.routes, [at(6), at(10)]);
        assert_eq!(origins.upstreams, [at(4), at(3)], "in the plan's order");
        let written_at = |line| WrittenAt {
            file: Some("routes.yaml".into()),
            line: Some(line),
        };
        assert_eq!(origins.route(1), written_at(10));
        assert_eq!(origins.upstream(0), written_at(4));
        assert_eq!(
            origins.route(2),
            WrittenAt::default(),
            "none has this index"
        );
    }
}
