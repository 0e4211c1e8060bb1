"""Errors as HTTP answers, in the shape that OpenAI's clients know."""

from __future__ import annotations

from typing import Any

from rcc_integrations import errors
from rcc_integrations.errors import RCCError


class RequestError(RCCError):
    """A request that is refused.

    Args:
        status: HTTP status.
        message: What is wrong, with what value, and what to do.
        param: The part of the request that is meant.
        code: A short name of the error for programs.
        retry_after: Seconds after which trying again may help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code, self.retry_after = status, param, code, retry_after


#: Status and code by class; the first that fits is taken.
_KNOWN: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.UnknownCollectionError, 404, "model_not_found"),
    (errors.UnknownDocumentError, 404, "document_not_found"),
    (errors.EmptyCollectionError, 400, "empty_collection"),
    (errors.BudgetError, 400, "context_length_exceeded"),
    (errors.InvalidNameError, 400, "invalid_name"),
    (errors.EmptyDocumentError, 400, "empty_document"),
    (errors.UnreadableFileError, 400, "unreadable_file"),
    (errors.MissingExtraError, 501, "missing_extra"),
    (errors.ConfigError, 400, "invalid_value"),
    (errors.FingerprintMismatchError, 409, "fingerprint_mismatch"),
    (errors.StoreReadOnlyError, 403, "store_read_only"),
    (errors.StoreFullError, 507, "store_full"),
    (errors.BlobsMissingError, 500, "memories_missing"),
    (errors.StoreError, 500, "store_error"),
    (errors.ModelNotFoundError, 503, "model_unavailable"),
)


def status_of(error: BaseException) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, RequestError):
        return error.status
    return next((status for kind, status, _ in _KNOWN if isinstance(error, kind)), 500)


def body_of(error: BaseException) -> dict[str, Any]:
    """Return an error as `{"error": {"message", "type", "param", "code"}}`.

    What was not foreseen is not told to the client: it may hold what is none of its business.
    """
    status = status_of(error)
    if isinstance(error, RequestError):
        param, code = error.param, error.code
    else:
        code = next((name for kind, _, name in _KNOWN if isinstance(error, kind)), "internal_error")
        param = "model" if isinstance(error, errors.UnknownCollectionError) else None
    message = str(error) if isinstance(error, RCCError) else "The server failed; its log says more."
    return {"error": {"message": message, "type": _type_of(status), "param": param, "code": code}}


def headers_of(error: BaseException) -> dict[str, str]:
    """Return the headers that go with an error."""
    wait = error.retry_after if isinstance(error, RequestError) else None
    return {} if wait is None else {"Retry-After": str(wait)}


def _type_of(status: int) -> str:
    if status == 401:
        return "authentication_error"
    if status == 403:
        return "permission_error"
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"
