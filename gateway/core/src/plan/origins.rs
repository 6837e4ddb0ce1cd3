//! Where the file says what a plan has, for whoever asks why.

use serde::Serialize;

/// Lines of a routes file, counted from 1, by the indices of the plan; `None` where the file does
/// not say a thing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origins {
    /// What the file is called, commonly its path.
    pub file: Box<str>,
    /// By the route's index.
    pub routes: Vec<Option<u32>>,
    /// By the cluster's index.
    pub upstreams: Vec<Option<u32>>,
    /// By the provider's index.
    pub jwt_providers: Vec<Option<u32>>,
    /// By the list's index.
    pub api_keys: Vec<Option<u32>>,
}
