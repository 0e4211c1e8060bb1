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
    """A chat model with a compressed memory store: documents are read once, questions are answered from memory.

    Without a collection, and without documents in the messages, it is a plain chat model (the base model below).

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
        documents: Ids of its documents to answer from; all if not given.
        max_windows: The most windows in memory; what the model was trained with if not given.
        sources: How many windows an answer names in `response_metadata`.
        grounded: Hold answers to words that stand in the documents in memory, or `not stated`; `response_metadata`
            says where, under `spans`. Tool calls and structured output are not held to them.
        expand: So many of the windows that fit the question best are read in clear instead of from memory.
        min_confidence: Answer `not stated` if the confidence, in `response_metadata`, is below this.
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
        max_retries: Taken because other chat models take it; nothing here is worth trying twice.
        api_key: Likewise; no key is needed.
        streaming: Likewise; streaming is `stream`.
    """

    # A call's settings may come in its config, too.

    def invoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:  # fmt: skip
        """Answer; `config["configurable"]` may name `collection` and the other settings of a call."""
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
        """Answer piece by piece; see `invoke`."""
        yield from super().stream(input, config, stop=stop, **_configured(config, kwargs))

    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, *, stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:  # fmt: skip
        """Answer piece by piece without blocking the event loop; see `invoke`."""
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
            tool_choice: `auto` (words or a call, as the model likes), `any`, a tool's name, or `none`.
            **kwargs: Further arguments of a call.

        Raises:
            ConfigError: If a tool is named that is not among them.
        """
        functions = tooling.as_functions(tools)
        chosen(tool_choice, functions)
        told = [{"type": "function", "function": function} for function in functions]
        return super().bind(tools=told, tool_choice=tool_choice, **kwargs)

    def with_structured_output(
        self, schema: Any = None, *, method: str = "json_schema", include_raw: bool = False, strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:  # fmt: skip
        """Hold answers to a schema while they are written, and return them as its values.

        Args:
            schema: A pydantic class, a TypedDict, or a JSON schema.
            method: `json_schema`, `function_calling` or `json_mode` (for which the schema is optional).
            include_raw: Return `raw`, `parsed` and `parsing_error`.
            strict: Taken because other models take it; output is always held to the schema.
            **kwargs: Further arguments of a call.

        Raises:
            ConfigError: If the method is not known, or there is no schema where one is needed.
        """
        return structured_output(self, schema, method, include_raw, kwargs)


def _configured(config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    given = (config or {}).get("configurable") or {}
    return {**{name: given[name] for name in PER_CALL if name in given}, **kwargs}
