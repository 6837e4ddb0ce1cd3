//! Where a provider's keys come from: exactly one place, and how it is read again.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use jsonwebtoken::Algorithm;

use super::compile::Checker;
use super::providers::ProviderSpec;
use super::secrets::{Secret, SecretEncoding};
use crate::auth::keys::KeyRing;
use crate::auth::refresh::RefreshPolicy;
use crate::config::{item, join};
use crate::words::time::Millis;
use crate::words::units::HumanDuration;

/// Between two looks at a file, to see whether it has changed.
const FILE_POLL: Duration = Duration::from_secs(2);
/// After a look at a file, before an unknown key id may cause another.
const FILE_COOLDOWN: Duration = Duration::from_millis(250);
/// After a fetch, before an unknown key id may cause another; doubles while that is in vain.
const COOLDOWN_MIN: Duration = Duration::from_secs(1);
/// The longest such pause. A request that comes right after a fetch must outlast it and the
/// next fetch, so that it is at most four fifths of `unknown_key_wait` too.
const COOLDOWN_MAX: Duration = Duration::from_secs(5);
/// Where an issuer's document lies (`OpenID` Connect Discovery 1.0 section 4).
const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Where a provider's keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The place.
    pub place: KeyPlace,
    /// What the provider's document must call its issuer; tells remembered keys apart.
    pub issuer: String,
    /// Whether keys may come over plain http from another machine.
    pub allow_http: bool,
    /// Time between two readings where the answer does not say for how long it holds.
    pub refresh_interval: Duration,
    /// The least time between two readings.
    pub refresh_interval_min: Duration,
    /// The longest time between two readings.
    pub refresh_interval_max: Duration,
    /// For how long keys serve that cannot be read again.
    pub max_stale: Duration,
    /// For how long a request waits for a reading for its unknown key id.
    pub unknown_key_wait: Duration,
}

/// The one place of a provider's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// A JWK set, fetched over HTTP.
    Url(String),
    /// The URL of an issuer's document, which names that of the JWK set.
    Discovery(String),
    /// A JWK set on disk.
    File(String),
    /// A JWK set in the routes file itself.
    Inline(String),
    /// A shared secret from the environment, for these algorithms.
    Secret(Secret, Vec<Algorithm>),
    /// A shared secret on disk.
    SecretFile {
        /// Its path.
        path: String,
        /// How it is written.
        encoding: SecretEncoding,
        /// What it is for.
        algorithms: Vec<Algorithm>,
    },
}

impl KeySource {
    /// Whether the keys are those of the routes file or the environment, for ever.
    #[must_use]
    pub fn is_static(&self) -> bool {
        matches!(self.place, KeyPlace::Inline(_) | KeyPlace::Secret(..))
    }

    /// When the keys are read again.
    #[must_use]
    pub fn refresh_policy(&self) -> RefreshPolicy {
        if matches!(self.place, KeyPlace::File(_) | KeyPlace::SecretFile { .. }) {
            return RefreshPolicy {
                interval: millis(FILE_POLL),
                interval_min: millis(FILE_POLL),
                interval_max: millis(FILE_POLL),
                cooldown_min: millis(FILE_COOLDOWN),
                cooldown_max: millis(FILE_COOLDOWN),
            };
        }
        let cooldown_max = COOLDOWN_MAX.min(self.unknown_key_wait * 4 / 5);
        RefreshPolicy {
            interval: millis(self.refresh_interval),
            interval_min: millis(self.refresh_interval_min),
            interval_max: millis(self.refresh_interval_max),
            cooldown_min: millis(COOLDOWN_MIN.min(cooldown_max)),
            cooldown_max: millis(cooldown_max),
        }
    }
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Whether nobody on the way to this host can change what comes from it: the way is encrypted,
/// or does not leave the machine.
#[must_use]
pub fn is_private_way(scheme: &str, host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    scheme == "https" || scheme == "http" && is_loopback
}

/// The keys of which one says where a provider's keys are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PlaceKey {
    Discovery,
    Uri,
    File,
    Inline,
    Secret,
}

impl fmt::Display for PlaceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovery => "discovery",
            Self::Uri => "jwks_uri",
            Self::File => "jwks_file",
            Self::Inline => "jwks",
            Self::Secret => "secret",
        })
    }
}

impl ProviderSpec {
    pub(super) fn source(&self, name: &str, check: &mut Checker<'_>) -> KeySource {
        let at = join("jwt_providers", name);
        let place = self.place(&at, check);
        self.check_algorithms(&at, check);
        self.check_options(&at, &place, check);
        let (mut source, is_each_in_range) = self.times(&at, check);
        if is_each_in_range && matches!(place, KeyPlace::Url(_) | KeyPlace::Discovery(_)) {
            self.check_order(&at, &source, check);
        }
        source.place = place;
        source
    }

