//! What an upstream instance does to the requests that it gets.

/// One way to answer, or not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers.
    Good,
    /// Nothing listens, though the process lives.
    Refuse,
    /// Resets the connection when the request has come.
    ResetBeforeHead,
    /// Resets the connection after the answer's head.
    ResetAfterHead,
    /// Closes in good order after half of the body.
    HalfBody,
    /// Sends the body piece by piece, with pauses.
    SlowBody,
    /// Sends what is not HTTP.
    Garbage,
    /// Sends a head without end.
    LongHead,
    /// Takes requests and never answers.
    Hang,
    /// Answers 503.
    Unavailable,
}

impl Behaviour {
    const ALL: [Self; 10] = [
        Self::Good,
        Self::Refuse,
        Self::ResetBeforeHead,
        Self::ResetAfterHead,
        Self::HalfBody,
        Self::SlowBody,
        Self::Garbage,
        Self::LongHead,
        Self::Hang,
        Self::Unavailable,
    ];

    /// How the suite calls it when it speaks to an instance.
    pub(crate) fn name(self) -> String {
        format!("{self:?}")
    }

    /// The one of this name.
    pub(crate) fn named(name: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|behaviour| behaviour.name() == name);
        found.unwrap_or_else(|| panic!("no behaviour is called `{name}`"))
    }
}
