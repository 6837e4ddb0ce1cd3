//! An explanation for people.

use std::fmt::Write as _;

use serde_json::Value;

/// Losing routes of the lowest interest that are shown one by one.
const LOSERS_MAX: usize = 12;

/// Writes an explanation as text, most important first.
pub(super) fn render(told: &Value) -> String {
    let mut text = String::new();
    head(&mut text, told);
    route(&mut text, told);
    authentication(&mut text, told);
    limits(&mut text, told);
    upstreams(&mut text, told);
    sent(&mut text, told);
    let mut unknown = items(&told["unknown"]).peekable();
    if unknown.peek().is_some() {
        line(&mut text, "\nnot known here");
    }
    for unknown in unknown {
        line(&mut text, &format!("  {}", word(unknown)));
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _infallible = writeln!(text, "{line}");
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        // What came from elsewhere must not steer the terminal.
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        other => other.to_string(),
    }
}

/// ` (routes.yaml:7)`; nothing where no file says it, or where an older gateway does not tell.
fn place(told: &Value) -> String {
    match (told["file"].as_str(), told["line"].as_u64()) {
        (Some(_), Some(line)) => format!(" ({}:{line})", word(&told["file"])),
        _ => String::new(),
    }
}

fn head(text: &mut String, told: &Value) {
    let (request, answer) = (&told["request"], &told["answer"]);
    let asked = format!("{} {}", word(&request["method"]), word(&request["path"]));
    if answer["is_served"] == true {
        let route = &told["route"];
        let how = match route["action"].as_str() {
            Some("forward") => "goes upstream".to_owned(),
            _ => format!(
                "is answered by the gateway with {}",
                word(&answer["status"])
            ),
        };
        line(text, &format!("{asked} {how}"));
    } else {
        let (status, reason) = (word(&answer["status"]), word(&answer["reason"]));
        line(text, &format!("{asked} is refused: {status} {reason}"));
        line(text, &format!("  = {}", word(&answer["title"])));
        for (name, key) in [("log", "detail"), ("help", "hint"), ("allow", "allow")] {
            if let Some(words) = answer[key].as_str() {
                line(text, &format!("  = {name}: {words}"));
            }
        }
        if answer["asks_for_keys"] == true {
            line(
                text,
                "  = a gateway reads the provider's keys once more before it says so",
            );
        }
    }
    if !request["clean_path"].is_null() && request["clean_path"] != request["path"] {
        line(
            text,
            &format!("  = its path is read as {}", word(&request["clean_path"])),
        );
    }
    if request["client"] != request["peer"] {
        line(
            text,
            &format!("  = the client is {}", word(&request["client"])),
        );
    }
}

fn route(text: &mut String, told: &Value) {
    let candidates: Vec<_> = items(&told["candidates"]).collect();
    if candidates.is_empty() {
        return;
    }
    line(text, "\nroute");
    for candidate in candidates.iter().take(LOSERS_MAX) {
        let subject = word(&candidate["subject"]);
        let (mark, why) = match candidate["verdict"].as_str().unwrap_or_default() {
            "wins" => (">", "wins".to_owned()),
            "outranked" => (" ", "matches, but the winner is narrower".into()),
            "header" => (" ", format!("the header `{subject}` is not as it asks")),
            "query" => (" ", format!("the query's `{subject}` is not as it asks")),
            "method" => (" ", "takes other methods".into()),
            "path" => (" ", "has another path".into()),
            _ => (" ", "has another host".into()),
        };
        let name = word(&candidate["route"]);
        line(text, &format!("{mark} {name:24} {why}{}", place(candidate)));
    }
    let beyond = candidates.len().saturating_sub(LOSERS_MAX) as u64;
    let omitted = beyond + told["candidates_omitted"].as_u64().unwrap_or(0);
    if omitted > 0 {
        line(text, &format!("  and {omitted} more that do not match"));
    }
    for param in items(&told["route"]["params"]) {
        line(
            text,
            &format!("  = {{{}}} is {}", word(&param[0]), word(&param[1])),
        );
    }
}

