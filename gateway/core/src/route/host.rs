//! Hosts: exact names and `*.` wildcards, and the request's host made comparable.

use std::net::Ipv6Addr;

use super::spec::Problems;

/// Longest host name, in bytes (RFC 1035, section 2.3.4, without the last dot).
pub const MAX_HOST_BYTES: usize = 253;

/// Longest label, in bytes (RFC 1035, section 2.3.4).
const MAX_LABEL_BYTES: usize = 63;

/// A host as a route names it, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostRule {
    Any,
    /// What follows the `*.`.
    Wildcard(Box<str>),
    Exact(Box<str>),
}

/// Compiles `hosts`.
pub(super) fn compile(spec: Option<&[String]>, problems: &mut Problems) -> Vec<HostRule> {
    let Some(hosts) = spec else {
        return vec![HostRule::Any];
    };
    if hosts.is_empty() {
        problems.add("hosts", "no host is listed; leave `hosts` out to match any");
    }
    let mut rules = Vec::with_capacity(hosts.len());
    for (index, text) in hosts.iter().enumerate() {
        match parse(text) {
            Ok(rule) if rules.contains(&rule) => {
                problems.add(
                    format!("hosts[{index}]"),
                    format!("`{text}` is given twice"),
                );
            }
            Ok(rule) => rules.push(rule),
            Err(message) => problems.add(format!("hosts[{index}]"), message),
        }
    }
    rules
}

fn parse(text: &str) -> Result<HostRule, String> {
    let lower = text.to_ascii_lowercase();
    if lower == "*" {
        return Err("`*` is every host; leave `hosts` out instead".to_owned());
    }
    if let Some(suffix) = lower.strip_prefix("*.") {
        check_name(suffix, text)?;
        return Ok(HostRule::Wildcard(suffix.into()));
    }
    let bracketed = lower
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if let Some(address) = bracketed {
        return match address.parse::<Ipv6Addr>() {
            Ok(address) => Ok(HostRule::Exact(format!("[{address}]").into())),
            Err(_) => Err(format!("`{text}` is not an IPv6 address in brackets")),
        };
    }
    check_name(&lower, text)?;
    Ok(HostRule::Exact(lower.into()))
}

fn check_name(name: &str, text: &str) -> Result<(), String> {
    let is_label_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if name.contains("://") || name.contains('/') {
        return Err(format!("`{text}` is a URL; give the host alone"));
    }
    if name.contains(':') {
        return Err(format!(
            "`{text}` has a port, which is ignored in requests; remove it"
        ));
    }
    if name.contains('*') {
        return Err(format!(
            "`{text}`: a wildcard is the whole first label, `*.example.com`"
        ));
    }
    if name.ends_with('.') {
        return Err(format!(
            "`{text}` ends with a dot; remove it, requests match with and without"
        ));
    }
    if !name.is_ascii() {
        return Err(format!("`{text}` is not ASCII; write it as sent, `xn--…`"));
    }
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(is_label_byte)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if name.len() > MAX_HOST_BYTES || !name.split('.').all(is_label) {
        return Err(format!("`{text}` is not a host name"));
    }
    Ok(())
}

/// Room for a host in lower case, so that a request's host needs no allocation.
pub(super) type HostBuffer = [u8; MAX_HOST_BYTES];

/// The host of a request as routes name hosts: no port, no trailing dot, lower
/// case. `None` for what cannot be a host; only routes for any host take that.
pub(super) fn comparable<'b>(raw: &'b str, buffer: &'b mut HostBuffer) -> Option<&'b str> {
    let end = match raw.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => memchr::memchr(b':', raw.as_bytes()).unwrap_or(raw.len()),
    };
    let host = raw.get(..end)?;
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.is_empty() || host.len() > MAX_HOST_BYTES {
        return None;
    }
    if !host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Some(host);
    }
    let lower = &mut buffer[..host.len()];
    lower.copy_from_slice(host.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_trailing_dot_and_case_do_not_count() {
        for (raw, expected) in [
            ("api.example.com", Some("api.example.com")),
            ("API.Example.com:8080", Some("api.example.com")),
            ("api.example.com.", Some("api.example.com")),
            ("api.example.com.:80", Some("api.example.com")),
            ("[::1]:8080", Some("[::1]")),
            ("[FE80::1]", Some("[fe80::1]")),
            ("[::1", None),
            ("", None),
            (":80", None),
            (".", None),
        ] {
            let mut buffer = [0; MAX_HOST_BYTES];
            assert_eq!(comparable(raw, &mut buffer), expected, "{raw:?}");
        }
        let long = "a".repeat(MAX_HOST_BYTES + 1);
        assert_eq!(comparable(&long, &mut [0; MAX_HOST_BYTES]), None);
    }
}
