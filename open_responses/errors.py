"""The one error tree: what went wrong, which HTTP status it is, and whether another try can help.

    OpenResponsesError
    ├── InvalidRequest            400  the client must change the request
    │   ├── PreviousResponseNotFound  400
    │   ├── ContextLengthExceeded 400
    │   ├── ContextTooLarge       400  what the request resolves to is larger than this server takes
    │   ├── RequestTooLarge       413
    │   ├── RequestTimeout        408  the body came too slowly
    │   ├── SchemaTooComplex      400  an answer that cannot be checked against its schema within the limits
    │   └── ProviderKeyMissing    400  neither the request nor the configuration has a key for the provider
    ├── Unauthorized              401
    ├── PermissionDenied          403  a good key, which may not do this
    ├── NotFound                  404
    │   └── ModelNotFound         404
    ├── Conflict                  409
    ├── TokenBudgetExceeded       429  type `too_many_requests`
    ├── RateLimited               429  a limit of the API key; type `too_many_requests`; retryable
    ├── ServerError               500
    │   ├── StreamLost            500  what a client has of a stream was lost, and another answer took its place
    │   └── Unavailable           503  a part of ours is away, or has too much to do; retryable
    └── ProviderError             500  type `model_error`
        ├── ProviderRejected           the provider refused the request; final
        ├── ProviderAuthentication     the provider refused the key; final
        ├── ProviderRateLimited   429  type `too_many_requests`; retryable
        ├── ProviderUnavailable        5xx, refused connection; retryable
        │   └── ProviderCircuitOpen    not even tried: it failed again and again a moment ago
        ├── ProviderTimeout            nothing came in time; retryable
        ├── ProviderStreamBroken       the stream ended or broke in the middle; retryable
        │   └── ProviderHungUp         the connection broke before anything was answered
        ├── ProviderAnswerRefused      compressed, too large, or without end and content; final, another may do better
        └── InvalidOutput              the answer does not fit `text.format`, twice; final

Codes, statuses and types: ERR-1 of the specification, 2026-04-24.
"""

from __future__ import annotations

from typing import ClassVar


class OpenResponsesError(Exception):
    """Root of everything that we raise on purpose.

    `message` is written for the client: what is wrong and what to do. `param` names the request field
    (`input[2].content`), `retry_after` is in seconds.
    """

    code: ClassVar[str] = "server_error"
    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.error_code = code or self.code
        self.retry_after = retry_after


class InvalidRequest(OpenResponsesError):
    code, status, type = "invalid_request", 400, "invalid_request"


class PreviousResponseNotFound(InvalidRequest):
    code = "previous_response_not_found"


class ContextLengthExceeded(InvalidRequest):
    code = "context_length_exceeded"


class ContextTooLarge(InvalidRequest):
    code = "context_too_large"


class RequestTooLarge(InvalidRequest):
    code, status = "request_too_large", 413


class RequestTimeout(InvalidRequest):
    code, status = "request_timeout", 408


class UnsupportedEncoding(InvalidRequest):
    code, status = "unsupported_content_encoding", 415


class SchemaTooComplex(InvalidRequest):
    code = "schema_too_complex"


class ProviderKeyMissing(InvalidRequest):
    code = "provider_key_missing"


class Unauthorized(OpenResponsesError):
    code, status, type = "invalid_api_key", 401, "invalid_request"


class PermissionDenied(OpenResponsesError):
    code, status, type = "permission_denied", 403, "invalid_request"


class NotFound(OpenResponsesError):
    code, status, type = "not_found", 404, "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class Conflict(OpenResponsesError):
    code, status, type = "conflict", 409, "invalid_request"


class TokenBudgetExceeded(OpenResponsesError):
    code, status, type = "token_budget_exceeded", 429, "too_many_requests"


class RateLimited(OpenResponsesError):
    code, status, type, retryable = "rate_limit_exceeded", 429, "too_many_requests", True


class ServerError(OpenResponsesError):
    pass


class StreamLost(ServerError):
    code = "stream_lost"


class Unavailable(ServerError):
    code, status, retryable = "unavailable", 503, True


class ProviderError(OpenResponsesError):
    code, status, type = "provider_error", 500, "model_error"


class ProviderRejected(ProviderError):
    code = "provider_rejected_request"


class ProviderAuthentication(ProviderError):
    code = "provider_authentication"


class ProviderRateLimited(ProviderError):
    code, status, type, retryable = "rate_limit_exceeded", 429, "too_many_requests", True


class ProviderUnavailable(ProviderError):
    code, retryable = "provider_unavailable", True


class ProviderCircuitOpen(ProviderUnavailable):
    pass


class InvalidOutput(ProviderError):
    code = "invalid_output"


class ProviderTimeout(ProviderError):
    code, retryable = "provider_timeout", True


class ProviderStreamBroken(ProviderError):
    code, retryable = "provider_stream_broken", True


class ProviderHungUp(ProviderStreamBroken):
    pass


class ProviderAnswerRefused(ProviderError):
    code = "provider_answer_refused"


def type_of(code: str) -> str:
    """The specification's error type for one of our codes, in the `error` event of a failed response (ERR-1)."""
    return _class_of(code).type


def error_of(code: str, message: str) -> OpenResponsesError:
    """The error that a failed response tells of, to be raised again."""
    return _class_of(code)(message, code=code)


def _class_of(code: str) -> type[OpenResponsesError]:
    pending: list[type[OpenResponsesError]] = [OpenResponsesError]
    while pending:
        error = pending.pop(0)
        if error.code == code:
            return error
        pending += error.__subclasses__()
    return ProviderError
