"""`RCCLLM`: a LlamaIndex LLM that answers from compressed memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    MessageRole,
)
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from rcc_integrations.chat.tools import check_whole
from rcc_integrations.llamaindex.calling import CallingLLM
from rcc_integrations.llamaindex.messages import figures, raw_of, response_of
from rcc_integrations.reader.answer import Answer


class RCCLLM(CallingLLM):
    """An LLM with a compressed memory store: documents are read once, questions are answered from memory.

    Without a collection, and without documents in the messages, it is a plain chat model (the base model below). What
    a response has as `raw` holds the package's `Answer`, with sources and timings, as `raw["answer"]`.

    Example:
        ```python
        from rcc_integrations.llamaindex import RCCLLM

        llm = RCCLLM(store="memory/", collection="handbook")
        llm.complete("Who approves leave?").text
        ```

    Args:
        store: Folder of the store; a temporary one if not given.
        collection: Collection to answer from.
        documents: Ids of its documents to answer from; all if not given.
        max_windows: The most windows in memory; what the model was trained with if not given.
        sources: How many windows an answer names.
        grounded: Hold answers to words that stand in the documents in memory, or `not stated`; `raw["answer"].spans`
            says where. Tool calls and structured output are not held to them.
        expand: So many of the windows that fit the question best are read in clear instead of from memory.
        min_confidence: Answer `not stated` if the confidence, `raw["answer"].confidence`, is below this.
        compress_over: Text of a message with more tokens than this is compressed into memory; `None` for never.
        model: Folder or hub id of an RCC model; the default model of the package if not given.
        base: Other place of its base model.
        device: Such as `cpu` or `cuda`; chosen if not given.
        dtype: `float32`, `bfloat16` or `float16`; chosen if not given.
        reader: An open reader to share instead of opening `store`.
        max_tokens: The most tokens of an answer.
        min_tokens: Before so many tokens an answer does not end.
        temperature: 0 is greedy.
        top_p: Sample from the smallest set of tokens with this much probability.
        top_k: Sample from this many most likely tokens; 0 for all.
        repetition_penalty: Above 1, tokens already written become less likely.
        seed: Makes sampling repeatable.
        stop: Strings that end an answer; those of a call are added to them.
        timeout: Seconds after which an answer is given up.
    """

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation; settings of this call may be given by name."""
        request = self.request(messages, **kwargs)
        return self._response(self.memory.submit(request).result(self.timeout), kwargs)

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer without blocking the event loop; see `chat`."""
        request = await asyncio.to_thread(self.request, messages, **kwargs)
        return self._response(await self.memory.submit(request).aresult(self.timeout), kwargs)

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Answer piece by piece; the last item holds the whole answer, and has it in `raw`."""
        request = self.request(messages, **kwargs)

        def gen() -> ChatResponseGen:
            said, held = "", _wants_calls(kwargs)
            with self.memory.stream_request(request, self.timeout, held=held) as stream:
                for piece in stream:
                    said += piece
                    yield _part(said, piece)
                yield self._response(stream.answer, kwargs, held=held)

        return gen()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Answer piece by piece without blocking the event loop; see `stream_chat`."""
        request = await asyncio.to_thread(self.request, messages, **kwargs)

        async def gen() -> ChatResponseAsyncGen:
            said, held = "", _wants_calls(kwargs)
            async with self.memory.stream_request(request, self.timeout, held=held) as stream:
                async for piece in stream:
                    said += piece
                    yield _part(said, piece)
                yield self._response(stream.answer, kwargs, held=held)

        return gen()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, which goes into the chat template as what the user says.

        Args:
            prompt: The prompt.
            formatted: Whether `completion_to_prompt` was applied already.
            **kwargs: Settings of this call.
        """
        request = self.request(self._said(prompt, formatted), **kwargs)
        return _completion(self._whole(self.memory.submit(request).result(self.timeout), kwargs))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt without blocking the event loop; see `complete`."""
        request = await asyncio.to_thread(self.request, self._said(prompt, formatted), **kwargs)
        return _completion(self._whole(await self.memory.submit(request).aresult(self.timeout), kwargs))

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Answer a prompt piece by piece; see `complete`."""
        request = self.request(self._said(prompt, formatted), **kwargs)

        def gen() -> CompletionResponseGen:
            said = ""
            with self.memory.stream_request(request, self.timeout) as stream:
                for piece in stream:
                    said += piece
                    yield CompletionResponse(text=said, delta=piece)
                yield _completion(self._whole(stream.answer, kwargs), delta="")

        return gen()

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Answer a prompt piece by piece without blocking the event loop; see `complete`."""
        request = await asyncio.to_thread(self.request, self._said(prompt, formatted), **kwargs)

        async def gen() -> CompletionResponseAsyncGen:
            said = ""
            async with self.memory.stream_request(request, self.timeout) as stream:
                async for piece in stream:
                    said += piece
                    yield CompletionResponse(text=said, delta=piece)
                yield _completion(self._whole(stream.answer, kwargs), delta="")

        return gen()

    def _said(self, prompt: str, formatted: bool) -> list[ChatMessage]:
        apply: Any = self.completion_to_prompt
        return [ChatMessage(prompt if formatted else apply(prompt), role=MessageRole.USER)]

    def _whole(self, answer: Answer, kwargs: dict[str, Any]) -> Answer:
        forced = _wants_calls(kwargs) and kwargs.get("tool_choice") not in (None, "auto")
        if forced or kwargs.get("response_format") is not None:
            check_whole(answer)
        return answer

    def _response(self, answer: Answer, kwargs: dict[str, Any], *, held: bool | None = None) -> ChatResponse:
        found = response_of(self._whole(answer, kwargs), wants_calls=_wants_calls(kwargs))
        if held is not None:
            found.delta = (found.message.content or "") if held else ""
        return found


def _wants_calls(kwargs: dict[str, Any]) -> bool:
    return bool(kwargs.get("tools")) and kwargs.get("tool_choice") not in ("none", False)


def _part(said: str, piece: str) -> ChatResponse:
    return ChatResponse(message=ChatMessage(said, role=MessageRole.ASSISTANT), delta=piece)


def _completion(answer: Answer, delta: str | None = None) -> CompletionResponse:
    return CompletionResponse(text=answer.text, raw=raw_of(answer), delta=delta, additional_kwargs=figures(answer))
