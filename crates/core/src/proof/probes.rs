//! Who asks whom in a verification, and how.

/// What a container of another host is asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Its name, which the fabric makes known to all hosts.
    ByName,
    /// Its own address: the fabric carries packets, and no names.
    ByAddress,
    /// A port that its host publishes on the private address: the fabric gives containers nothing of their own.
    ByPublishedPort,
}

impl Asked {
    /// In words: `by name`.
    #[must_use]
    pub fn in_words(self) -> &'static str {
        match self {
            Self::ByName => "by name",
            Self::ByAddress => "by address",
            Self::ByPublishedPort => "by address and port",
        }
    }
}

/// How a fabric is proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probes {
    /// The engine's network that the containers are put on.
    pub network: String,
    /// What they are asked by.
    pub asked: Asked,
}
