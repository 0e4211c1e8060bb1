"""`RCCChatModel`: a LangChain chat model that answers from compressed memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, closing
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig

from rcc_integrations.chat.output import Written
from rcc_integrations.chat.settings import strings
from rcc_integrations.langchain.outcome import message_of, usage_of
from rcc_integrations.langchain.settings import MemoryChatModel
from rcc_integrations.langchain.structured import structured_output
from rcc_integrations.langchain.tools import as_functions


class RCCChatModel(MemoryChatModel):
    """A chat model with a compressed memory store: documents are read once, and questions are answered from memory.

    Without a collection and without documents in the messages, it is an ordinary chat model: the base model.

    Example:
        ```python
        from rcc_integrations.langchain import RCCChatModel

        model = RCCChatModel(store="memory/", collection="handbook")
        model.invoke("Who approves leave?").content
        model.bind(collection="minutes").invoke("Who was elected?")
        ```

    The settings are those of `MemorySettings`, and a few for compatibility with other chat models:

    Args:
        max_retries: Accepted for compatibility; ignored.
        api_key: Accepted for compatibility; ignored, as no key is needed.
        streaming: Accepted for compatibility; ignored. Use `stream`.
    """

    # A call's settings may come in its config, too.

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: Any = None,
        **kwargs: Any,
    ) -> AIMessage:  # fmt: skip
        """Answer; `config["configurable"]` may contain `collection` and the other settings of a call."""
        stop, kwargs = _configured(config, stop, kwargs)
        return super().invoke(input, config, stop=stop, **kwargs)

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: Any = None,
        **kwargs: Any,
    ) -> AIMessage:  # fmt: skip
        """Answer without blocking the event loop; see `invoke`."""
        stop, kwargs = _configured(config, stop, kwargs)
        return await super().ainvoke(input, config, stop=stop, **kwargs)

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:  # fmt: skip
        """Stream an answer; see `invoke`."""
        stop, kwargs = _configured(config, stop, kwargs)
        yield from super().stream(input, config, stop=stop, **kwargs)

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:  # fmt: skip
        """Stream an answer without blocking the event loop; see `invoke`."""
        stop, kwargs = _configured(config, stop, kwargs)
        async for chunk in super().astream(input, config, stop=stop, **kwargs):
            yield chunk

    async def agenerate(self, messages: list[list[BaseMessage]], *args: Any, **kwargs: Any) -> LLMResult:
        """Answer several conversations; the first time, the weights are loaded beside the event loop."""
        if not self.is_loaded:
            # LangChain asks for the key of its cache, which needs them, on the loop.
            await asyncio.to_thread(lambda: self.memory.model)
        return await super().agenerate(messages, *args, **kwargs)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return self._result(self._asked(messages, stop, kwargs).answer())

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        asked = await asyncio.to_thread(self._asked, messages, stop, kwargs)
        return self._result(await asked.aanswer())

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        asked = self._asked(messages, stop, kwargs)
        with closing(asked.pieces()) as pieces:
            for piece in pieces:
                chunk = self._chunk(piece, kwargs)
                if run_manager:
                    run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        asked = await asyncio.to_thread(self._asked, messages, stop, kwargs)
        async with aclosing(asked.apieces()) as pieces:
            async for piece in pieces:
                chunk = self._chunk(piece, kwargs)
                if run_manager:
                    await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk

    def _result(self, written: Written) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=message_of(written, self._model_name))])

    def _chunk(self, piece: str | Written, kwargs: dict[str, Any]) -> ChatGenerationChunk:
        if isinstance(piece, str):
            return ChatGenerationChunk(message=AIMessageChunk(content=piece))
        whole = message_of(piece, self._model_name)
        calls: Any = [
            {
                "type": "tool_call_chunk",
                "name": call["name"],
                "args": json.dumps(call["args"], ensure_ascii=False),
                "id": call["id"],
                "index": index,
            }
            for index, call in enumerate(whole.tool_calls)
        ]
        counted = kwargs.get("stream_usage") is not False
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content=piece.rest,
                tool_call_chunks=calls,
                response_metadata=whole.response_metadata,
                usage_metadata=usage_of(piece.answer) if counted else None,
                chunk_position="last",
            )
        )

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to the model.

        Args:
            tools: Functions, pydantic classes, LangChain tools or JSON schemas.
            tool_choice: `auto` (the model chooses between text and a call), `any`, a tool's name, or `none`.
            **kwargs: Further arguments of a call. With `response_format` an answer is a call or an object.

        Raises:
            ConfigError: If a tool is named that is not among them, is no function, or has a schema that cannot be held.
        """
        functions = as_functions(tools)
        told = [{"type": "function", "function": function} for function in functions]
        bound = {"tools": told, "tool_choice": tool_choice, **kwargs}
        self._form(bound)  # what cannot be held is said now, not when it is asked
        return super().bind(**bound)

    def with_structured_output(
        self, schema: Any = None, *, method: str = "json_schema", include_raw: bool = False, strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:  # fmt: skip
        """Constrain answers to a schema while they are generated, and return them as objects.

        Args:
            schema: A pydantic class, a TypedDict, or a JSON schema.
            method: `json_schema`, `function_calling` or `json_mode` (for which the schema is optional).
            include_raw: Return `raw`, `parsed` and `parsing_error`.
            strict: Accepted for compatibility; ignored, as output always matches the schema.
            **kwargs: Further arguments of a call.

        Raises:
            ConfigError: The method is unknown, or a required schema is missing.
        """
        return structured_output(self, schema, method, include_raw, kwargs)


def _configured(
    config: RunnableConfig | None, stop: Any, kwargs: dict[str, Any]
) -> tuple[list[str] | None, dict[str, Any]]:
    """Return the stop strings and settings of a call, those of its configuration included."""
    given = (config or {}).get("configurable") or {}
    stops = [text for each in (given.get("stop"), stop) if each is not None for text in strings("stop", each)]
    named = {name: given[name] for name in MemoryChatModel.call_options() if name in given}
    return stops or None, {**named, **kwargs}
