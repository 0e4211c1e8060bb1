"""Requests of OpenAI's interfaces; a field that they do not have is refused by its name."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from rcc_integrations.server.failures import RequestError


class Strict(BaseModel):
    """Refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")


class Options(Strict):
    """What this server takes beside OpenAI's fields, as the field `rcc` of a request.

    Args:
        grounded: Restrict the answer to verbatim spans of the documents.
        documents: Ids of the only documents to answer from.
        max_windows: The most windows in memory.
        sources: How many sources to name.
        expand: So many of the windows that fit best are read as uncompressed text.
        min_confidence: Below this confidence, the answer is `not stated`.
    """

    grounded: bool | None = None
    documents: list[str] | None = None
    max_windows: int | None = Field(default=None, ge=1)
    sources: int = Field(default=3, ge=0, le=50)
    expand: int = Field(default=0, ge=0)
    min_confidence: float = Field(default=0.0, ge=0, le=1)


class Sampling(Strict):
    """How tokens are chosen; fields that would change the answer in a way that is not offered are refused."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    user: str | None = None
    rcc: Options = Field(default_factory=Options)

    @field_validator("stop")
    @classmethod
    def _as_list(cls, stop: str | list[str] | None) -> list[str]:
        return [stop] if isinstance(stop, str) else list(stop or ())

    def settings(self, collection: str | None, max_tokens: int | None, *, grounded: bool) -> dict[str, Any]:
        """Return the settings that `rcc_integrations.chat` makes a request from.

        Args:
            collection: What to answer from.
            max_tokens: Maximum number of tokens to generate.
            grounded: Whether answers are grounded unless the request says otherwise.

        Raises:
            RequestError: A field asks for what is not offered.
        """
        for name, plain in (("n", 1), ("frequency_penalty", 0), ("presence_penalty", 0), ("logit_bias", {})):
            if (value := getattr(self, name)) not in (None, plain):
                raise unsupported(name, value)
        own = self.rcc
        held = own.grounded if own.grounded is not None else grounded
        return {
            "collection": collection, "documents": own.documents, "max_windows": own.max_windows,
            "sources": own.sources if collection else 0, "grounded": bool(held and collection), "expand": own.expand,
            "min_confidence": own.min_confidence if collection else 0.0, "max_tokens": max_tokens or 256,
            "min_tokens": 0, "temperature": self.temperature or 0.0, "top_p": self.top_p or 1.0, "top_k": 0,
            "repetition_penalty": 1.0, "seed": self.seed,
        }  # fmt: skip


class StreamOptions(Strict):
    """Options of a stream."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Sampling):
    """A request of `/v1/chat/completions`."""

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: list[str] | None = None
    # Taken because clients send them; they change nothing about an answer of this server.
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None


class CompletionRequest(Sampling):
    """A request of `/v1/completions`."""

    model: str
    prompt: str | list[str]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    echo: bool | None = None
    best_of: int | None = None
    logprobs: int | None = None
    suffix: str | None = None


class ResponseRequest(Strict):
    """A request of `/v1/responses`."""

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    previous_response_id: str | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    include: list[str] | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    text: dict[str, Any] | None = None
    store: bool | None = None
    rcc: Options = Field(default_factory=Options)
    # As above.
    metadata: dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    user: str | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    reasoning: dict[str, Any] | None = None
    truncation: str | None = None


class ExpiresAfter(Strict):
    """When a vector store expires."""

    anchor: Literal["last_active_at"]
    days: int = Field(ge=1, le=365)


class VectorStoreRequest(Strict):
    """A request that makes or changes a vector store."""

    name: str | None = None
    description: str | None = None
    file_ids: list[str] | None = None
    expires_after: ExpiresAfter | None = None
    metadata: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None


class VectorFileRequest(Strict):
    """A request that puts a file into a vector store."""

    file_id: str
    attributes: dict[str, str | float | bool] | None = None
    chunking_strategy: dict[str, Any] | None = None


class FileBatchRequest(Strict):
    """A request that puts several files into a vector store."""

    file_ids: list[str] | None = Field(default=None, min_length=1)
    files: list[VectorFileRequest] | None = Field(default=None, min_length=1)
    attributes: dict[str, str | float | bool] | None = None
    chunking_strategy: dict[str, Any] | None = None


class SearchRequest(Strict):
    """A request of a vector store's search."""

    query: str | list[str]
    max_num_results: int = Field(default=10, ge=1, le=50)
    filters: dict[str, Any] | None = None
    ranking_options: dict[str, Any] | None = None
    rewrite_query: bool | None = None


def unsupported(name: str, value: Any) -> RequestError:
    """Return the error of a field that is known, with a value that is not offered."""
    return RequestError(
        400, f"Unsupported value: {name!r} does not support {value!r} with this server.", param=name,
        code="unsupported_value",
    )  # fmt: skip
