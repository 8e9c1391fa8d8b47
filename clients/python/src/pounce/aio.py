"""The client for asyncio: as `pounce.Client`, with coroutines and asynchronous iterators."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc

from ._aio_scoring import Scoring
from ._backoff import Backoff
from ._connection import OPTIONS, Access, AsyncServer, Metadata, Turns
from ._errors import ClosedError, Fault, fault_of
from ._job import Job, Reply, reply_of
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

__all__ = ["Client"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


class Client:
    """As `pounce.Client`; make and use it within one running event loop."""

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
            AsyncServer(
                grpc.aio.secure_channel(address.target, access.credentials, OPTIONS)
                if address.secure
                else grpc.aio.insecure_channel(address.target, OPTIONS)
            )
            for address in access.addresses
        ]
        self._turns = Turns(len(self._servers))
        self._closed = asyncio.Event()
        # A channel that is closed does not end the streams that nobody reads at the moment.
        self._streams: weakref.WeakSet[grpc.aio.Call] = weakref.WeakSet()

    async def close(self) -> None:
        """Ends every call that is open, and the connection."""
        self._closed.set()
        for call in list(self._streams):
            call.cancel()
        for server in self._servers:
            await server.channel.close()

    async def __aenter__(self) -> Self:
        """Returns itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes it."""
        await self.close()

    async def model(self) -> GetModelResponse:
        """What is being served: model, revision, limits, thresholds."""
        return await self._call(lambda server: server.scoring.GetModel, GetModelRequest())

    async def score(
        self, post: Post, *, thresholds: Thresholds | None = None, history: bool = False
    ) -> ScoredEvent:
        """Scores one post. Raises Refused, which names the field, for a bad one."""
        request = ScoreRequest(post=post, thresholds=thresholds, history=history)
        return (await self._call(lambda server: server.scoring.Score, request)).event

    async def score_batch(
        self, posts: Iterable[Post], *, thresholds: Thresholds | None = None, history: bool = False
    ) -> list[Reply]:
        """Scores several posts with one call; one reply for each, in their order."""
        request = ScoreBatchRequest(posts=posts, thresholds=thresholds, history=history)
        response = await self._call(lambda server: server.scoring.ScoreBatch, request)
        return [reply_of(result) for result in response.results]

    def score_stream(
        self,
        posts: Iterable[Post] | AsyncIterable[Post],
        *,
        in_flight: int = 256,
        thresholds: Thresholds | None = None,
        patience: float = 60.0,
        history: bool = False,
    ) -> AsyncGenerator[Reply]:
        """As `pounce.Client.score_stream`; a task takes the posts.

        Close it with `contextlib.aclosing` if you leave it before its end.
        """
        job = Job(in_flight, thresholds, patience, history=history)
        return Scoring(self, job, posts).replies()

    async def alerts(
        self, filter: AlertFilter | None = None, *, resolved: bool = False
    ) -> list[Alert]:
        """Alerts that fire, newest first; with `resolved` also those of the last 24 hours."""
        alerts: list[Alert] = []
        request = ListAlertsRequest(filter=filter, resolved=resolved, page_size=PAGE_SIZE)
        while True:
            page = await self._call(lambda server: server.alerts.ListAlerts, request)
            alerts += page.alerts
            if not page.next_page_token:
                return alerts
            request.page_token = page.next_page_token

    async def acknowledge(self, alert_id: str, *, by: str, note: str = "") -> Alert:
        """Takes an alert: somebody takes care of it. The first acknowledgement stays."""
        request = AcknowledgeAlertRequest(id=alert_id, by=by, note=note)
        return (await self._call(lambda server: server.alerts.AcknowledgeAlert, request)).alert

    async def close_alert(
        self, alert_id: str, outcome: CaseOutcome.ValueType, *, by: str = "", note: str = ""
    ) -> Alert:
        """As `pounce.Client.close_alert`."""
        request = CloseAlertRequest(id=alert_id, by=by, outcome=outcome, note=note)
        return (await self._call(lambda server: server.alerts.CloseAlert, request)).alert

    async def watch(
        self, filter: AlertFilter | None = None, *, advocates: bool = False
    ) -> AsyncGenerator[Watched]:
        """As `pounce.Client.watch`."""
        request = WatchAlertsRequest(filter=filter, advocates=advocates)
        told, backoff = Told(), Backoff()
        connected = lost = False
        while True:
            began = time.monotonic()
            server = self.next_server()
            request.resume_after = told.position
            call = server.alerts.WatchAlerts(request, metadata=self._metadata)
            self.opened(call)
            try:
                # The stream is open once its headers are here.
                await call.wait_for_connection()
                listed = await self._listed(server, filter) if told.firing else []
                connected, lost = True, False
                yield Connected()
                for news in told.catch_up(listed):
                    yield news
                async for response in call:
                    if (heard := told.hear(response)) is None:
                        continue
                    yield heard
                    if isinstance(heard, Missed) and heard.changes:
                        for news in told.catch_up_missed(await self._listed(server, filter)):
                            yield news
                fault = Fault(grpc.StatusCode.UNAVAILABLE, "the service ended the watch")
            except grpc.RpcError as error:
                fault = fault_of(error)
            except asyncio.CancelledError:
                # Also what grpc raises where the client is closed meanwhile.
                self.check_open()
                raise
            finally:
                call.cancel()
            self.check_open()
            if not connected or not fault.is_passing:
                fault.throw()
            if not lost:
                lost = True
                yield Lost(fault.message)
            if time.monotonic() - began >= LIVED:
                backoff.reset()
            await self.sleep(backoff.pause())

    async def cases(
        self,
        filter: CaseFilter | None = None,
        *,
        states: Iterable[CaseState.ValueType] = (),
        overdue: bool = False,
        order: CaseOrder.ValueType = CaseOrder.CASE_ORDER_DEADLINE,
    ) -> list[Case]:
        """As `pounce.Client.cases`."""
        cases: list[Case] = []
        request = ListCasesRequest(
            filter=filter, states=states, overdue=overdue, order=order, page_size=CASES_PAGE_SIZE
        )
        while True:
            page = await self._call(lambda server: server.care.ListCases, request)
            cases += page.cases
            if not page.next_page_token:
                return cases
            request.page_token = page.next_page_token

    async def claim_case(self, case_id: str, *, by: str = "") -> Case:
        """As `pounce.Client.claim_case`."""
        request = ClaimCaseRequest(id=case_id, by=by)
        return (await self._call(lambda server: server.care.ClaimCase, request)).case

    async def release_case(self, case_id: str, *, by: str = "") -> Case:
        """Gives a case back. One that nobody has stays as it is."""
        request = ReleaseCaseRequest(id=case_id, by=by)
        return (await self._call(lambda server: server.care.ReleaseCase, request)).case

    async def close_case(
        self, case_id: str, outcome: CaseOutcome.ValueType, *, by: str = "", note: str = ""
    ) -> Case:
        """As `pounce.Client.close_case`."""
        request = CloseCaseRequest(id=case_id, by=by, outcome=outcome, note=note)
        return (await self._call(lambda server: server.care.CloseCase, request)).case

    async def watch_cases(self, filter: CaseFilter | None = None) -> AsyncGenerator[WatchedCase]:
        """As `pounce.Client.watch_cases`."""
        request = WatchCasesRequest(filter=filter)
        told, backoff = CasesTold(), Backoff()
        connected = lost = missed = False
        while True:
            began = time.monotonic()
            server = self.next_server()
            request.resume_after = told.begin()
            call = server.care.WatchCases(request, metadata=self._metadata)
            self.opened(call)
            try:
                # The stream is open once its headers are here.
                await call.wait_for_connection()
                connected, lost = True, False
                yield Connected()
                async for response in call:
                    if response.HasField("current") and not response.current.resumed:
                        if ended := told.ended():
                            for end in told.end(ended, await self._closed_cases(server, filter)):
                                yield end
                    elif (news := told.hear(response)) is not None:
                        yield news
                        if missed := isinstance(news, Missed):
                            break
                fault = Fault(grpc.StatusCode.UNAVAILABLE, "the service ended the watch")
            except grpc.RpcError as error:
                fault = fault_of(error)
            except asyncio.CancelledError:
                # Also what grpc raises where the client is closed meanwhile.
                self.check_open()
                raise
            finally:
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
            await self.sleep(backoff.pause())

    def next_server(self) -> AsyncServer:
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

    def opened(self, call: grpc.aio.Call) -> None:
        """A stream was opened, which ends with the client. For this package alone."""
        self._streams.add(call)

    def check_open(self) -> None:
        """Raises ClosedError once the client is closed."""
        if self._closed.is_set():
            raise ClosedError("the client was closed")

    async def sleep(self, seconds: float) -> None:
        """Waits, unless the client is closed meanwhile. For this package alone."""
        try:
            async with asyncio.timeout(seconds):
                await self._closed.wait()
        except TimeoutError:
            return
        self.check_open()

    async def _listed(self, server: AsyncServer, filter: AlertFilter | None) -> list[Alert]:
        """All alerts that fire or resolved in the last day, as one server knows them."""
        alerts: list[Alert] = []
        request = ListAlertsRequest(filter=filter, resolved=True, page_size=PAGE_SIZE)
        while True:
            page = await server.alerts.ListAlerts(
                request, metadata=self._metadata, timeout=self._timeout
            )
            alerts += page.alerts
            if not page.next_page_token:
                return alerts
            request.page_token = page.next_page_token

    async def _closed_cases(self, server: AsyncServer, filter: CaseFilter | None) -> list[Case]:
        """All closed cases, as one server knows them."""
        cases: list[Case] = []
        request = ListCasesRequest(
            filter=filter, states=[CaseState.CASE_STATE_CLOSED], page_size=CASES_PAGE_SIZE
        )
        while True:
            page = await server.care.ListCases(
                request, metadata=self._metadata, timeout=self._timeout
            )
            cases += page.cases
            if not page.next_page_token:
                return cases
            request.page_token = page.next_page_token

    async def _call(
        self,
        method: Callable[[AsyncServer], grpc.aio.UnaryUnaryMultiCallable[_Request, _Response]],
        request: _Request,
    ) -> _Response:
        """Makes a unary call; tries the next server if one can't be reached."""
        fault = None
        for number in self._turns.next():
            self.check_open()
            call = method(self._servers[number])
            try:
                return await call(request, metadata=self._metadata, timeout=self._timeout)
            except asyncio.CancelledError:
                # Also what grpc raises where the client is closed meanwhile.
                self.check_open()
                raise
            except grpc.RpcError as error:
                fault = fault_of(error)
                if fault.code is not grpc.StatusCode.UNAVAILABLE:
                    break
        self.check_open()
        assert fault is not None
        fault.throw()
