//! One watch of cases over as many streams as it takes.
//!
//! A new stream goes on after the last change, if the service can, or begins with the cases that
//! are not closed: of those only what was not told before is told. What was closed meanwhile is
//! looked up.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::Stream;
use tokio::time::Instant;
use tonic::Status;

use crate::backoff::Backoff;
use crate::connection::Line;
use crate::error::{ClientError, is_passing, reason};
use pounce_proto::care_service_client::CareServiceClient;
use pounce_proto::watch_cases_response::Message;
use pounce_proto::{
    Case, CaseChange, CaseChangeKind, CaseFilter, CaseState, ListCasesRequest, WatchCasesRequest,
    WatchCasesResponse,
};

/// A stream that lived for less did not help: the next pause is longer.
const STABLE_AFTER: Duration = Duration::from_secs(2);

/// Cases of a page: the most that a service gives.
pub(crate) const PAGE_SIZE: i32 = 200;

/// What a watch of cases tells.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchedCase {
    /// The stream is open; the cases that are not closed and were not told before follow.
    Connected,
    /// The stream ended, for this reason; a new one is being opened.
    Lost(String),
    /// A case changed, or was not closed when the watch began.
    Change(Box<CaseChange>),
    /// A case that was not closed is unknown to the service: it was dropped, or the service
    /// restarted without its state. As it was told last.
    Gone(Box<Case>),
    /// So many changes came too fast to be told. What they led to follows.
    Missed(u64),
}

/// Every case of a list, read by pages.
pub(super) async fn list(
    service: &mut CareServiceClient<Line>,
    mut request: ListCasesRequest,
) -> Result<Vec<Case>, Status> {
    let mut cases = Vec::new();
    request.page_size = PAGE_SIZE;
    loop {
        let page = service.list_cases(request.clone()).await?.into_inner();
        cases.extend(page.cases);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(cases);
        }
    }
}

pub(super) fn watch(
    mut service: CareServiceClient<Line>,
    filter: CaseFilter,
) -> impl Stream<Item = Result<WatchedCase, ClientError>> + Send {
    async_stream::stream! {
        let mut told = Told::default();
        let mut backoff = Backoff::new();
        let mut connected = false;
        // One word for each loss, however many attempts it takes.
        let mut lost = false;
        loop {
            let opened = Instant::now();
            let request = WatchCasesRequest {
                filter: Some(filter.clone()),
                resume_after: told.begin(),
            };
            let status = match service.watch_cases(request).await {
                Ok(stream) => {
                    let mut stream = stream.into_inner();
                    (connected, lost) = (true, false);
                    yield Ok(WatchedCase::Connected);
                    loop {
                        match stream.message().await {
                            Ok(Some(response)) => match told.hear(response) {
                                Heard::News(news) => yield Ok(news),
                                Heard::Nothing => {}
                                Heard::Began => {
                                    match told.ended(&mut service, &filter).await {
                                        Ok(news) => for news in news {
                                            yield Ok(news);
                                        },
                                        Err(status) => break status,
                                    }
                                }
                            },
                            Ok(None) => break Status::unavailable("the service ended the watch"),
                            Err(status) => break status,
                        }
                        if told.missed {
                            break Status::unavailable("changes came too fast");
                        }
                    }
                }
                Err(status) => status,
            };
            if std::mem::take(&mut told.missed) {
                continue;
            }
            if !connected || !is_passing(&status) {
                yield Err(ClientError::of(status));
                break;
            }
            if !std::mem::replace(&mut lost, true) {
                yield Ok(WatchedCase::Lost(reason(&status)));
            }
            if opened.elapsed() >= STABLE_AFTER {
                backoff.reset();
            }
            backoff.wait().await;
        }
    }
}

/// What a message of the stream tells.
#[derive(Debug, PartialEq)]
enum Heard {
    News(WatchedCase),
    Nothing,
    /// The cases that are not closed are complete: those that were told and are not among them have
    /// ended.
    Began,
}

/// What was told already.
#[derive(Default)]
struct Told {
    /// Cases that are not closed, by id, as they were told last.
    open: HashMap<String, Case>,
    /// Those of them that the present stream told of.
    present: HashSet<String>,
    /// Of the last change; empty where there was none.
    position: String,
    /// Changes were missed: a new stream tells what they led to.
    missed: bool,
}

impl Told {
    /// A new stream begins; where it is to go on.
    fn begin(&mut self) -> String {
        self.present.clear();
        self.position.clone()
    }

    fn hear(&mut self, response: WatchCasesResponse) -> Heard {
        match response.message {
            Some(Message::Change(change)) => self.change(change),
            Some(Message::Current(current)) if current.resumed => Heard::Nothing,
            Some(Message::Current(_)) => Heard::Began,
            Some(Message::Missed(missed)) => {
                self.missed = true;
                self.position.clear();
                Heard::News(WatchedCase::Missed(missed))
            }
            None => Heard::Nothing,
        }
    }

