//! What of the storage can't be used.

/// Why storage can't be used as the spec says. It is no error of the whole: the rest is made, and pods that run go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Objection {
    /// One of [`crds::reason`].
    pub reason: &'static str,
    /// What is wrong and what would be right. Never a value of a Secret.
    pub message: String,
}
