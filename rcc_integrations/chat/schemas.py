"""JSON schemas of pydantic classes that say all that their validation asks for."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema


class _Generator(GenerateJsonSchema):
    """Leaves out what a schema cannot tell from wrong values, and says what keys are."""

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        # As a string it would be any text.
        made: dict[str, Any] = super().decimal_schema(schema)
        numbers = [each for each in made.get("anyOf", ()) if each.get("type") == "number"]
        return numbers[0] if numbers else made

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        made: dict[str, Any] = super().dict_schema(schema)
        if schema.get("keys_schema", {}).get("type") == "int":
            made["propertyNames"] = {"pattern": "^(?:0|-?[1-9][0-9]{0,14})$"}
        return made


def class_schema(output: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of a pydantic class; of a class of pydantic 1 what that one says."""
    if not hasattr(output, "model_json_schema"):
        old: dict[str, Any] = output.schema()
        return old
    return output.model_json_schema(schema_generator=_Generator)
