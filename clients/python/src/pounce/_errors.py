"""Why a call failed, and whether trying again may help."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# Statuses after which the same call may succeed later or elsewhere.
PASSING = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class PounceError(Exception):
    """The service could not be used."""


class AddressError(PounceError, ValueError):
    """An address, a certificate or a token is of no use."""


class Unreachable(PounceError):
    """The service can't be reached, or is going away."""


class ClosedError(PounceError):
    """The client was closed while it was used."""


class GaveUp(PounceError):
    """The service could not be reached, or went away, for too long."""


class Refused(PounceError):
    """The service refused the call; trying it again unchanged would not help, unless it is
    RESOURCE_EXHAUSTED: then `retry_after` says when it may.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"the service refused the call ({fault.code.name}): {fault.message}")
        self.code = fault.code
        self.field = fault.field
        """Path of the field at fault, such as `post.text`; empty if there is none."""
        self.retry_after = fault.retry_after
        """Seconds to wait before the next try; None if the service did not say."""


@dataclass(frozen=True)
class Fault:
    """The status that a call ended with."""

    code: grpc.StatusCode
    message: str
    field: str = ""
    retry_after: float | None = None

    @property
    def is_passing(self) -> bool:
        """Whether the call may succeed later or elsewhere."""
        return self.code in PASSING

    def throw(self) -> NoReturn:
        """Raises it as the error of a call that is not tried again."""
        if self.code is grpc.StatusCode.UNAVAILABLE:
            raise Unreachable(f"the service can't be reached: {self.message}")
        raise Refused(self)


def fault_of(error: grpc.RpcError) -> Fault:
    """Reads the status of a failed call, with the details that the service adds to it."""
    if not isinstance(error, grpc.Call | grpc.aio.AioRpcError):
        return Fault(grpc.StatusCode.UNKNOWN, str(error))
    field, retry_after = "", None
    # A proxy between may have spoilt the details: the status itself is enough.
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
    except ValueError:
        status = None
    for detail in status.details if status else []:
        bad, retry = error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
        if detail.Unpack(bad) and bad.field_violations:
            field = bad.field_violations[0].field
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return Fault(error.code(), error.details() or "", field, retry_after)


def passing(fault: Fault) -> Fault:
    """A server that does not answer in time while a stream is opened may do so later."""
    if fault.code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Fault(grpc.StatusCode.UNAVAILABLE, "the server did not answer in time")
    return fault
