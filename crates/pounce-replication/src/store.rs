//! Where replicas keep the newest snapshot for those that start: an object of NATS, and its label
//! in a key-value bucket, which is replaced by compare-and-swap.
//!
//! A label names the snapshot before it as well: entries of the log are dropped only up to that
//! one, so that the newest two snapshots can be used.

use async_nats::jetstream::kv;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::StorageType;
use bytes::Bytes;
use pounce_nats::with_causes;
use prost::Message;
use tokio::io::AsyncReadExt;

use crate::jet_stream::JetStreamLog;
use crate::log::LogError;

const KEY: &str = "snapshot";

/// Says which snapshot is the newest.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SnapshotLabel {
    /// When its log was made, in milliseconds since 1970.
    #[prost(uint64, tag = "1")]
    pub created: u64,
    /// Position of the last entry that it holds.
    #[prost(uint64, tag = "2")]
    pub position: u64,
    /// Name of the object.
    #[prost(string, tag = "3")]
    pub object: String,
    /// Of the snapshot before it; empty if there was none.
    #[prost(string, tag = "4")]
    pub previous_object: String,
    /// Of the snapshot before it.
    #[prost(uint64, tag = "5")]
    pub previous_position: u64,
}

/// What became of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is the newest.
    Newest,
    /// Another process published one that is as new, meanwhile.
    Outdated,
}

/// Keeps the newest snapshots of a log.
pub trait SnapshotStore: Send + Sync + 'static {
    /// The newest snapshot; none if there never was one.
    fn newest(
        &self,
    ) -> impl Future<Output = Result<Option<(SnapshotLabel, Bytes)>, LogError>> + Send;

    /// The snapshot before the one that `label` names, if it is still there. `created` of its label
    /// is 0 if it may be one of an earlier log.
    fn before(
        &self,
        label: &SnapshotLabel,
    ) -> impl Future<Output = Result<Option<(SnapshotLabel, Bytes)>, LogError>> + Send;

    /// Makes `bytes` the newest snapshot, of a log made at `created` and up to `position`, and
    /// drops what is no longer needed. Dropping the future leaves the newest one as it was, or
    /// replaced.
    fn publish(
        &self,
        created: u64,
        position: u64,
        bytes: Bytes,
    ) -> impl Future<Output = Result<Published, LogError>> + Send;
}

impl SnapshotStore for JetStreamLog {
    async fn newest(&self) -> Result<Option<(SnapshotLabel, Bytes)>, LogError> {
        let labels = self.labels().await?;
        let Some(value) = labels.get(KEY).await.map_err(|error| unreachable(&error))? else {
            return Ok(None);
        };
        let label = SnapshotLabel::decode(value)
            .map_err(|error| LogError::Refused(format!("a snapshot's label: {error}")))?;
        if let Some(bytes) = self.object(&label.object).await? {
            return Ok(Some((label, bytes)));
        }
        let before = self.before(&label).await?;
        let gone =
            || LogError::Unreachable("the snapshots that the label names are gone".to_owned());
        before.map(Some).ok_or_else(gone)
    }

    async fn before(
        &self,
        label: &SnapshotLabel,
    ) -> Result<Option<(SnapshotLabel, Bytes)>, LogError> {
        if label.previous_object.is_empty() {
            return Ok(None);
        }
        let bytes = self.object(&label.previous_object).await?;
        let before = SnapshotLabel {
            // The first snapshot of a log names one of an earlier log.
            created: if label.previous_position > 0 { label.created } else { 0 },
            position: label.previous_position,
            object: label.previous_object.clone(),
            previous_object: String::new(),
            previous_position: 0,
        };
        Ok(bytes.map(|bytes| (before, bytes)))
    }

