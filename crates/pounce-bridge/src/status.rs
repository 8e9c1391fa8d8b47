//! Whether the bridge can do its work now, and if not, why: what its health endpoint says.

use std::sync::Mutex;

/// A part that the bridge depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The broker that posts come from.
    Source,
    /// The service that scores them.
    Service,
    /// The broker that events go to.
    Sink,
}

impl Part {
    const ALL: [Self; 3] = [Self::Source, Self::Service, Self::Sink];

    /// Its name in logs, metrics and answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Service => "service",
            Self::Sink => "sink",
        }
    }
}

/// What is known of each part. Nothing is ready before it was seen to be.
#[derive(Debug)]
pub struct Status(Mutex<[Result<(), String>; 3]>);

impl Default for Status {
    fn default() -> Self {
        let unknown = || Err("not reached yet".to_owned());
        Self(Mutex::new([unknown(), unknown(), unknown()]))
    }
}

impl Status {
    /// Notes what was seen of a part; logs it if it is news.
    /// # Panics
    /// Never: nothing panics under the lock.
    pub fn seen(&self, part: Part, state: Result<(), String>) {
        crate::metrics::part_ready(part.name(), state.is_ok());
        let mut parts = self.0.lock().expect("no panic under the lock");
        let before = std::mem::replace(&mut parts[part as usize], state.clone());
        drop(parts);
        match (&before, &state) {
            (Err(_), Ok(())) => tracing::info!(part = part.name(), "ready"),
            (Ok(()), Err(reason)) => tracing::warn!(part = part.name(), reason, "not ready"),
            (Err(before), Err(reason)) if before != reason => {
                tracing::warn!(part = part.name(), reason, "still not ready");
            }
            _ => {}
        }
    }

    /// Whether every part is ready.
    /// # Errors
    /// One line for each that is not: `sink: why`.
    /// # Panics
    /// Never: nothing panics under the lock.
    pub fn ready(&self) -> Result<(), String> {
        let parts = self.0.lock().expect("no panic under the lock");
        let mut lines = String::new();
        for (part, state) in Part::ALL.into_iter().zip(parts.iter()) {
            if let Err(reason) = state {
                lines = format!("{lines}{}: {reason}\n", part.name());
            }
        }
        if lines.is_empty() { Ok(()) } else { Err(lines) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_part_was_seen_to_be() {
        let status = Status::default();
        assert!(status.ready().is_err(), "nothing was seen yet");
        status.seen(Part::Source, Ok(()));
        status.seen(Part::Service, Ok(()));
        assert_eq!(status.ready(), Err("sink: not reached yet\n".to_owned()));
        status.seen(Part::Sink, Ok(()));
        assert_eq!(status.ready(), Ok(()));
        status.seen(Part::Service, Err("gone".to_owned()));
        assert_eq!(status.ready(), Err("service: gone\n".to_owned()));
    }
}
