"""`CallingLLM`: calls of tools, and objects that are written piece by piece."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.bridge.pydantic import BaseModel
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.program.streaming_utils import process_streaming_content_incremental
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import BaseTool

from rcc_integrations.chat.schemas import class_schema
from rcc_integrations.llamaindex.events import dispatcher
from rcc_integrations.llamaindex.settings import MemoryLLM


class CallingLLM(MemoryLLM):
    """The tool-calling half of `RCCLLM`; calls and objects are held to their schemas while they are written."""

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        messages = list(chat_history or [])
        if user_msg is not None:
            messages.append(ChatMessage(user_msg, role=MessageRole.USER) if isinstance(user_msg, str) else user_msg)
        choice = kwargs.pop("tool_choice", None) or ("any" if tool_required else "auto")
        told = [_told(tool) for tool in tools]
        return {"messages": messages, "tools": told, "tool_choice": choice, **kwargs}

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """Return the calls of a response.

        Args:
            response: The response.
            error_on_no_tool_call: Whether it must hold one.
            **kwargs: None are accepted.

        Raises:
            ValueError: If it must and does not.
        """
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            said = response.message.content
            raise ValueError(f"The model called no tool; it said {said!r:.200}. Ask with tool_required=True.")
        return [
            ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_arguments(call))
            for call in calls
        ]

    @dispatcher.span
    def structured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return an object of a class; it is held to its schema while it is written.

        Args:
            output_cls: The class; it may hold itself, which LlamaIndex's own way through a tool does not allow.
            prompt: What is asked.
            llm_kwargs: Settings of this call.
            **prompt_args: What the prompt's places are filled with.

        Raises:
            GenerationError: If it was not complete within `max_tokens`.
        """
        response = self.chat(self._prompted(prompt, prompt_args), **_held_to(output_cls, llm_kwargs))
        return output_cls.model_validate_json(str(response.message.content))

    @dispatcher.span
    async def astructured_predict(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """Return an object of a class without blocking the event loop; see `structured_predict`."""
        response = await self.achat(self._prompted(prompt, prompt_args), **_held_to(output_cls, llm_kwargs))
        return output_cls.model_validate_json(str(response.message.content))

    def _structured_stream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any]:
        # LlamaIndex's own would leave the model free to answer in words.
        found = None
        for part in self.stream_chat(self._prompted(prompt, prompt_args), **_held_to(output_cls, llm_kwargs)):
            found = _grown(part, output_cls, found)
            yield found

    async def _structured_astream_call(
        self,
        output_cls: type[BaseModel],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any]:
        parts = await self.astream_chat(self._prompted(prompt, prompt_args), **_held_to(output_cls, llm_kwargs))

        async def gen() -> AsyncGenerator[Any]:
            found = None
            async for part in parts:
                found = _grown(part, output_cls, found)
                yield found

        return gen()

    def _prompted(self, prompt: PromptTemplate, given: dict[str, Any]) -> list[ChatMessage]:
        messages: list[ChatMessage] = self._extend_messages(prompt.format_messages(llm=self, **given))
        return messages


def _told(tool: BaseTool) -> dict[str, Any]:
    told: dict[str, Any] = tool.metadata.to_openai_tool(skip_length_check=True)
    arguments = tool.metadata.fn_schema
    if arguments is not None:
        # LlamaIndex's own form leaves out what refers to itself.
        told["function"]["parameters"] = class_schema(arguments)
    return told


def _arguments(call: ToolCallBlock) -> dict[str, Any]:
    # Blocks of ours hold a dict; those of other models may hold JSON.
    given: dict[str, Any] = json.loads(call.tool_kwargs) if isinstance(call.tool_kwargs, str) else call.tool_kwargs
    return given


def _held_to(output_cls: type[BaseModel], settings: dict[str, Any] | None) -> dict[str, Any]:
    return {**(settings or {}), "response_format": class_schema(output_cls)}


def _grown(part: ChatResponse, output_cls: type[BaseModel], found: Any) -> Any:
    """Return the object as far as it is written; the whole one at the end."""
    if part.raw is not None:
        return output_cls.model_validate_json(str(part.message.content))
    return process_streaming_content_incremental(part, output_cls, found)
