//! Files that are YAML and say the wrong thing.

use expect_test::expect;

use super::check;
use super::sample::File;
use super::small::Small;

#[test]
fn values_of_the_wrong_kind_say_what_was_expected_and_found() {
    check::<Small>(
        &[
            "port: 65536\nsigned: -2147483649\nratio: .nan",
            "port: -1\nratio: -.inf\nsigned: 1.5",
            "port: 99999999999999999999999999999999999999999999999999999999999999999999\nany: 99999999999999999999999999",
            "port: \"80\"\nflag: \"true\"\nratio: '1'",
            "flag: yes\nport: on\nlist: no",
            "port:\nname: ~\nwait:\nlist:\nflag: null",
            "name: [a]\nlist: a\nmap: [a]\nnested: [1]\nwait: [10s]\nport: {a: 1}",
            "wait: 10\nsize: 10x",
            "wait: {s: 10}\nsize: [1]",
            "list: [a, [b], {c: d}, e]",
            "map: {a: 1, b: 256, c: x}",
            "pair: [1]\n",
            "pair: [x, 10]",
            "any: .inf\nname: .inf",
            "name: ok\n  more\nwait: |\n  10s\n",
            "[1, 2]",
            "just text",
            "42",
            "ports: {1: a, 70000: b, x: c}",
        ],
        &expect![[r#"
            "port: 65536\nsigned: -2147483649\nratio: .nan"
            1:7-5 port: expected a whole number from 0 to 65535, found the number `65536` | NONE
            2:9-11 signed: expected a whole number from -2147483648 to 2147483647, found the number `-2147483649` | NONE
            3:8-4 ratio: expected a finite number, found the number `.nan` | NONE

            "port: -1\nratio: -.inf\nsigned: 1.5"
            1:7-2 port: expected a whole number from 0 to 65535, found the number `-1` | NONE
            2:8-5 ratio: expected a finite number, found the number `-.inf` | NONE
            3:9-3 signed: expected a whole number from -2147483648 to 2147483647, found the number `1.5` | NONE

            "port: 99999999999999999999999999999999999999999999999999999999999999999999\nany: 99999999999999999999999999"
            1:7-68 port: expected a whole number from 0 to 65535, found the number `999999999999999999999999999999999999999999999999999999999999…` | NONE
            2:6-26 any: expected a number of 64 bits, found the number `99999999999999999999999999` | NONE

            "port: \"80\"\nflag: \"true\"\nratio: '1'"
            1:7-4 port: expected a whole number from 0 to 65535, found the text `80` | take the quotes away
            2:7-6 flag: expected `true` or `false`, found the text `true` | take the quotes away
            3:8-3 ratio: expected a finite number, found the text `1` | take the quotes away

            "flag: yes\nport: on\nlist: no"
            1:7-3 flag: expected `true` or `false`, found the text `yes` | write `true`
            2:7-2 port: expected a whole number from 0 to 65535, found the text `on` | NONE
            3:7-2 list: expected a list, found the text `no` | NONE

            "port:\nname: ~\nwait:\nlist:\nflag: null"
            1:5-1 port: expected a value, found nothing | give it a value, or take the key out
            3:5-1 wait: expected a value, found nothing | give it a value, or take the key out
            4:5-1 list: expected a list, found nothing | give it a value, or take the key out

            "name: [a]\nlist: a\nmap: [a]\nnested: [1]\nwait: [10s]\nport: {a: 1}"
            1:7-1 name: expected a string, found a list | NONE
            2:7-1 list: expected a list, found the text `a` | NONE
            3:6-1 map: expected a map, found a list | NONE
            4:9-1 nested: expected a map, found a list | its keys are `a`, `b`, `wait`
            5:7-1 wait: expected a duration such as `10s`, found a list | NONE
            6:7-1 port: expected a whole number from 0 to 65535, found a map | NONE

            "wait: 10\nsize: 10x"
            1:7-2 wait: `10` has no unit | write it with one, such as `10s` or `250ms`
            2:7-3 size: `10x` is not a size | write a whole number of bytes, or with KiB, MiB, GiB, kB, MB or GB, such as `64KiB`

            "wait: {s: 10}\nsize: [1]"
            1:7-1 wait: expected a duration such as `10s`, found a map | NONE
            2:7-1 size: expected a size such as `64KiB`, found a list | NONE

            "list: [a, [b], {c: d}, e]"
            1:11-1 list[1]: expected a string, found a list | NONE
            1:16-1 list[2]: expected a string, found a map | NONE

            "map: {a: 1, b: 256, c: x}"
            1:16-3 map.b: expected a whole number from 0 to 255, found the number `256` | NONE
            1:24-1 map.c: expected a whole number from 0 to 255, found the text `x` | NONE

            "pair: [1]\n"
            1:1-4 pair: expected 2 items, found 1 | NONE

            "pair: [x, 10]"
            1:8-1 pair[0]: expected a whole number from 0 to 255, found the text `x` | NONE
            1:11-2 pair[1]: `10` has no unit | write it with one, such as `10s` or `250ms`

            "any: .inf\nname: .inf"
            1:6-4 any: expected a finite number, found the number `.inf` | NONE

            "name: ok\n  more\nwait: |\n  10s\n"
            decoded
            "[1, 2]"
            1:1-1 : expected a map, found a list | its keys are `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`

            "just text"
            1:1-9 : expected a map, found the text `just text` | its keys are `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`

            "42"
            1:1-2 : expected a map, found the number `42` | its keys are `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`

            "ports: {1: a, 70000: b, x: c}"
            1:15-5 ports.70000: expected a whole number from 0 to 65535, found the number `70000` | NONE
            1:25-1 ports.x: expected a whole number from 0 to 65535, found the text `x` | NONE

        "#]],
    );
}

#[test]
fn unknown_words_name_the_near_miss_and_the_choices() {
    check::<Small>(
        &[
            "prt: 80\nnmae: x\ncompletely_else: 1\nNested: {a: 1}",
            "wiat: 10x\nnestd: {a: x, c: 1}",
            "algorithm: RS255\nbalancer: leastrequest",
            "balancer: consistent_hash\nalgorithm: {RS256: 1}\n",
            "balancer: {consistent_hash: {haeder: x}}",
            "balancer: {consistent_hash: [x], round_robin: }",
            "balancer: {least_requests: 1}\nalgorithm: [RS256]",
            "auth: nome",
            "auth: {jtw: main}\n",
            "auth: [none]",
            "auth: {}",
            "auth:\nport: x",
        ],
        &expect![[r#"
            "prt: 80\nnmae: x\ncompletely_else: 1\nNested: {a: 1}"
            1:1-3 : unknown key `prt` | did you mean `port`? / known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`
            2:1-4 : unknown key `nmae` | did you mean `name`? / known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`
            3:1-15 : unknown key `completely_else` | known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`
            4:1-6 : unknown key `Nested` | did you mean `nested`? / known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`
            4:1-6 Nested: missing key `b` | add `b: …` here
            4:1-6 Nested: missing key `wait` | add `wait: …` here

            "wiat: 10x\nnestd: {a: x, c: 1}"
            1:1-4 : unknown key `wiat` | did you mean `wait`? / known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`
            1:7-3 wiat: `10x` is not a duration | write whole numbers with ms, s, m, h or d, such as `1m30s`
            2:1-5 : unknown key `nestd` | did you mean `nested`? / known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`
            2:1-5 nestd: missing key `b` | add `b: …` here
            2:1-5 nestd: missing key `wait` | add `wait: …` here
            2:12-1 nestd.a: expected a whole number from 0 to 255, found the text `x` | NONE
            2:15-1 nestd: unknown key `c` | known keys: `a`, `b`, `wait`

            "algorithm: RS255\nbalancer: leastrequest"
            1:12-5 algorithm: unknown value `RS255` | did you mean `RS256`? / known values: `RS256`, `ES256`
            2:11-12 balancer: unknown value `leastrequest` | did you mean `least_request`? / known values: `round_robin`, `least_request`, `consistent_hash`

            "balancer: consistent_hash\nalgorithm: {RS256: 1}\n"
            1:11-15 balancer: `consistent_hash` needs a value | write `consistent_hash: …`
            2:1-9 algorithm: `RS256` takes no value | write `RS256` alone

            "balancer: {consistent_hash: {haeder: x}}"
            1:30-6 balancer.consistent_hash: unknown key `haeder` | did you mean `header`? / known keys: `header`

            "balancer: {consistent_hash: [x], round_robin: }"
            1:1-8 balancer: expected a single key, found 2 | keep one of `round_robin`, `least_request`, `consistent_hash`

            "balancer: {least_requests: 1}\nalgorithm: [RS256]"
            1:12-14 balancer: unknown key `least_requests` | did you mean `least_request`? / known keys: `round_robin`, `least_request`, `consistent_hash`
            2:12-1 algorithm: expected one of `RS256`, `ES256`, found a list | NONE

            "auth: nome"
            1:7-4 auth: unknown value `nome` | did you mean `none`? / known values: `none` / a map is possible as well

            "auth: {jtw: main}\n"
            1:8-3 auth: unknown key `jtw` | did you mean `jwt`? / known keys: `jwt`, `claims_to_headers`

            "auth: [none]"
            1:7-1 auth: expected a map, found a list | its keys are `jwt`, `claims_to_headers`

            "auth: {}"
            1:1-4 auth: missing key `jwt` | add `jwt: …` here

            "auth:\nport: x"
            1:5-1 auth: expected a value, found nothing | give it a value, or take the key out
            2:7-1 port: expected a whole number from 0 to 65535, found the text `x` | NONE

        "#]],
    );
}

#[test]
fn missing_keys_are_all_reported() {
    check::<Small>(
        &[
            "nested: {}",
            "nested:\n  - a: 1",
            "nested: {a: x}",
            "nested: {aa: 1}",
        ],
        &expect![[r#"
            "nested: {}"
            1:1-6 nested: missing key `a` | add `a: …` here
            1:1-6 nested: missing key `b` | add `b: …` here
            1:1-6 nested: missing key `wait` | add `wait: …` here

            "nested:\n  - a: 1"
            2:3-1 nested: expected a map, found a list | its keys are `a`, `b`, `wait`

            "nested: {a: x}"
            1:1-6 nested: missing key `b` | add `b: …` here
            1:1-6 nested: missing key `wait` | add `wait: …` here
            1:13-1 nested.a: expected a whole number from 0 to 255, found the text `x` | NONE

            "nested: {aa: 1}"
            1:1-6 nested: missing key `a` | add `a: …` here
            1:1-6 nested: missing key `b` | add `b: …` here
            1:1-6 nested: missing key `wait` | add `wait: …` here
            1:10-2 nested: unknown key `aa` | known keys: `a`, `b`, `wait`

        "#]],
    );
}

#[test]
fn what_stands_in_for_a_bad_value_never_hides_its_neighbours() {
    check::<File>(
        &[
            "version: 1\nlisteners: [{address: x, proxy_protocol: 1}]\nroutes: [{}, {name: a}]\n",
            "listeners: x\nroutes: x\n",
            "{}",
        ],
        &expect![[r#"
            "version: 1\nlisteners: [{address: x, proxy_protocol: 1}]\nroutes: [{}, {name: a}]\n"
            2:23-1 listeners[0].address: invalid socket address syntax: `x` | NONE
            2:42-1 listeners[0].proxy_protocol: expected `true` or `false`, found the number `1` | NONE
            3:10-1 routes[0]: missing key `name` | add `name: …` here
            3:10-1 routes[0]: missing key `match` | add `match: …` here
            3:10-1 routes[0]: missing key `auth` | add `auth: …` here
            3:14-1 routes[1]: missing key `match` | add `match: …` here
            3:14-1 routes[1]: missing key `auth` | add `auth: …` here

            "listeners: x\nroutes: x\n"
            1:1-1 : missing key `version` | add `version: …` here
            1:12-1 listeners: expected a list, found the text `x` | NONE
            2:9-1 routes: expected a list, found the text `x` | NONE

            "{}"
            1:1-1 : missing key `version` | add `version: …` here
            1:1-1 : missing key `listeners` | add `listeners: …` here
            1:1-1 : missing key `routes` | add `routes: …` here

        "#]],
    );
}
