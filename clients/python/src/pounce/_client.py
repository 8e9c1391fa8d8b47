"""The client for threads: blocking calls, and streams that outlive a connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc

from ._backoff import Backoff, Opening
from ._connection import OPTIONS, Access, Metadata, Server, Turns
from ._errors import ClosedError, Fault, fault_of, passing
from ._job import Job, Reply, reply_of
from ._scoring import Scoring
from ._watch import LIVED, PAGE_SIZE, Connected, Lost, Missed, Told, Watched
from ._watch_cases import PAGE_SIZE as CASES_PAGE_SIZE
from ._watch_cases import CasesTold, WatchedCase
from .v1.alert_pb2 import Alert
from .v1.alert_service_pb2 import (
    AcknowledgeAlertRequest,
    AlertFilter,
    CloseAlertRequest,
    ListAlertsRequest,
    WatchAlertsRequest,
)
from .v1.care_service_pb2 import (
    CaseFilter,
    CaseOrder,
    ClaimCaseRequest,
    CloseCaseRequest,
    ListCasesRequest,
    ReleaseCaseRequest,
    WatchCasesRequest,
)
from .v1.case_pb2 import Case, CaseOutcome, CaseState
from .v1.event_pb2 import ScoredEvent
from .v1.post_pb2 import Post
from .v1.scoring_service_pb2 import (
    GetModelRequest,
    GetModelResponse,
    ScoreBatchRequest,
    ScoreRequest,
    Thresholds,
)

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Client:
    """A connection to the service, made when it is needed and made anew when it is lost.

    Thread-safe. `addresses` is `http://host:port`, or `https://host:port` for TLS, or several
    servers of one fleet: each call and each new stream goes to another one. A name with several
    addresses counts as all of them. `token` is a bearer token; `ca` a CA bundle (PEM) instead of
    grpc's own; `identity` the client's own certificate chain and key (PEM), where the service asks
    for them. `timeout` is in seconds and holds for every call but the streams.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] = "http://127.0.0.1:50051",
        *,
        token: str | None = None,
        ca: bytes | None = None,
        identity: tuple[bytes, bytes] | None = None,
        timeout: float = 10.0,
    ) -> None:
        access = Access(addresses, token, ca, identity)
        self._metadata = access.metadata
        self._timeout = timeout
        self._servers = [
            Server(
                grpc.secure_channel(address.target, access.credentials, OPTIONS)
                if address.secure
                else grpc.insecure_channel(address.target, OPTIONS)
            )
            for address in access.addresses
        ]
        self._turns = Turns(len(self._servers))
        self._closed = threading.Event()

    def close(self) -> None:
        """Ends every call that is open, and the connection."""
        self._closed.set()
        for server in self._servers:
            server.channel.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        self.close()

    def model(self) -> GetModelResponse:
        """What is being served: model, revision, limits, thresholds."""
        return self._call(lambda server: server.scoring.GetModel, GetModelRequest())

    def score(
        self, post: Post, *, thresholds: Thresholds | None = None, history: bool = False
    ) -> ScoredEvent:
        """Scores one post. Raises Refused, which names the field, for a bad one."""
        request = ScoreRequest(post=post, thresholds=thresholds, history=history)
        return self._call(lambda server: server.scoring.Score, request).event

    def score_batch(
        self, posts: Iterable[Post], *, thresholds: Thresholds | None = None, history: bool = False
    ) -> list[Reply]:
        """Scores several posts with one call; one reply for each, in their order."""
        request = ScoreBatchRequest(posts=posts, thresholds=thresholds, history=history)
        response = self._call(lambda server: server.scoring.ScoreBatch, request)
        return [reply_of(result) for result in response.results]

    def score_stream(
        self,
        posts: Iterable[Post],
        *,
        in_flight: int = 256,
        thresholds: Thresholds | None = None,
        patience: float = 60.0,
        history: bool = False,
    ) -> Generator[Reply]:
        """Scores posts as they come: one reply for each, in order, whatever happens to the
        connection. When a server drains, restarts or is lost, the unanswered posts go to a new
        stream; `sequence` of a reply counts over all of them.

        At most `in_flight` posts are taken from `posts` ahead of their replies; a thread takes
        them. If `posts` raises, the posts before are answered and then its error is raised.
        Raises Refused if the service refuses the stream for good, GaveUp after `patience` seconds
        of failures without a reply. Closing the iterator cancels what is open.

        With `history` the posts are recorded ones: they are scored, count for no topic and open no
        alert. Refused if the service is too old to know that.
        """
        job = Job(in_flight, thresholds, patience, history=history)
        return Scoring(self, job, posts).replies()

    def alerts(self, filter: AlertFilter | None = None, *, resolved: bool = False) -> list[Alert]:
        """Alerts that fire, newest first; with `resolved` also those of the last 24 hours."""
        alerts: list[Alert] = []
        request = ListAlertsRequest(filter=filter, resolved=resolved, page_size=PAGE_SIZE)
        while True:
            page = self._call(lambda server: server.alerts.ListAlerts, request)
            alerts += page.alerts
            if not page.next_page_token:
                return alerts
            request.page_token = page.next_page_token

    def acknowledge(self, alert_id: str, *, by: str, note: str = "") -> Alert:
        """Takes an alert: somebody takes care of it. The first acknowledgement stays."""
        request = AcknowledgeAlertRequest(id=alert_id, by=by, note=note)
        return self._call(lambda server: server.alerts.AcknowledgeAlert, request).alert

    def close_alert(
        self, alert_id: str, outcome: CaseOutcome.ValueType, *, by: str = "", note: str = ""
    ) -> Alert:
        """Closes an alert with an outcome; it goes on firing until its rule calms down. `by` is
        your name where the server asks for no tokens. Raises Refused if somebody closed it
        otherwise.
        """
        request = CloseAlertRequest(id=alert_id, by=by, outcome=outcome, note=note)
        return self._call(lambda server: server.alerts.CloseAlert, request).alert

    def watch(
        self, filter: AlertFilter | None = None, *, advocates: bool = False
    ) -> Generator[Watched]:
        """Tells of alerts, and of advocates if asked to, whatever happens to the connection.

        When the server drains, restarts or is lost, a new stream is opened, as often as it takes,
        and nothing is told twice. What opened and ended between two streams is not told. Raises
        Unreachable or Refused if the first call fails or a later one is refused for good.
        """
        request = WatchAlertsRequest(filter=filter, advocates=advocates)
        told, backoff, opening = Told(), Backoff(), Opening(self._timeout)
        connected = lost = False
        while True:
            began = time.monotonic()
            server = self.next_server()
            request.resume_after = told.position
            call = None
            try:
                if lost:
                    self.model_of(server, opening.seconds())
                call = server.alerts.WatchAlerts(request, metadata=self._metadata)
                # The stream is open once its headers are here; they are also where it failed.
                call.initial_metadata()
                if call.is_active():
                    listed = self._listed(server, filter) if told.firing else []
                    connected, lost = True, False
                    opening.reset()
                    yield Connected()
                    yield from told.catch_up(listed)
                for response in call:
                    if (news := told.hear(response)) is None:
                        continue
                    yield news
                    if isinstance(news, Missed) and news.changes:
                        yield from told.catch_up_missed(self._listed(server, filter))
                fault = Fault(grpc.StatusCode.UNAVAILABLE, "the service ended the watch")
            except grpc.RpcError as error:
                fault = passing(fault_of(error))
            finally:
                if call is not None:
                    call.cancel()
            self.check_open()
            if not connected or not fault.is_passing:
                fault.throw()
            if not lost:
                lost = True
                yield Lost(fault.message)
            if time.monotonic() - began >= LIVED:
                backoff.reset()
            self.sleep(backoff.pause())

    def cases(
        self,
        filter: CaseFilter | None = None,
        *,
        states: Iterable[CaseState.ValueType] = (),
        overdue: bool = False,
        order: CaseOrder.ValueType = CaseOrder.CASE_ORDER_DEADLINE,
    ) -> list[Case]:
        """Cases in `states` (none: open and claimed), those with the earliest deadline first; with
        `overdue` only those whose deadline passed.
        """
        cases: list[Case] = []
        request = ListCasesRequest(
            filter=filter, states=states, overdue=overdue, order=order, page_size=CASES_PAGE_SIZE
        )
        while True:
            page = self._call(lambda server: server.care.ListCases, request)
            cases += page.cases
            if not page.next_page_token:
                return cases
            request.page_token = page.next_page_token

    def claim_case(self, case_id: str, *, by: str = "") -> Case:
        """Takes a case for a limited time; again, to renew it. `by` is your name where the server
        asks for no tokens. Raises Refused, which says who has the case or closed it.
        """
        request = ClaimCaseRequest(id=case_id, by=by)
        return self._call(lambda server: server.care.ClaimCase, request).case

    def release_case(self, case_id: str, *, by: str = "") -> Case:
        """Gives a case back. One that nobody has stays as it is."""
        request = ReleaseCaseRequest(id=case_id, by=by)
        return self._call(lambda server: server.care.ReleaseCase, request).case

    def close_case(
        self, case_id: str, outcome: CaseOutcome.ValueType, *, by: str = "", note: str = ""
    ) -> Case:
        """Closes a case that nobody else has. Raises Refused if somebody closed it otherwise."""
        request = CloseCaseRequest(id=case_id, by=by, outcome=outcome, note=note)
        return self._call(lambda server: server.care.CloseCase, request).case

    def watch_cases(self, filter: CaseFilter | None = None) -> Generator[WatchedCase]:
        """Tells of cases, whatever happens to the connection: first those that are not closed, then
        each change.

        When the server drains, restarts or is lost, a new stream is opened, as often as it takes,
        and goes on after the last change if it can. Raises Unreachable or Refused if the first call
        fails or a later one is refused for good.
        """
        request = WatchCasesRequest(filter=filter)
        told, backoff, opening = CasesTold(), Backoff(), Opening(self._timeout)
        connected = lost = missed = False
        while True:
            began = time.monotonic()
            server = self.next_server()
            request.resume_after = told.begin()
            call = None
            try:
                if lost:
                    self.model_of(server, opening.seconds())
                call = server.care.WatchCases(request, metadata=self._metadata)
                # The stream is open once its headers are here; they are also where it failed.
                call.initial_metadata()
                if call.is_active():
                    connected, lost = True, False
                    opening.reset()
                    yield Connected()
                for response in call:
                    if response.HasField("current") and not response.current.resumed:
                        if ended := told.ended():
                            yield from told.end(ended, self._closed_cases(server, filter))
                    elif (news := told.hear(response)) is not None:
                        yield news
                        if missed := isinstance(news, Missed):
                            break
                fault = Fault(grpc.StatusCode.UNAVAILABLE, "the service ended the watch")
            except grpc.RpcError as error:
                fault = passing(fault_of(error))
            finally:
                if call is not None:
                    call.cancel()
            self.check_open()
            if missed:
                # A new stream tells what the changes led to.
                missed = False
                told.forget_position()
                continue
            if not connected or not fault.is_passing:
                fault.throw()
            if not lost:
                lost = True
                yield Lost(fault.message)
            if time.monotonic() - began >= LIVED:
                backoff.reset()
            self.sleep(backoff.pause())

    def model_of(self, server: Server, timeout: float) -> GetModelResponse:
        """Waits until a server can be reached and answers. For this package alone.

        grpc looks after a lost connection only while a call waits for it: a call that fails at
        once, tried again after a pause, would find it as it was.
        """
        return server.scoring.GetModel(
            GetModelRequest(), metadata=self._metadata, timeout=timeout, wait_for_ready=True
        )

    def next_server(self) -> Server:
        """The server of the next stream. For this package alone."""
        self.check_open()
        return self._servers[self._turns.next()[0]]

    @property
    def metadata(self) -> Metadata:
        """What every call sends. For this package alone."""
        return self._metadata

    @property
    def timeout(self) -> float:
        """Seconds that a unary call may take."""
        return self._timeout

    def check_open(self) -> None:
        """Raises ClosedError once the client is closed."""
        if self._closed.is_set():
            raise ClosedError("the client was closed")

    def sleep(self, seconds: float) -> None:
        """Waits, unless the client is closed meanwhile. For this package alone."""
        self._closed.wait(seconds)
        self.check_open()

    def _listed(self, server: Server, filter: AlertFilter | None) -> list[Alert]:
        """All alerts that fire or resolved in the last day, as one server knows them."""
        alerts: list[Alert] = []
        request = ListAlertsRequest(filter=filter, resolved=True, page_size=PAGE_SIZE)
        while True:
            page = server.alerts.ListAlerts(request, metadata=self._metadata, timeout=self._timeout)
            alerts += page.alerts
            if not page.next_page_token:
                return alerts
            request.page_token = page.next_page_token

    def _closed_cases(self, server: Server, filter: CaseFilter | None) -> list[Case]:
        """All closed cases, as one server knows them."""
        cases: list[Case] = []
        request = ListCasesRequest(
            filter=filter, states=[CaseState.CASE_STATE_CLOSED], page_size=CASES_PAGE_SIZE
        )
        while True:
            page = server.care.ListCases(request, metadata=self._metadata, timeout=self._timeout)
            cases += page.cases
            if not page.next_page_token:
                return cases
            request.page_token = page.next_page_token

    def _call(
        self,
        method: Callable[[Server], grpc.UnaryUnaryMultiCallable[_Request, _Response]],
        request: _Request,
    ) -> _Response:
        """Makes a unary call; tries the next server if one can't be reached."""
        fault = None
        for number in self._turns.next():
            self.check_open()
            call = method(self._servers[number])
            try:
                return call(request, metadata=self._metadata, timeout=self._timeout)
            except grpc.RpcError as error:
                fault = fault_of(error)
                if fault.code is not grpc.StatusCode.UNAVAILABLE:
                    break
        self.check_open()
        assert fault is not None
        fault.throw()
