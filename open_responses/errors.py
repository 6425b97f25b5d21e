"""The error tree: a code, an HTTP status and whether another attempt may succeed, for each kind of failure.

    OpenResponsesError
    ├── InvalidRequest            400  the client must change the request
    │   ├── PreviousResponseNotFound  400
    │   ├── ContextLengthExceeded 400
    │   ├── ContextTooLarge       400  the conversation is larger than this server accepts
    │   ├── RequestTooLarge       413
    │   ├── UnsupportedEncoding   415
    │   ├── RequestTimeout        408  the body did not arrive in time
    │   ├── SchemaTooComplex      400  an answer that cannot be checked against its schema within the limits
    │   └── ProviderKeyMissing    400  neither the request nor the configuration has a key for the provider
    ├── Unauthorized              401
    ├── PermissionDenied          403  a valid key without the permission
    ├── NotFound                  404
    │   └── ModelNotFound         404
    ├── Conflict                  409
    ├── TokenBudgetExceeded       429  type `too_many_requests`
    ├── RateLimited               429  a limit of the API key; type `too_many_requests`; retryable
    ├── ServerError               500
    │   ├── StreamLost            500  the events that a client has were lost, and another answer took their place
    │   └── Unavailable           503  a part of the server is unreachable or overloaded; retryable
    └── ProviderError             500  type `model_error`
        ├── ProviderRejected           the provider refused the request; final
        ├── ProviderAuthentication     the provider refused the key; final
        ├── ProviderRateLimited   429  type `too_many_requests`; retryable
        ├── ProviderUnavailable        5xx, refused connection; retryable
        │   └── ProviderCircuitOpen    not even tried: it failed again and again a moment ago
        ├── ProviderTimeout            the provider sent nothing in time; retryable
        ├── ProviderStreamBroken       the stream ended or broke in the middle; retryable
        │   └── ProviderHungUp         the connection broke before any part of the answer
        ├── ProviderAnswerRefused      compressed, too large, or without content; final, a fallback may succeed
        └── InvalidOutput              the answer does not match `text.format`, twice; final

Codes, statuses and types: ERR-1 of the specification, 2026-04-24.
"""

from __future__ import annotations

from typing import ClassVar


class OpenResponsesError(Exception):
    """Base class of all errors that this project raises on purpose.

    Attributes:
        code: The default error code of the class, as `docs/errors.md` lists it.
        status: The HTTP status of an answer with this error.
        type: The specification's error type (ERR-1).
        retryable: Whether another attempt may succeed.
        message: A text for the client, in the second person: what is wrong and what to do.
        param: The path of the request field (`input[2].content`); None if no field is at fault.
        error_code: The code of this error: `code`, unless the constructor was given another.
        retry_after: Seconds to wait before another attempt; None if unknown.
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
    """The request is wrong, and the client must change it."""

    code, status, type = "invalid_request", 400, "invalid_request"


class PreviousResponseNotFound(InvalidRequest):
    """`previous_response_id` names no response that this key can read."""

    code = "previous_response_not_found"


class ContextLengthExceeded(InvalidRequest):
    """The conversation does not fit into the model's context window."""

    code = "context_length_exceeded"


class ContextTooLarge(InvalidRequest):
    """The conversation that the request refers to is larger than this server accepts."""

    code = "context_too_large"


class RequestTooLarge(InvalidRequest):
    """The body of the request is larger than this server accepts."""

    code, status = "request_too_large", 413


class RequestTimeout(InvalidRequest):
    """The body of the request did not arrive in time."""

    code, status = "request_timeout", 408


class UnsupportedEncoding(InvalidRequest):
    """The `Content-Encoding` of the request is not supported."""

    code, status = "unsupported_content_encoding", 415


class SchemaTooComplex(InvalidRequest):
    """The answer cannot be checked against its JSON Schema within the limits on time and memory."""

    code = "schema_too_complex"


class ProviderKeyMissing(InvalidRequest):
    """Neither the request nor the configuration has an API key for the provider."""

    code = "provider_key_missing"