    /// The places that are given.
    fn places(&self) -> Vec<PlaceKey> {
        let given = [
            (self.discovery, PlaceKey::Discovery),
            (self.jwks_uri.is_some(), PlaceKey::Uri),
            (self.jwks_file.is_some(), PlaceKey::File),
            (self.jwks.is_some(), PlaceKey::Inline),
            (self.secret.is_some(), PlaceKey::Secret),
        ];
        let given = given.into_iter().filter(|(is_given, _)| *is_given);
        given.map(|(_, key)| key).collect()
    }

    fn place(&self, at: &str, check: &mut Checker<'_>) -> KeyPlace {
        let nowhere = KeyPlace::File(String::new());
        match &self.places()[..] {
            [PlaceKey::Discovery] => self.discovery(&join(at, "issuer"), check),
            [PlaceKey::Uri] => {
                let uri = self.jwks_uri.clone().unwrap_or_default();
                let example = "https://issuer.example/.well-known/jwks.json";
                self.check_way(&join(at, "jwks_uri"), &uri, example, check);
                KeyPlace::Url(uri)
            }
            [PlaceKey::File] => {
                let file = self.jwks_file.clone().unwrap_or_default();
                let help = "write the path of a file with a JWK set";
                check.not_empty(&join(at, "jwks_file"), &file, help);
                KeyPlace::File(file)
            }
            [PlaceKey::Inline] => self.inline(&join(at, "jwks"), check),
            [PlaceKey::Secret] => {
                let spec = self.secret.as_ref().expect("it is given");
                self.secret(&join(at, "secret"), spec, check)
            }
            [] => {
                let remedy = "say one of `discovery: true`, `jwks_uri`, `jwks_file`, `jwks` and \
                              `secret`";
                let message = "it is not said where the provider's keys are";
                check.problem(at, message, Some(remedy.into()));
                nowhere
            }
            [first, second, ..] => {
                check.problem(
                    at,
                    format!("`{first}` and `{second}` exclude each other"),
                    Some("say one place where the provider's keys are".into()),
                );
                nowhere
            }
        }
    }

    /// The issuer's document. A slash at the issuer's end is not doubled (section 4 there).
    fn discovery(&self, at: &str, check: &mut Checker<'_>) -> KeyPlace {
        let example = "https://issuer.example/";
        if self.issuer.contains(['?', '#']) {
            check.problem(
                at,
                "an issuer with a query or a fragment has no document",
                Some("say where its keys are with `jwks_uri`".into()),
            );
        } else {
            self.check_way(at, &self.issuer, example, check);
        }
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        KeyPlace::Discovery(format!("{issuer}{WELL_KNOWN}"))
    }

    fn inline(&self, at: &str, check: &mut Checker<'_>) -> KeyPlace {
        let document = self
            .jwks
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        let is_set = self.jwks.as_ref().is_some_and(|set| set["keys"].is_array());
        let message = match KeyRing::from_jwk_set(document.as_bytes()) {
            Ok(_) => return KeyPlace::Inline(document),
            Err(error) if is_set => error.to_string(),
            Err(_) => "`jwks` is not a JWK set".to_owned(),
        };
        let help = "write the set as the issuer publishes it, such as `{keys: […]}`";
        check.problem(at, message, Some(help.into()));
        KeyPlace::Inline(document)
    }

    /// A shared secret and public keys in one provider would let whoever knows the public key
    /// sign with it (RFC 8725 section 2.1).
    fn check_algorithms(&self, at: &str, check: &mut Checker<'_>) {
        let places = self.places();
        let [place] = places[..] else { return };
        let is_secret = place == PlaceKey::Secret;
        for (index, name) in self.algorithms.iter().enumerate() {
            if name.is_symmetric() == is_secret {
                continue;
            }
            let at = item(&join(at, "algorithms"), index);
            let (message, help) = if is_secret {
                (
                    format!("`{name:?}` needs a public key, and `secret` is none"),
                    "leave `HS256`, `HS384` or `HS512` here alone, or say where public keys are",
                )
            } else {
                (
                    format!("`{name:?}` needs a shared secret, and `{place}` gives public keys"),
                    "take it out; tokens that it signs belong to a provider of their own with \
                     `secret`",
                )
            };
            check.problem(at, message, Some(help.into()));
        }
    }

