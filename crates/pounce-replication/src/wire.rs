//! The bytes of an entry, as protobuf. Fields are only ever added; what an older reader would
//! count otherwise than a newer one needs a new [`EntryForm`](crate::EntryForm).

/// Tag of [`BatchWire::items`], which are encoded one by one.
pub(super) const ITEMS_TAG: u32 = 5;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct BatchWire {
    /// Of the form; the first field, in one byte, so that it can be replaced.
    #[prost(uint32, tag = "1")]
    pub(super) version: u32,
    /// Chosen at random when the writer starts.
    #[prost(fixed64, tag = "2")]
    pub(super) writer: u64,
    /// Of the writer's batches, from 1.
    #[prost(uint64, tag = "3")]
    pub(super) number: u64,
    /// Hash of the writer's alert settings.
    #[prost(fixed64, tag = "4")]
    pub(super) settings: u64,
    /// None: the entry is a tick.
    #[prost(message, repeated, tag = "5")]
    pub(super) items: Vec<ItemWire>,
    /// Version of the newest form that the writer reads. 0, from releases that tell none: the one
    /// that it writes.
    #[prost(uint32, tag = "6")]
    pub(super) reads: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ItemWire {
    #[prost(oneof = "ItemKindWire", tags = "1, 2, 3, 4, 5, 6, 7")]
    pub(super) kind: Option<ItemKindWire>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ItemKindWire {
    #[prost(message, tag = "1")]
    Observation(ObservationWire),
    #[prost(message, tag = "2")]
    Acknowledge(AcknowledgeWire),
    #[prost(message, tag = "3")]
    Advocate(AdvocateWire),
    #[prost(message, tag = "4")]
    Release(ReleaseWire),
    #[prost(message, tag = "5")]
    Signal(SignalWire),
    /// From version 2 on.
    #[prost(message, tag = "6")]
    Case(CaseActionWire),
    /// From version 3 on.
    #[prost(message, tag = "7")]
    CloseAlert(CloseAlertWire),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ObservationWire {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(string, tag = "2")]
    pub(super) place: String,
    #[prost(string, tag = "3")]
    pub(super) post_id: String,
    /// Keyed hash of the author's id.
    #[prost(fixed64, optional, tag = "4")]
    pub(super) author: Option<u64>,
    #[prost(uint64, tag = "5")]
    pub(super) followers: u64,
    /// Event time, milliseconds since 1970.
    #[prost(uint64, tag = "6")]
    pub(super) at: u64,
    /// 1 to 3: negative, neutral, positive.
    #[prost(uint32, tag = "7")]
    pub(super) sentiment: u32,
    /// 0: not discontent; 1 to 3: severity low to high.
    #[prost(uint32, tag = "8")]
    pub(super) discontent: u32,
    /// Event time of the writer's oldest post of the topic that is still in flight.
    #[prost(uint64, optional, tag = "9")]
    pub(super) oldest_in_flight: Option<u64>,
    /// P(positive), if the post was flagged as advocate.
    #[prost(float, optional, tag = "10")]
    pub(super) advocate: Option<f32>,
    /// In a language that the model does not know.
    #[prost(bool, tag = "11")]
    pub(super) foreign: bool,
    /// Id of the signal that discontent rests on.
    #[prost(fixed64, tag = "12")]
    pub(super) signal: u64,
    /// Keyed hash of the text without what copies differ in.
    #[prost(fixed64, optional, tag = "13")]
    pub(super) near_text: Option<u64>,
    /// Milliseconds within which somebody should respond, if the post opens or joins a case. From
    /// version 2 on.
    #[prost(uint64, optional, tag = "14")]
    pub(super) respond_within: Option<u64>,
}

/// Somebody does something with a case.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CaseActionWire {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) by: String,
    #[prost(oneof = "ActionKindWire", tags = "3, 4, 5")]
    pub(super) kind: Option<ActionKindWire>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum ActionKindWire {
    /// A claim: milliseconds of its lease.
    #[prost(uint64, tag = "3")]
    Claim(u64),
    #[prost(bool, tag = "4")]
    Release(bool),
    #[prost(message, tag = "5")]
    Close(CloseWire),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CloseWire {
    /// 1 to 4: answered, no answer needed, false alarm, could not reach.
    #[prost(uint32, tag = "1")]
    pub(super) outcome: u32,
    #[prost(string, tag = "2")]
    pub(super) note: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AcknowledgeWire {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) by: String,
    #[prost(string, tag = "3")]
    pub(super) note: String,
}

/// Somebody closes an alert.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CloseAlertWire {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) by: String,
    /// As in [`CloseWire`].
    #[prost(uint32, tag = "3")]
    pub(super) outcome: u32,
    #[prost(string, tag = "4")]
    pub(super) note: String,
}

/// Of a post that counts for no topic.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AdvocateWire {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(string, tag = "2")]
    pub(super) place: String,
    #[prost(string, tag = "3")]
    pub(super) post_id: String,
    #[prost(uint64, tag = "4")]
    pub(super) followers: u64,
    #[prost(float, tag = "5")]
    pub(super) probability: f32,
    #[prost(uint64, tag = "6")]
    pub(super) at: u64,
}

/// The writer has no more posts of the topic in flight, or an oldest one of another time.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ReleaseWire {
    #[prost(string, tag = "1")]
    pub(super) topic: String,
    #[prost(uint64, optional, tag = "2")]
    pub(super) oldest_in_flight: Option<u64>,
}

/// What the writer's decisions of discontent rest on.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct SignalWire {
    #[prost(string, tag = "1")]
    pub(super) model: String,
    #[prost(string, tag = "2")]
    pub(super) revision: String,
    /// 1: the probability of negative; 2: an output of its own.
    #[prost(uint32, tag = "3")]
    pub(super) source: u32,
    #[prost(double, tag = "4")]
    pub(super) threshold: f64,
}