class Unauthorized(OpenResponsesError):
    """The API key is missing or unknown."""

    code, status, type = "invalid_api_key", 401, "invalid_request"


class PermissionDenied(OpenResponsesError):
    """The API key is valid, but its scope does not include what was requested."""

    code, status, type = "permission_denied", 403, "invalid_request"


class NotFound(OpenResponsesError):
    """The object does not exist, or belongs to another tenant."""

    code, status, type = "not_found", 404, "not_found"


class ModelNotFound(NotFound):
    """No route matches the model."""

    code = "model_not_found"


class Conflict(OpenResponsesError):
    """The request conflicts with the state of the object, or with another request."""

    code, status, type = "conflict", 409, "invalid_request"


class TokenBudgetExceeded(OpenResponsesError):
    """The response's, key's or tenant's budget of tokens or of US dollars is used up."""

    code, status, type = "token_budget_exceeded", 429, "too_many_requests"


class RateLimited(OpenResponsesError):
    """The API key has reached a rate limit. The request can be sent again after `retry_after` seconds."""

    code, status, type, retryable = "rate_limit_exceeded", 429, "too_many_requests", True


class ServerError(OpenResponsesError):
    """The server failed, and the client cannot prevent it."""


class StreamLost(ServerError):
    """The events that the client has received were lost, and another answer took their place."""

    code = "stream_lost"


class Unavailable(ServerError):
    """A part of the server is unreachable or overloaded. The request can be sent again."""

    code, status, retryable = "unavailable", 503, True


class ProviderError(OpenResponsesError):
    """The provider failed. Adapters raise this class and its subclasses."""

    code, status, type = "provider_error", 500, "model_error"


class ProviderRejected(ProviderError):
    """The provider rejected the request. Another attempt would be rejected as well."""

    code = "provider_rejected_request"


class ProviderAuthentication(ProviderError):
    """The provider rejected the API key."""

    code = "provider_authentication"


class ProviderRateLimited(ProviderError):
    """The provider's rate limit is reached. An attempt after `retry_after` seconds may succeed."""

    code, status, type, retryable = "rate_limit_exceeded", 429, "too_many_requests", True


class ProviderUnavailable(ProviderError):
    """The provider is unreachable or returned a server error. Another attempt may succeed."""

    code, retryable = "provider_unavailable", True


class ProviderCircuitOpen(ProviderUnavailable):
    """The circuit breaker is open: the provider failed repeatedly, so it was not called."""


class InvalidOutput(ProviderError):
    """The answer does not match `text.format`, after a second attempt."""

    code = "invalid_output"


class ProviderTimeout(ProviderError):
    """The provider sent nothing within `timeout_seconds`. Another attempt may succeed."""

    code, retryable = "provider_timeout", True


class ProviderStreamBroken(ProviderError):
    """The stream ended without a `Finish`, or the connection failed within it. Another attempt may succeed."""

    code, retryable = "provider_stream_broken", True


class ProviderHungUp(ProviderStreamBroken):
    """The provider closed the connection before it sent any part of the answer."""


class ProviderAnswerRefused(ProviderError):
    """The answer cannot be used: it is compressed, too large, has no content, or calls a function without a name.

    It is final for this provider; a fallback may succeed.
    """

    code = "provider_answer_refused"


def type_of(code: str) -> str:
    """Return the specification's error type of an error code, for the `error` event of a failed response (ERR-1).

    Args:
        code: An error code of this tree. An unknown code has the type of `ProviderError`.
    """
    return _class_of(code).type


def error_of(code: str, message: str) -> OpenResponsesError:
    """Return the exception for the error of a failed response.

    Args:
        code: The response's `error.code`.
        message: The response's `error.message`.
    """
    return _class_of(code)(message, code=code)


def _class_of(code: str) -> type[OpenResponsesError]:
    pending: list[type[OpenResponsesError]] = [OpenResponsesError]
    while pending:
        error = pending.pop(0)
        if error.code == code:
            return error
        pending += error.__subclasses__()
    return ProviderError
