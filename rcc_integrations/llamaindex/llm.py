"""`RCCLLM`: a LlamaIndex LLM that answers from compressed memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing, closing
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

from rcc_integrations.chat.output import Written
from rcc_integrations.llamaindex.calling import CallingLLM
from rcc_integrations.llamaindex.messages import figures, raw_of, response_of


class RCCLLM(CallingLLM):
    """An LLM with a compressed memory store: documents are read once, and questions are answered from memory.

    Without a collection and without documents in the messages, it is an ordinary chat model: the base model. A
    response's `raw["answer"]` is the package's `Answer`, with sources and timings.

    Example:
        ```python
        from rcc_integrations.llamaindex import RCCLLM

        llm = RCCLLM(store="memory/", collection="handbook")
        llm.complete("Who approves leave?").text
        ```

    The settings are those of `MemorySettings`.
    """

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer a conversation; settings for this call are keyword arguments."""
        return response_of(self._asked(messages, kwargs).answer())

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Answer without blocking the event loop; see `chat`."""
        asked = await asyncio.to_thread(self._asked, messages, kwargs)
        return response_of(await asked.aanswer())

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        """Stream an answer; the last item contains the whole answer, also in `raw`."""
        asked = self._asked(messages, kwargs)

        def gen() -> ChatResponseGen:
            said = ""
            with closing(asked.pieces()) as pieces:
                for piece in pieces:
                    if isinstance(piece, str):
                        said += piece
                        yield _part(said, piece)
                    else:
                        yield response_of(piece, streamed=True)

        return gen()

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        """Stream an answer without blocking the event loop; see `stream_chat`."""
        asked = await asyncio.to_thread(self._asked, messages, kwargs)

        async def gen() -> ChatResponseAsyncGen:
            said = ""
            async with aclosing(asked.apieces()) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        said += piece
                        yield _part(said, piece)
                    else:
                        yield response_of(piece, streamed=True)

        return gen()

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt, which becomes a user message in the chat template.

        Args:
            prompt: The prompt.
            formatted: Whether `completion_to_prompt` has already been applied.
            **kwargs: Settings for this call.
        """
        return _completion(self._asked(self._said(prompt, formatted), kwargs).answer())

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """Answer a prompt without blocking the event loop; see `complete`."""
        asked = await asyncio.to_thread(self._asked, self._said(prompt, formatted), kwargs)
        return _completion(await asked.aanswer())

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """Stream the answer to a prompt; see `complete`."""
        asked = self._asked(self._said(prompt, formatted), kwargs)

        def gen() -> CompletionResponseGen:
            said = ""
            with closing(asked.pieces()) as pieces:
                for piece in pieces:
                    if isinstance(piece, str):
                        said += piece
                        yield CompletionResponse(text=said, delta=piece)
                    else:
                        yield _completion(piece, streamed=True)

        return gen()

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        """Stream the answer to a prompt without blocking the event loop; see `complete`."""
        asked = await asyncio.to_thread(self._asked, self._said(prompt, formatted), kwargs)

        async def gen() -> CompletionResponseAsyncGen:
            said = ""
            async with aclosing(asked.apieces()) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        said += piece
                        yield CompletionResponse(text=said, delta=piece)
                    else:
                        yield _completion(piece, streamed=True)

        return gen()

    def _said(self, prompt: str, formatted: bool) -> list[ChatMessage]:
        apply: Any = self.completion_to_prompt
        return [ChatMessage(prompt if formatted else apply(prompt), role=MessageRole.USER)]


def _part(said: str, piece: str) -> ChatResponse:
    return ChatResponse(message=ChatMessage(said, role=MessageRole.ASSISTANT), delta=piece)


def _completion(written: Written, *, streamed: bool = False) -> CompletionResponse:
    answer = written.answer
    text = written.text if not written.calls else answer.text
    delta = written.rest if streamed else None
    return CompletionResponse(text=text, raw=raw_of(answer), delta=delta, additional_kwargs=figures(answer))
