"""A small HTTP endpoint: streamed answers for several callers at once.

    uvicorn examples.langchain.fastapi_app:app
    curl -N 'localhost:8000/ask?collection=handbook&question=Who%20approves%20leave%3F'

Questions that arrive at about the same time are answered in one batch; the event loop is never blocked.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

from rcc_integrations.errors import RCCError, UnknownCollectionError
from rcc_integrations.langchain import RCCChatModel


def make_app(model: RCCChatModel) -> FastAPI:
    """Build the application around a model."""
    app = FastAPI(title="Answers from compressed memory")

    @app.get("/ask")
    async def ask(collection: str, question: str) -> StreamingResponse:
        chunks = model.astream(question, collection=collection)
        try:
            # Errors are reported before the answer begins.
            first = await anext(chunks)
        except UnknownCollectionError as error:
            raise HTTPException(404, str(error)) from error
        except RCCError as error:
            raise HTTPException(400, str(error)) from error

        async def words() -> AsyncIterator[str]:
            yield first.text
            async for chunk in chunks:
                yield chunk.text

        return StreamingResponse(words(), media_type="text/plain")

    return app


app = make_app(RCCChatModel(store=Path(os.environ.get("RCC_STORE", "memory")), max_tokens=64))