    fn change(&mut self, change: CaseChange) -> Heard {
        if !change.position.is_empty() {
            self.position.clone_from(&change.position);
        }
        let Some(case) = change.case.as_ref() else { return Heard::Nothing };
        self.present.insert(case.id.clone());
        let over = change.kind() == CaseChangeKind::Evicted || case.state() == CaseState::Closed;
        let last = match over {
            true => self.open.remove(&case.id),
            false => self.open.insert(case.id.clone(), case.clone()),
        };
        let known = change.kind() == CaseChangeKind::Present && last.as_ref() == Some(case);
        if known { Heard::Nothing } else { Heard::News(WatchedCase::Change(Box::new(change))) }
    }

    /// What has become of the cases that were told and that the present stream did not tell of.
    async fn ended(
        &mut self,
        service: &mut CareServiceClient<Line>,
        filter: &CaseFilter,
    ) -> Result<Vec<WatchedCase>, Status> {
        let (open, present) = (&self.open, &self.present);
        let ended: HashSet<String> =
            open.keys().filter(|id| !present.contains(*id)).cloned().collect();
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        let request = ListCasesRequest {
            filter: Some(filter.clone()),
            states: vec![CaseState::Closed.into()],
            ..ListCasesRequest::default()
        };
        let closed = list(service, request).await?;
        Ok(self.end(ended, closed))
    }

    fn end(&mut self, ended: HashSet<String>, closed: Vec<Case>) -> Vec<WatchedCase> {
        let mut closed: HashMap<String, Case> =
            closed.into_iter().map(|case| (case.id.clone(), case)).collect();
        let mut news = Vec::new();
        for id in ended {
            let last = self.open.remove(&id);
            let kind = CaseChangeKind::Closed.into();
            news.extend(match closed.remove(&id) {
                Some(case) => {
                    let change = CaseChange { kind, case: Some(case), position: String::new() };
                    Some(WatchedCase::Change(Box::new(change)))
                }
                None => last.map(|case| WatchedCase::Gone(Box::new(case))),
            });
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pounce_proto::WatchCasesCurrent;

    fn case(id: &str, state: CaseState) -> Case {
        Case { id: id.to_owned(), state: state.into(), ..Case::default() }
    }

    fn change(kind: CaseChangeKind, case: Case, position: &str) -> WatchCasesResponse {
        let position = position.to_owned();
        let change = CaseChange { kind: kind.into(), case: Some(case), position };
        WatchCasesResponse { message: Some(Message::Change(change)) }
    }

    fn current(resumed: bool) -> WatchCasesResponse {
        WatchCasesResponse { message: Some(Message::Current(WatchCasesCurrent { resumed })) }
    }

    fn is_news(heard: &Heard) -> bool {
        matches!(heard, Heard::News(_))
    }

    /// A watch that was told of cases `a`, `b` and `c`.
    fn told() -> Told {
        let mut told = Told::default();
        assert_eq!(told.begin(), "");
        for id in ["a", "b", "c"] {
            let present = change(CaseChangeKind::Present, case(id, CaseState::Open), "");
            assert!(is_news(&told.hear(present)));
        }
        assert_eq!(told.hear(current(false)), Heard::Began);
        told
    }

    #[test]
    fn a_stream_that_goes_on_tells_every_change_and_looks_nothing_up() {
        let mut told = told();
        let claimed = change(CaseChangeKind::Claimed, case("a", CaseState::Claimed), "7.1");
        assert!(is_news(&told.hear(claimed)));
        assert_eq!(told.begin(), "7.1");
        let closed = change(CaseChangeKind::Closed, case("a", CaseState::Closed), "7.2");
        assert!(is_news(&told.hear(closed)));
        assert_eq!(told.hear(current(true)), Heard::Nothing);
        assert_eq!(told.open.len(), 2);
    }

    #[test]
    fn a_stream_that_begins_anew_tells_what_differs_and_what_ended() {
        let mut told = told();
        told.begin();
        let same = change(CaseChangeKind::Present, case("a", CaseState::Open), "");
        assert_eq!(told.hear(same), Heard::Nothing);
        let ended = HashSet::from(["b".to_owned(), "c".to_owned()]);
        let mut news = told.end(ended, vec![case("b", CaseState::Closed)]);
        news.sort_by_key(|news| matches!(news, WatchedCase::Gone(_)));
        let [WatchedCase::Change(closed), WatchedCase::Gone(gone)] = &news[..] else {
            panic!("one was closed, one is gone: {news:?}")
        };
        assert_eq!(closed.kind(), CaseChangeKind::Closed);
        assert_eq!(gone.id, "c");
        assert_eq!(told.open.len(), 1);
    }

    #[test]
    fn after_missed_changes_the_watch_begins_anew() {
        let mut told = told();
        told.hear(change(CaseChangeKind::Claimed, case("a", CaseState::Claimed), "7.1"));
        let missed = WatchCasesResponse { message: Some(Message::Missed(9)) };
        assert_eq!(told.hear(missed), Heard::News(WatchedCase::Missed(9)));
        assert!(told.missed);
        assert_eq!(told.begin(), "", "from what there is");
    }
}
