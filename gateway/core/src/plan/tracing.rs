//! Which requests are traced, and how other processes hear of it.

use crate::words::rate::Threshold;

/// What is decided of a request's trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tracing {
    /// Which of the traces that begin here are sampled.
    pub roots: Threshold,
    /// Whose decision is followed.
    pub parents: Parents,
    /// Whether B3 headers are read where there is no valid `traceparent`.
    pub reads_b3: bool,
    /// The B3 headers that go upstream beside `traceparent`.
    pub sends_b3: SendB3,
}

/// Whose decision to sample a trace is followed. Its ids are taken from anybody: they link spans
/// and grant nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parents {
    /// Anybody's.
    All,
    /// That of trusted proxies.
    Trusted,
    /// Nobody's: the share decides of every trace.
    None,
}

/// B3 headers that go upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendB3 {
    /// None; a client's own pass unchanged.
    None,
    /// One header, `b3`.
    Single,
    /// Several, `X-B3-…`.
    Multi,
}

impl Parents {
    /// Whether the decision that came with a request is followed.
    #[must_use]
    pub fn is_followed(self, is_trusted: bool) -> bool {
        match self {
            Self::All => true,
            Self::Trusted => is_trusted,
            Self::None => false,
        }
    }
}
