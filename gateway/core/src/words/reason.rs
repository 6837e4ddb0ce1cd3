//! Why the gateway answered by itself: one closed list, used by the answer's
//! body, the access log and the metrics alike.

use http::StatusCode;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $code:literal $title:literal;)+) => {
        /// A stable reason for an answer of the gateway's own.
        ///
        /// `code` is part of the public interface: it never changes its meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// All reasons, in the order of their discriminants.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            const STATUS: &'static [u16] = &[$($status,)+];
            const CODE: &'static [&'static str] = &[$($code,)+];
            const TITLE: &'static [&'static str] = &[$($title,)+];
        }
    };
}

reasons! {
    // Framing and bounds of a request (RFC 9112)
    /// The request line is not `METHOD SP target SP HTTP/1.x` with allowed characters.
    RequestLineMalformed = 400 "request_line_malformed" "the request line is malformed";
    /// A header line is malformed: bare CR or LF, folding, a control character, no colon.
    HeaderMalformed = 400 "header_malformed" "a header line is malformed";
    /// `Content-Length` is not one plain decimal number.
    ContentLengthInvalid = 400 "content_length_invalid" "the content-length header is invalid";
    /// `Transfer-Encoding` is anything but one `chunked`, or came with HTTP/1.0.
    TransferEncodingInvalid = 400 "transfer_encoding_invalid" "the transfer-encoding header is invalid";
    /// Both `Content-Length` and `Transfer-Encoding` are present.
    FramingConflict = 400 "framing_conflict" "content-length and transfer-encoding exclude each other";
    /// The chunked coding of the body is malformed.
    BodyMalformed = 400 "body_malformed" "the chunked request body is malformed";
    /// `Host` is missing, repeated or not a host (RFC 9112 section 3.2).
    HostInvalid = 400 "host_invalid" "the host header is missing, repeated or invalid";
    /// The path can be read in more than one way.
    PathInvalid = 400 "path_invalid" "the path is not in its one normal form";
    /// The head did not arrive in time.
    RequestHeadTimeout = 408 "request_head_timeout" "the request head took too long";
    /// The body did not arrive in time.
    RequestBodyTimeout = 408 "request_body_timeout" "the request body took too long";
    /// The body is larger than the route allows.
    BodyTooLarge = 413 "body_too_large" "the request body is too large";
    /// The request target is longer than allowed.
    TargetTooLong = 414 "target_too_long" "the request target is too long";
    /// An expectation other than `100-continue`.
    ExpectationFailed = 417 "expectation_failed" "the expectation is not supported";
    /// The head is larger than allowed.
    HeadTooLarge = 431 "head_too_large" "the request head is too large";
    /// There are more headers than allowed.
    TooManyHeaders = 431 "too_many_headers" "the request has too many headers";
    /// `CONNECT` and `TRACE` are never served.
    MethodNotSupported = 501 "method_not_supported" "the method is not supported";
    /// Only HTTP/1.0 and HTTP/1.1 are spoken here.
    VersionNotSupported = 505 "version_not_supported" "the HTTP version is not supported";

    // Routing
    /// No route matches.
    NoRoute = 404 "no_route" "no route matches the request";
    /// A route matches but for its method.
    MethodNotAllowed = 405 "method_not_allowed" "the method is not allowed here";

    // Authentication and authorisation (RFC 6750, RFC 7519, RFC 8725)
    /// The request carries no credential.
    JwtMissing = 401 "jwt_missing" "a bearer token is required";
    /// More than one `Authorization` header, or more than one token in the place where it is read.
    JwtRepeated = 400 "jwt_repeated" "exactly one token is allowed";
    /// What was sent is not a JWT in the compact form.
    JwtMalformed = 401 "jwt_malformed" "the token is malformed";
    /// The token is longer than allowed.
    JwtTooLarge = 401 "jwt_too_large" "the token is too large";
    /// The token is encrypted (a JWE), or another token is nested in it.
    JwtEncrypted = 401 "jwt_encrypted" "encrypted and nested tokens are not accepted";
    /// A name comes twice in the token's header or claims.
    JwtDuplicateMember = 401 "jwt_duplicate_member" "a name comes twice in the token";
    /// The header has `crit`: no extension is understood here (RFC 7515 section 4.1.11).
    JwtCriticalUnsupported = 401 "jwt_critical_unsupported" "the token has critical extensions";
    /// The header has `b64`, as in an unencoded payload (RFC 7797).
    JwtPayloadUnencoded = 401 "jwt_payload_unencoded" "tokens with an unencoded payload are not accepted";
    /// `typ` is not what the provider's tokens must have (RFC 8725 section 3.11).
    JwtTypeMismatch = 401 "jwt_type_mismatch" "the token's type is not accepted";
    /// The token names an algorithm outside the allow list.
    JwtAlgorithmNotAllowed = 401 "jwt_algorithm_not_allowed" "the token's algorithm is not allowed";
    /// `iss` is not the provider's issuer.
    JwtIssuerMismatch = 401 "jwt_issuer_mismatch" "the token's issuer is not accepted";
    /// `aud` names none of the accepted audiences.
    JwtAudienceMismatch = 401 "jwt_audience_mismatch" "the token's audience is not accepted";
    /// `exp`, `nbf` or `iat` is not a date.
    JwtDateInvalid = 401 "jwt_date_invalid" "a date of the token is invalid";
    /// `exp` is missing.
    JwtExpiryMissing = 401 "jwt_expiry_missing" "the token has no expiry";
    /// `exp` lies in the past.
    JwtExpired = 401 "jwt_expired" "the token has expired";
    /// `nbf` lies in the future.
    JwtNotYetValid = 401 "jwt_not_yet_valid" "the token is not valid yet";
    /// No key of the provider fits the token.
    JwtKeyUnknown = 401 "jwt_key_unknown" "the token's key is unknown";
    /// The signature does not fit the token.
    JwtSignatureInvalid = 401 "jwt_signature_invalid" "the token's signature is invalid";
    /// The token is on the provider's deny list.
    JwtRevoked = 401 "jwt_revoked" "the token has been revoked";
    /// The token lacks a required scope.
    JwtScopeMissing = 403 "jwt_scope_missing" "the token lacks a required scope";
    /// A claim does not satisfy the route's rule.
    JwtClaimMismatch = 403 "jwt_claim_mismatch" "a claim of the token is not accepted";
    /// The provider's keys are not there: never read, too old, or not to be had for this token.
    JwtKeysUnavailable = 503 "jwt_keys_unavailable" "the keys to verify tokens are not available";
    /// The request carries no API key.
    ApiKeyMissing = 401 "api_key_missing" "an API key is required";
    /// More than one API key.
    ApiKeyRepeated = 400 "api_key_repeated" "exactly one API key is allowed";
    /// No key is like this one.
    ApiKeyUnknown = 401 "api_key_unknown" "the API key is unknown";
    /// The key's time is over.
    ApiKeyExpired = 401 "api_key_expired" "the API key has expired";
    /// The key lacks a required scope.
    ApiKeyScopeMissing = 403 "api_key_scope_missing" "the API key lacks a required scope";
    /// An attribute of the key does not satisfy the route's rule.
    ApiKeyClaimMismatch = 403 "api_key_claim_mismatch" "an attribute of the API key is not accepted";
    /// None of the credentials that the route takes was sent.
    CredentialMissing = 401 "credential_missing" "a credential is required";
    /// The client's address lies outside the allowed networks.
    NetworkNotAllowed = 403 "network_not_allowed" "the client's network is not allowed";

    // Upstream
    /// The upstream has no endpoint.
    NoEndpoint = 503 "no_endpoint" "the upstream has no endpoint";
    /// No connection to the upstream could be opened.
    UpstreamConnectFailure = 502 "upstream_connect_failure" "the upstream could not be reached";
    /// The upstream closed or reset the connection before its answer.
    UpstreamReset = 502 "upstream_reset" "the upstream closed the connection before answering";
    /// The upstream's answer is not valid HTTP/1.1.
    UpstreamInvalidResponse = 502 "upstream_invalid_response" "the upstream's answer is invalid";
    /// The upstream did not answer in time.
    UpstreamTimeout = 504 "upstream_timeout" "the upstream did not answer in time";
    /// The upstream is at one of its limits: nothing was sent.
    UpstreamOverloaded = 503 "upstream_overloaded" "the upstream is at its configured limit";
    /// The upstream has as much as it can take, or what is left is for more important requests:
    /// nothing was sent.
    RequestShed = 503 "request_shed" "the upstream is overloaded, and this request is left out";

    // The gateway itself
    /// More connections or requests than configured.
    Overloaded = 503 "overloaded" "the gateway is at its configured limit";
    /// The client went away before its answer: seen in logs and metrics only.
    ClientClosed = 499 "client_closed" "the client closed the connection";
    /// The gateway left before the answer was over: seen in logs and metrics only.
    GatewayLeaving = 503 "gateway_leaving" "the gateway left before the answer was over";
    /// The answer broke off after its head was sent: seen in logs and metrics only.
    ResponseAborted = 502 "response_aborted" "the upstream broke off its answer";
}