    async fn publish(
        &self,
        created: u64,
        position: u64,
        bytes: Bytes,
    ) -> Result<Published, LogError> {
        let labels = self.labels().await?;
        let entry = labels.entry(KEY).await.map_err(|error| unreachable(&error))?;
        let revision = entry.as_ref().map_or(0, |entry| entry.revision);
        let present = entry.filter(|entry| entry.operation == kv::Operation::Put);
        let present = present.and_then(|entry| SnapshotLabel::decode(entry.value).ok());
        let same_log = present.as_ref().filter(|label| label.created == created);
        if same_log.is_some_and(|label| label.position >= position) {
            return Ok(Published::Outdated);
        }
        let objects = self.objects().await?;
        let label = SnapshotLabel {
            created,
            position,
            object: self.context().client().new_inbox(),
            previous_object: present.as_ref().map(|old| old.object.clone()).unwrap_or_default(),
            previous_position: same_log.map_or(0, |label| label.position),
        };
        objects
            .put(label.object.as_str(), &mut &bytes[..])
            .await
            .map_err(|error| unreachable(&error))?;
        // Whoever slept since the label was read finds another revision.
        let replaced = labels.update(KEY, label.encode_to_vec().into(), revision).await;
        if let Err(error) = replaced {
            if error.kind() != kv::UpdateErrorKind::WrongLastRevision {
                // The label may be the new one all the same: only the answer is known to be missing.
                return Err(unreachable(&error));
            }
            // It is nobody's: a failure to delete it costs room alone.
            let _ = objects.delete(&label.object).await;
            return Ok(Published::Outdated);
        }
        self.drop_old(&objects, present.as_ref(), &label).await?;
        Ok(Published::Newest)
    }
}

impl JetStreamLog {
    /// Drops the snapshot before the previous one, and the entries that the previous one holds.
    async fn drop_old(
        &self,
        objects: &ObjectStore,
        old: Option<&SnapshotLabel>,
        new: &SnapshotLabel,
    ) -> Result<(), LogError> {
        if let Some(old) = old.filter(|old| !old.previous_object.is_empty()) {
            match objects.delete(&old.previous_object).await {
                Ok(()) => {}
                Err(error) if error.kind() == object_store::DeleteErrorKind::NotFound => {}
                Err(error) => return Err(unreachable(&error)),
            }
        }
        if new.previous_position > 0 {
            self.purge_through(new.previous_position).await?;
        }
        Ok(())
    }

    async fn object(&self, name: &str) -> Result<Option<Bytes>, LogError> {
        let objects = self.objects().await?;
        let mut object = match objects.get(name).await {
            Ok(object) => object,
            Err(error) if error.kind() == object_store::GetErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreachable(&error)),
        };
        let mut bytes = Vec::with_capacity(object.info().size);
        object.read_to_end(&mut bytes).await.map_err(|error| unreachable(&error))?;
        Ok(Some(bytes.into()))
    }

    async fn labels(&self) -> Result<kv::Store, LogError> {
        self.connected()?;
        let bucket = self.stream_name();
        if let Ok(store) = self.context().get_key_value(bucket).await {
            return Ok(store);
        }
        let made = self.context().create_key_value(kv::Config {
            bucket: bucket.to_owned(),
            description: "which snapshot of Pounce is the newest".to_owned(),
            history: 1,
            num_replicas: self.copies(),
            storage: StorageType::File,
            ..kv::Config::default()
        });
        made.await.map_err(|error| LogError::Refused(with_causes(&error)))
    }

    async fn objects(&self) -> Result<ObjectStore, LogError> {
        self.connected()?;
        let bucket = self.stream_name();
        if let Ok(store) = self.context().get_object_store(bucket).await {
            return Ok(store);
        }
        let made = self.context().create_object_store(object_store::Config {
            bucket: bucket.to_owned(),
            description: Some("snapshots of Pounce's topics and alerts".to_owned()),
            max_bytes: self.snapshot_bytes_max(),
            num_replicas: self.copies(),
            storage: StorageType::File,
            ..object_store::Config::default()
        });
        made.await.map_err(|error| LogError::Refused(with_causes(&error)))
    }
}

fn unreachable(error: &dyn std::error::Error) -> LogError {
    LogError::Unreachable(with_causes(error))
}
