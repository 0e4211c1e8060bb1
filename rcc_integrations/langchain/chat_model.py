"""`RCCChatModel`: a LangChain chat model that answers from compressed memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig

from rcc_integrations.chat.tools import check_whole, chosen
from rcc_integrations.langchain import tools as tooling
from rcc_integrations.langchain.outcome import message_of, usage_of
from rcc_integrations.langchain.settings import PER_CALL, MemoryChatModel
from rcc_integrations.langchain.structured import structured_output
from rcc_integrations.reader.answer import Answer


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

    Args:
        store: Folder of the store; a temporary one if not given.
        collection: Collection to answer from.
        documents: Ids of the documents to answer from; all if not given.
        max_windows: Maximum number of windows in memory; the model's own setting if not given.
        sources: How many sources `response_metadata` names.
        grounded: Restrict answers to verbatim spans of the documents in memory, or `not stated` (extractive);
            `response_metadata` locates them under `spans`. Tool calls and structured output are not restricted.
        expand: How many of the windows that match the question best are inserted as uncompressed text instead.
        min_confidence: Abstain (`not stated`) if the confidence, in `response_metadata`, is below this.
        compress_over: Texts in messages with more tokens than this are compressed; `None` turns this off.
        model: Folder or hub id of an RCC model; the default model if not given.
        base: Folder or hub id of its base model, if it is not where the model says.
        device: Such as `cpu` or `cuda`; chosen automatically if not given.
        dtype: `float32`, `bfloat16` or `float16`; chosen automatically if not given.
        reader: An open reader to share instead of opening `store`.
        max_tokens: Maximum number of tokens of an answer.
        min_tokens: Minimum number of tokens of an answer.
        temperature: 0 is greedy decoding.
        top_p: Sample from the smallest set of tokens with at least this total probability.
        top_k: Sample from this many of the most likely tokens; 0 for all.
        repetition_penalty: Above 1, tokens that already occurred become less likely.
        seed: Makes sampling reproducible.
        stop: Strings that end an answer; a call can add others.
        timeout: Seconds after which an answer is abandoned.
        max_retries: Accepted for compatibility; ignored.
        api_key: Accepted for compatibility; ignored, as no key is needed.
        streaming: Accepted for compatibility; ignored. Use `stream`.
    """

    # A call's settings may come in its config, too.

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:  # fmt: skip
        """Answer; `config["configurable"]` may contain `collection` and the other settings of a call."""
        return super().invoke(input, config, stop=stop, **_configured(config, kwargs))

    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:  # fmt: skip
        """Answer without blocking the event loop; see `invoke`."""
        return await super().ainvoke(input, config, stop=stop, **_configured(config, kwargs))

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:  # fmt: skip
        """Stream an answer; see `invoke`."""
        yield from super().stream(input, config, stop=stop, **_configured(config, kwargs))

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:  # fmt: skip
        """Stream an answer without blocking the event loop; see `invoke`."""
        async for chunk in super().astream(input, config, stop=stop, **_configured(config, kwargs)):
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = self._request(messages, stop, kwargs)
        return self._result(self.memory.submit(request).result(self.timeout), kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request = await asyncio.to_thread(self._request, messages, stop, kwargs)
        return self._result(await self.memory.submit(request).aresult(self.timeout), kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request, held = self._request(messages, stop, kwargs), self._wants_calls(kwargs)
        with self.memory.stream_request(request, self.timeout, held=held) as stream:
            for piece in stream:
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
                if run_manager:
                    run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            chunk = self._last_chunk(stream.answer, held, kwargs)
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
        held = self._wants_calls(kwargs)
        request = await asyncio.to_thread(self._request, messages, stop, kwargs)
        async with self.memory.stream_request(request, self.timeout, held=held) as stream:
            async for piece in stream:
                chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
                if run_manager:
                    await run_manager.on_llm_new_token(piece, chunk=chunk)
                yield chunk
            chunk = self._last_chunk(stream.answer, held, kwargs)
        if run_manager:
            await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
        yield chunk

    def _result(self, answer: Answer, kwargs: dict[str, Any]) -> ChatResult:
        message = message_of(answer, self._model_name, wants_calls=self._wants_calls(kwargs))
        self._check_whole(answer, kwargs)
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _last_chunk(self, answer: Answer, held: bool, kwargs: dict[str, Any]) -> ChatGenerationChunk:
        whole = message_of(answer, self._model_name, wants_calls=self._wants_calls(kwargs))
        self._check_whole(answer, kwargs)
        calls: Any = [
            {
                "type": "tool_call_chunk",
                "name": call["name"],
                "args": json.dumps(call["args"]),
                "id": call["id"],
                "index": index,
            }
            for index, call in enumerate(whole.tool_calls)
        ]
        return ChatGenerationChunk(
            message=AIMessageChunk(
                content=whole.content if held else "",
                tool_call_chunks=calls,
                response_metadata=whole.response_metadata,
                usage_metadata=usage_of(answer),
                chunk_position="last",
            )
        )

    def _wants_calls(self, kwargs: dict[str, Any]) -> bool:
        return bool(kwargs.get("tools")) and kwargs.get("tool_choice") not in ("none", False)

    def _check_whole(self, answer: Answer, kwargs: dict[str, Any]) -> None:
        forced = kwargs.get("response_format") is not None or (
            self._wants_calls(kwargs) and kwargs.get("tool_choice") not in (None, "auto")
        )
        if forced:
            check_whole(answer)

    def bind_tools(
        self, tools: Sequence[Any], *, tool_choice: Any = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools to the model.

        Args:
            tools: Functions, pydantic classes, LangChain tools or JSON schemas.
            tool_choice: `auto` (the model chooses between text and a call), `any`, a tool's name, or `none`.
            **kwargs: Further arguments of a call.

        Raises:
            ConfigError: A tool is named that is not among them.
        """
        functions = tooling.as_functions(tools)
        chosen(tool_choice, functions)
        told = [{"type": "function", "function": function} for function in functions]
        return super().bind(tools=told, tool_choice=tool_choice, **kwargs)

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


def _configured(config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    given = (config or {}).get("configurable") or {}
    return {**{name: given[name] for name in PER_CALL if name in given}, **kwargs}