impl Reason {
    /// The status of the answer. 499 stands for a client that went away and is never sent.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(Self::STATUS[self as usize]).expect("the table holds valid codes")
    }

    /// The stable code, in `snake_case`.
    #[must_use]
    pub fn code(self) -> &'static str {
        Self::CODE[self as usize]
    }

    /// One sentence for the client, without a cause that it must not learn.
    #[must_use]
    pub fn title(self) -> &'static str {
        Self::TITLE[self as usize]
    }

    /// Whether the request could not be read, so that the connection must close after the answer.
    #[must_use]
    pub fn closes_connection(self) -> bool {
        (self as u8) <= (Reason::VersionNotSupported as u8)
            && !matches!(
                self,
                Reason::HostInvalid | Reason::PathInvalid | Reason::MethodNotSupported
            )
    }

    /// The error code of RFC 6750 section 3.1, where this is a refusal of a credential.
    #[must_use]
    pub fn bearer_error(self) -> Option<&'static str> {
        match self {
            Reason::JwtRepeated => Some("invalid_request"),
            Reason::JwtScopeMissing | Reason::JwtClaimMismatch => Some("insufficient_scope"),
            Reason::JwtMissing => None,
            _ if self.status() == StatusCode::UNAUTHORIZED && self.code().starts_with("jwt_") => {
                Some("invalid_token")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_valid() {
        let mut codes: Vec<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
        for reason in Reason::ALL {
            assert!(reason.status().as_u16() >= 400, "{reason:?}");
            assert!(!reason.title().ends_with('.'), "{reason:?}");
        }
    }

    #[test]
    fn only_refused_credentials_have_a_bearer_error() {
        for reason in Reason::ALL {
            if reason.bearer_error().is_some() {
                assert!(reason.code().starts_with("jwt_"), "{reason:?}");
            }
        }
    }

    /// Status, code, meaning and remedy of each row of the page.
    fn documented() -> Vec<(u16, &'static str, &'static str, &'static str)> {
        include_str!("../../../../docs/reason-codes.md")
            .lines()
            .filter_map(|line| {
                let cells: Vec<_> = line.split('|').map(str::trim).collect();
                let ["", status, code, meaning, remedy, ""] = cells[..] else {
                    return None;
                };
                let code = code.strip_prefix('`')?.strip_suffix('`')?;
                Some((status.parse().ok()?, code, meaning, remedy))
            })
            .collect()
    }

    #[test]
    fn every_reason_is_documented_with_its_status_and_remedy_and_nothing_else_is() {
        let documented = documented();
        let page: Vec<_> = documented.iter().map(|row| (row.0, row.1)).collect();
        let reasons = Reason::ALL.iter();
        let code: Vec<_> = reasons
            .map(|reason| (reason.status().as_u16(), reason.code()))
            .collect();
        let remedy = "docs/reason-codes.md lists the reasons in the order of this file";
        assert_eq!(page, code, "{remedy}");
        for (_, code, meaning, remedy) in documented {
            assert!(!meaning.is_empty() && !remedy.is_empty(), "{code}");
        }
    }
}