fn authentication(text: &mut String, told: &Value) {
    let authentication = &told["authentication"];
    if authentication.is_null() {
        return;
    }
    line(text, "\nauthentication");
    if authentication["is_open"] == true {
        line(text, "  everybody may: the route says `auth: none`");
    }
    for policy in items(&authentication["policies"]) {
        let by: Vec<_> = items(&policy["by"]).map(word).collect();
        let verdict = match policy["verdict"].as_str().unwrap_or_default() {
            "passed_over" => "is passed over: the same credential was refused before",
            "not_tried" => "is not tried",
            other => other,
        };
        let name = format!("{} {}", word(&policy["kind"]), by.join(", "));
        line(text, &format!("  {} {verdict}", name.trim_end()));
        for check in items(&policy["checks"]) {
            check_line(text, check);
        }
    }
    if !authentication["subject"].is_null() {
        let caller = word(&authentication["subject"]);
        line(
            text,
            &format!(
                "  = the caller is {caller}, scopes: {}",
                word(&authentication["scopes"])
            ),
        );
    }
}

fn check_line(text: &mut String, check: &Value) {
    let mut name = word(&check["check"]);
    if let Some(subject) = check["subject"].as_str() {
        let _infallible = write!(name, " ({subject})");
    }
    if let Some(provider) = check["provider"].as_str() {
        let _infallible = write!(name, " of {provider}");
    }
    if check["has_passed"] == true {
        line(text, &format!("    ok   {name}"));
        return;
    }
    let detail = check["detail"].as_str();
    let detail = detail
        .map(|detail| format!(": {detail}"))
        .unwrap_or_default();
    line(
        text,
        &format!("    FAIL {name}: {}{detail}", word(&check["reason"])),
    );
}

fn limits(text: &mut String, told: &Value) {
    let limits = &told["limits"];
    if limits.is_null() {
        return;
    }
    let retries = &limits["retries"];
    line(text, "\nlimits");
    line(
        text,
        &format!("  timeout     {} ms", word(&limits["timeout_ms"])),
    );
    if !limits["per_try_timeout_ms"].is_null() {
        line(
            text,
            &format!("  one try     {} ms", word(&limits["per_try_timeout_ms"])),
        );
    }
    if !limits["hedge_after_ms"].is_null() {
        line(
            text,
            &format!("  second try  after {} ms", word(&limits["hedge_after_ms"])),
        );
    }
    let within = match limits["is_body_within"].as_bool() {
        Some(false) => ", which this one is beyond",
        _ => "",
    };
    line(
        text,
        &format!(
            "  body        {} bytes{within}",
            word(&limits["body_bytes_max"])
        ),
    );
    let on: Vec<_> = items(&retries["on"])
        .chain(items(&retries["statuses"]))
        .map(word)
        .collect();
    match retries["tries_max"].as_u64() {
        Some(0 | 1) => line(text, "  tries       1"),
        _ => line(
            text,
            &format!(
                "  tries       {} on {}",
                word(&retries["tries_max"]),
                on.join(", ")
            ),
        ),
    }
}

fn upstreams(text: &mut String, told: &Value) {
    for upstream in items(&told["upstreams"]) {
        let share = format!(
            "{} of {}",
            word(&upstream["weight"]),
            word(&upstream["weight_sum"])
        );
        let (name, policy) = (word(&upstream["name"]), word(&upstream["policy"]));
        line(
            text,
            &format!(
                "\nupstream {name}, weight {share}, {policy}{}",
                place(upstream)
            ),
        );
        if upstream["is_panicking"] == true {
            line(text, "  = so few endpoints are good that health is ignored");
        }
        let Some(endpoints) = upstream["endpoints"].as_array() else {
            continue;
        };
        if endpoints.is_empty() {
            line(text, "  no endpoint");
        }
        for endpoint in endpoints {
            endpoint_line(text, endpoint);
        }
    }
}

fn endpoint_line(text: &mut String, endpoint: &Value) {
    let score = endpoint["score"].as_f64().unwrap_or_default();
    let expected = endpoint["expected_ms"].as_f64();
    let expected = expected.map_or("nothing known".into(), |ms| format!("{ms:.1} ms expected"));
    let out = if endpoint["is_left_out"] == true {
        ", left out"
    } else {
        ""
    };
    line(
        text,
        &format!(
            "  {:21} {}{out}, {} in flight, {expected}, score {score:.4}",
            word(&endpoint["address"]),
            word(&endpoint["health"]),
            word(&endpoint["in_flight"]),
        ),
    );
}

fn sent(text: &mut String, told: &Value) {
    let mut headers = items(&told["sent_headers"]).peekable();
    if headers.peek().is_none() {
        return;
    }
    line(text, "\nsent upstream");
    for header in headers {
        let value = header["value"].as_str().unwrap_or("(not shown)");
        let origin = word(&header["origin"]);
        line(
            text,
            &format!("  {:9} {}: {value}", origin, word(&header["name"])),
        );
    }
}