    /// Options that mean nothing for the place that is given.
    fn check_options(&self, at: &str, place: &KeyPlace, check: &mut Checker<'_>) {
        let (is_remote, is_static) = match place {
            KeyPlace::Url(_) | KeyPlace::Discovery(_) => (true, false),
            KeyPlace::File(_) | KeyPlace::SecretFile { .. } => (false, false),
            KeyPlace::Inline(_) | KeyPlace::Secret(..) => (false, true),
        };
        let [place] = self.places()[..] else { return };
        let options = [
            ("allow_http", self.allow_http, is_remote),
            (
                "refresh_interval",
                self.refresh_interval.is_some(),
                is_remote,
            ),
            (
                "min_refresh_interval",
                self.min_refresh_interval.is_some(),
                is_remote,
            ),
            (
                "max_refresh_interval",
                self.max_refresh_interval.is_some(),
                is_remote,
            ),
            ("max_stale", self.max_stale.is_some(), !is_static),
            (
                "unknown_key_wait",
                self.unknown_key_wait.is_some(),
                !is_static,
            ),
        ];
        for (key, is_given, has_meaning) in options {
            if is_given && !has_meaning {
                let remedy = match (is_static, key) {
                    (false, _) => "leave it out: a file is read again when it changes",
                    (true, _) => "leave it out: these keys do not change",
                };
                check.problem(
                    join(at, key),
                    format!("`{key}` means nothing with `{place}`"),
                    Some(remedy.into()),
                );
            }
        }
    }

    /// Keys that came over an open wire would let anybody sign.
    fn check_way(&self, at: &str, uri: &str, example: &str, check: &mut Checker<'_>) {
        let Some(url) = check.url(at, uri, example) else {
            return;
        };
        let host = url.host().unwrap_or_default();
        let scheme = url.scheme_str().unwrap_or_default();
        if !self.allow_http && !is_private_way(scheme, host) {
            check.problem(
                at,
                format!("keys from `{host}` would come over plain http"),
                Some("use https; plain http is for loopback, or for `allow_http: true`".into()),
            );
        }
    }

    /// A source without its place, and whether each of its times is in its range.
    fn times(&self, at: &str, check: &mut Checker<'_>) -> (KeySource, bool) {
        let (second, minute, hour) = (
            Duration::from_secs(1),
            Duration::from_mins(1),
            Duration::from_hours(1),
        );
        let day = 24 * hour;
        let at = |key: &str| join(at, key);
        let mut is_each_in_range = true;
        let mut time = |key: &str, given, default, range: RangeInclusive<Duration>| {
            let value = check.duration(at(key), given, default, range.clone());
            is_each_in_range &= range.contains(&value);
            // What follows from a mistake is not one more.
            value.clamp(*range.start(), *range.end())
        };
        let max_stale = time("max_stale", self.max_stale, day, minute..=30 * day);
        let refresh_interval = time(
            "refresh_interval",
            self.refresh_interval,
            (5 * minute).min(max_stale / 2),
            10 * second..=day,
        );
        let source = KeySource {
            place: KeyPlace::File(String::new()),
            issuer: self.issuer.clone(),
            allow_http: self.allow_http,
            refresh_interval,
            refresh_interval_min: time(
                "min_refresh_interval",
                self.min_refresh_interval,
                (30 * second).min(refresh_interval),
                10 * second..=day,
            ),
            refresh_interval_max: time(
                "max_refresh_interval",
                self.max_refresh_interval,
                hour.min(max_stale / 2).max(refresh_interval),
                10 * second..=7 * day,
            ),
            max_stale,
            unknown_key_wait: time(
                "unknown_key_wait",
                self.unknown_key_wait,
                5 * second,
                second / 2..=30 * second,
            ),
        };
        (source, is_each_in_range)
    }

    /// Times that fit each other. Each is blamed only where it is given.
    fn check_order(&self, at: &str, source: &KeySource, check: &mut Checker<'_>) {
        let show = |duration: Duration| HumanDuration(duration).to_string();
        let (least, most) = (source.refresh_interval_min, source.refresh_interval_max);
        let mut add = |key: &str, message: String, help: &str| {
            check.problem(join(at, key), message, Some(help.into()));
        };
        if least > source.refresh_interval {
            add(
                "min_refresh_interval",
                format!(
                    "{} is longer than `refresh_interval`, {}",
                    show(least),
                    show(source.refresh_interval)
                ),
                "write a shorter one, or a longer `refresh_interval`",
            );
        }
        if most < source.refresh_interval {
            add(
                "max_refresh_interval",
                format!(
                    "{} is shorter than `refresh_interval`, {}",
                    show(most),
                    show(source.refresh_interval)
                ),
                "write a longer one, or a shorter `refresh_interval`",
            );
        }
        // Half of `max_stale` is an alarm: it must not ring between two good fetches.
        if source.max_stale < 2 * most {
            let longest = if self.max_refresh_interval.is_some() {
                "max_refresh_interval"
            } else {
                "refresh_interval"
            };
            let key = if self.max_stale.is_some() {
                "max_stale"
            } else {
                longest
            };
            add(
                key,
                format!(
                    "`max_stale`, {}, is less than twice the longest time between two fetches, {}",
                    show(source.max_stale),
                    show(most)
                ),
                "write a longer `max_stale`, or fetch more often",
            );
        }
    }
}
