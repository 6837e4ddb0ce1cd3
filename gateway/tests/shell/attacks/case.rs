//! One attack, or one token that looks like one and is good.

/// What the gateway must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// 200 from the upstream, which was told this user; none where the claims name nobody.
    Passes(Option<&'static str>),
    /// An answer of the gateway's own with this status and reason code.
    Refused(u16, &'static str),
}

/// A good token of `user-1`.
pub(super) const PASSES: Expected = Expected::Passes(Some("user-1"));
pub(super) const MISSING: Expected = Expected::Refused(401, "jwt_missing");
pub(super) const REPEATED: Expected = Expected::Refused(400, "jwt_repeated");
pub(super) const TOO_LARGE: Expected = Expected::Refused(401, "jwt_too_large");
pub(super) const MALFORMED: Expected = Expected::Refused(401, "jwt_malformed");
pub(super) const ENCRYPTED: Expected = Expected::Refused(401, "jwt_encrypted");
pub(super) const DUPLICATE: Expected = Expected::Refused(401, "jwt_duplicate_member");
pub(super) const CRITICAL: Expected = Expected::Refused(401, "jwt_critical_unsupported");
pub(super) const UNENCODED: Expected = Expected::Refused(401, "jwt_payload_unencoded");
pub(super) const ALGORITHM: Expected = Expected::Refused(401, "jwt_algorithm_not_allowed");
pub(super) const TYPE: Expected = Expected::Refused(401, "jwt_type_mismatch");
pub(super) const ISSUER: Expected = Expected::Refused(401, "jwt_issuer_mismatch");
pub(super) const AUDIENCE: Expected = Expected::Refused(401, "jwt_audience_mismatch");
pub(super) const DATE: Expected = Expected::Refused(401, "jwt_date_invalid");
pub(super) const NO_EXPIRY: Expected = Expected::Refused(401, "jwt_expiry_missing");
pub(super) const EXPIRED: Expected = Expected::Refused(401, "jwt_expired");
pub(super) const NOT_YET: Expected = Expected::Refused(401, "jwt_not_yet_valid");
pub(super) const KEY_UNKNOWN: Expected = Expected::Refused(401, "jwt_key_unknown");
pub(super) const SIGNATURE: Expected = Expected::Refused(401, "jwt_signature_invalid");
pub(super) const CLAIM: Expected = Expected::Refused(403, "jwt_claim_mismatch");
/// Refused by the framing, before anybody looks for a token.
pub(super) const HEADER: Expected = Expected::Refused(400, "header_malformed");
pub(super) const HEAD_TOO_LARGE: Expected = Expected::Refused(431, "head_too_large");

/// One request and its right answer.
pub(super) struct Case {
    pub(super) family: &'static str,
    pub(super) name: String,
    /// The whole request, byte by byte.
    pub(super) request: Vec<u8>,
    pub(super) expected: Expected,
}

/// The cases of one family.
pub(super) struct Family {
    name: &'static str,
    cases: Vec<Case>,
}

impl Family {
    pub(super) fn new(name: &'static str) -> Self {
        Self {
            name,
            cases: Vec::new(),
        }
    }

    pub(super) fn into_cases(self) -> Vec<Case> {
        self.cases
    }

    /// A token in its usual place, for the route of all public-key algorithms.
    pub(super) fn token(
        &mut self,
        name: impl Into<String>,
        token: impl AsRef<[u8]>,
        expected: Expected,
    ) {
        self.token_for("/main", name, token, expected);
    }

    /// A token in its usual place, for another route.
    pub(super) fn token_for(
        &mut self,
        path: &str,
        name: impl Into<String>,
        token: impl AsRef<[u8]>,
        expected: Expected,
    ) {
        let line = [b"authorization: Bearer ", token.as_ref(), b"\r\n"].concat();
        self.lines(path, name, line, expected);
    }

    /// Any header lines, each with its end.
    pub(super) fn lines(
        &mut self,
        path: &str,
        name: impl Into<String>,
        lines: impl AsRef<[u8]>,
        expected: Expected,
    ) {
        let line = format!("GET {path} HTTP/1.1\r\nhost: gateway.example\r\n");
        let request = [line.as_bytes(), lines.as_ref(), b"\r\n"].concat();
        self.request(name, request, expected);
    }

    pub(super) fn request(
        &mut self,
        name: impl Into<String>,
        request: impl Into<Vec<u8>>,
        expected: Expected,
    ) {
        self.cases.push(Case {
            family: self.name,
            name: name.into(),
            request: request.into(),
            expected,
        });
    }
}
