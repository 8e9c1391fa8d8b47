//! Who shares the queue: callers, and the flows of each. Plain values.

/// A caller: whoever holds a token or, without tokens, a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallerId(pub u64);

/// A flow of posts, such as a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowId(pub u64);

/// A flow and the caller it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The caller.
    pub caller: CallerId,
    /// The flow, unique over all callers but for [`FlowKey::shared`].
    pub flow: FlowId,
}

impl FlowKey {
    /// The flow that all unary calls of a caller share.
    #[must_use]
    pub const fn shared(caller: CallerId) -> Self {
        Self { caller, flow: FlowId(0) }
    }
}
