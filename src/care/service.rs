//! `CareService`: shells around the cases.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status};

use super::action::{Actor, CaseCommand};
use super::watch;
use super::wire::{CaseFilter, order, show_case, states};
use crate::auth::caller::Caller;
use crate::lifecycle::drain::{Drain, Phase};
use crate::requests::{self, page_token};
use crate::wire::outcome;
use pounce_proto::care_service_server::CareService;
use pounce_proto::{
    Case, ClaimCaseRequest, ClaimCaseResponse, CloseCaseRequest, CloseCaseResponse,
    ListCasesRequest, ListCasesResponse, ReleaseCaseRequest, ReleaseCaseResponse,
    WatchCasesRequest, WatchCasesResponse,
};

/// Cases of a page: the largest fit into the 4 MiB that clients take by default.
const CASES_MAX: usize = 200;
const CASES_DEFAULT: usize = 50;

/// The service's handlers.
pub(crate) struct Care {
    pub(crate) actor: Actor,
    pub(crate) drain: Drain,
}

impl Care {
    async fn act<T>(
        &self,
        request: &Request<T>,
        id: &str,
        by: &str,
        command: CaseCommand,
    ) -> Result<Option<Case>, Status> {
        let caller = Caller::of(request.extensions());
        let case = self.actor.act(&caller, id, by.to_owned(), command).await?;
        Ok(Some(show_case(&case)))
    }
}

#[tonic::async_trait]
impl CareService for Care {
    type WatchCasesStream = Pin<Box<dyn Stream<Item = Result<WatchCasesResponse, Status>> + Send>>;

    async fn list_cases(
        &self,
        request: Request<ListCasesRequest>,
    ) -> Result<Response<ListCasesResponse>, Status> {
        self.actor.check_on()?;
        let request = request.into_inner();
        let (filter, states) = (CaseFilter::parse(request.filter)?, states(&request.states)?);
        let (order, overdue) = (order(request.order)?, request.overdue);
        let list = (&filter, &states, overdue, order);
        let after = page_token::decode(&list, &request.page_token)?;
        let max = match request.page_size {
            0 => CASES_DEFAULT,
            asked => requests::page_size(asked, CASES_MAX)?,
        };
        let passes = |case: &pounce_cases::Case| {
            states.contains(&case.state()) && (!overdue || case.is_overdue()) && filter.passes(case)
        };
        let page = self.actor.cases.read(|engine| engine.page(order, passes, after.as_ref(), max));
        let next = page.next.map(|next| page_token::encode(&list, &next));
        Ok(Response::new(ListCasesResponse {
            cases: page.cases.iter().map(show_case).collect(),
            next_page_token: next.unwrap_or_default(),
        }))
    }

    async fn watch_cases(
        &self,
        request: Request<WatchCasesRequest>,
    ) -> Result<Response<Self::WatchCasesStream>, Status> {
        self.actor.check_on()?;
        let mut caller = Caller::of(request.extensions());
        let WatchCasesRequest { filter, resume_after } = request.into_inner();
        let filter = CaseFilter::parse(filter)?;
        let seen = requests::resume_after(&resume_after)?;
        let watched = watch::watch(&self.actor.cases, filter, seen);
        let mut drain = self.drain.clone();
        let over = async move {
            tokio::select! {
                () = drain.reached(Phase::Draining) => {}
                () = caller.taken_away() => {}
            }
        };
        let watched = watched.map(|message| Ok(WatchCasesResponse { message: Some(message) }));
        Ok(Response::new(Box::pin(watched.take_until(Box::pin(over)))))
    }

    async fn claim_case(
        &self,
        request: Request<ClaimCaseRequest>,
    ) -> Result<Response<ClaimCaseResponse>, Status> {
        let ClaimCaseRequest { id, by } = request.get_ref();
        let case = self.act(&request, id, by, CaseCommand::Claim).await?;
        Ok(Response::new(ClaimCaseResponse { case }))
    }

    async fn release_case(
        &self,
        request: Request<ReleaseCaseRequest>,
    ) -> Result<Response<ReleaseCaseResponse>, Status> {
        let ReleaseCaseRequest { id, by } = request.get_ref();
        let case = self.act(&request, id, by, CaseCommand::Release).await?;
        Ok(Response::new(ReleaseCaseResponse { case }))
    }

    async fn close_case(
        &self,
        request: Request<CloseCaseRequest>,
    ) -> Result<Response<CloseCaseResponse>, Status> {
        self.actor.check_on()?;
        let CloseCaseRequest { id, by, outcome: wire, note } = request.get_ref();
        let command = CaseCommand::Close { outcome: outcome(*wire)?, note: note.clone() };
        let case = self.act(&request, id, by, command).await?;
        Ok(Response::new(CloseCaseResponse { case }))
    }
}
