//! What a failed call means.

use std::{error::Error, iter};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_servicediscovery::error::{ProvideErrorMetadata, SdkError};

use super::{
    CloudMapService, DiscoverError, SOURCE_NAME,
    client::{CONNECT_TIMEOUT, OPERATION_TIMEOUT},
};

/// Longest excerpt of somebody else's error text, in characters.
const MAX_CAUSE_CHARS: usize = 400;

/// Codes of throttling; the first is Cloud Map's own.
const THROTTLED: [&str; 5] = [
    "RequestLimitExceeded",
    "ThrottlingException",
    "Throttling",
    "TooManyRequestsException",
    "RequestThrottled",
];

/// Codes of missing permissions, and of credentials that are not accepted.
/// <https://docs.aws.amazon.com/cloud-map/latest/api/CommonErrors.html>
const DENIED: [&str; 8] = [
    "AccessDeniedException",
    "AccessDenied",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "UnrecognizedClientException",
];

/// Codes that are about one operation and not about the caller.
const OPERATION_REFUSED: [&str; 5] = [
    "AccessDeniedException",
    "AccessDenied",
    "NotAuthorized",
    "UnknownOperationException",
    "InvalidAction",
];

/// Sorts a failure into what the loop and a person can act on.
pub(super) fn classify<E>(error: &SdkError<E>, service: &CloudMapService) -> DiscoverError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let source_name = SOURCE_NAME;
    let causes = || iter::successors(Some(error as &dyn Error), |error| (*error).source());
    // The SDK reports missing credentials as a failed dispatch, like an outage.
    if causes().any(<dyn Error>::is::<CredentialsError>) {
        return DiscoverError::Denied {
            source_name,
            cause: excerpt(causes()),
            remedy: "give the task a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        };
    }
    match error {
        SdkError::TimeoutError(_) => DiscoverError::Timeout {
            limit: OPERATION_TIMEOUT,
        },
        SdkError::DispatchFailure(failure) if failure.is_timeout() => DiscoverError::Timeout {
            limit: CONNECT_TIMEOUT,
        },
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            refused(answer.err(), status, service)
        }
        // No JSON, or not its JSON; a proxy in between may still say why by status.
        SdkError::ResponseError(answer) => {
            let status = answer.raw().status().as_u16();
            by_code(
                "",
                status,
                format!("status {status}, {}", excerpt(causes())),
            )
        }
        SdkError::ConstructionFailure(_) => by_code("", 0, excerpt(causes())),
        _ => DiscoverError::Outage {
            source_name,
            cause: excerpt(causes()),
        },
    }
}

/// An error in the protocol's own form.
fn refused(
    error: &impl ProvideErrorMetadata,
    status: u16,
    service: &CloudMapService,
) -> DiscoverError {
    let CloudMapService {
        namespace,
        service: name,
        ..
    } = service;
    let code = error.code().unwrap_or_default();
    let cause = match error.message() {
        Some(message) => shorten(&format!("{code}: {message}")),
        None => shorten(&format!("{code}, status {status}")),
    };
    match code {
        "NamespaceNotFound" => DiscoverError::NotFound {
            what: format!("cloud map namespace `{namespace}`"),
        },
        "ServiceNotFound" => DiscoverError::NotFound {
            what: format!("cloud map service `{name}` in namespace `{namespace}`"),
        },
        _ => by_code(code, status, cause),
    }
}

/// Whether the caller may not use this operation, or the endpoint does not know it; credentials
/// that have run out say nothing of the operation.
pub(super) fn is_operation_refused<E>(error: &SdkError<E>) -> bool
where
    E: ProvideErrorMetadata,
{
    error
        .code()
        .is_some_and(|code| OPERATION_REFUSED.contains(&code))
}

/// Errors that any AWS service may give, by code or else by HTTP status.
fn by_code(code: &str, status: u16, cause: String) -> DiscoverError {
    let source_name = SOURCE_NAME;
    if status == 429 || THROTTLED.contains(&code) {
        return DiscoverError::Throttled { source_name, cause };
    }
    if matches!(status, 401 | 403) || DENIED.contains(&code) {
        return DiscoverError::Denied {
            source_name,
            cause,
            remedy: "allow servicediscovery:DiscoverInstances in the task role",
        };
    }
    if status >= 500 {
        return DiscoverError::Outage { source_name, cause };
    }
    DiscoverError::Invalid {
        source_name,
        cause,
        remedy: "check the upstream's `namespace` and `service`, and that the endpoint is Cloud Map's",
    }
}

/// The texts of an error and its causes in one line.
fn excerpt<'e>(causes: impl Iterator<Item = &'e (dyn Error + 'static)>) -> String {
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    shorten(&texts.join(": "))
}

fn shorten(text: &str) -> String {
    text.chars().take(MAX_CAUSE_CHARS).collect()
}
