"""JSON schemas as grammars hold them: references followed, recursion of a fixed depth, every value bounded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from rcc_integrations.errors import ConfigError

#: Bounds of what a schema leaves open; a small model may never end it otherwise.
LONGEST_STRING, LONGEST_KEY, MOST_ITEMS = 200, 40, 8
#: The largest number where none is given: what every JSON reader can represent exactly.
LARGEST = 2**53 - 1
#: The finest step of a number that is not whole.
STEP = 1e-6
#: How often a schema may stand within itself, the most first; less where the result would be too large.
_DEPTHS = (4, 3, 2, 1)
_MOST_PARTS = 5000

_COMBINED = ("anyOf", "oneOf")
#: What says nothing about which values fit.
_NOTES = {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment",
          "$schema", "$id", "$defs", "definitions", "discriminator", "contentEncoding", "contentMediaType", "strict",
          "nullable", "uniqueItems", "propertyNames"}  # fmt: skip
_DAY = r"(?!0000)\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
_DAY = _DAY.replace(r"(?!0000)\d{4}", r"(?:[1-9]\d{3}|0[1-9]\d{2}|00[1-9]\d|000[1-9])")
_HOUR = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
_ZONE = r"(?:Z|[+-](?:0\d|1[0-4]):[0-5]\d)"
#: Formats as expressions that readers take, and that end. Others, such as `binary`, are plain text.
_FORMATS = {
    "date": _DAY,
    "time": rf"{_HOUR}(?:\.\d{{1,6}})?{_ZONE}?",
    "date-time": rf"{_DAY}T{_HOUR}(?:\.\d{{1,6}})?{_ZONE}",
    "duration": r"P(?:\d{1,4}D(?:T(?:\d{1,4}H(?:\d{1,4}M)?(?:\d{1,4}S)?|\d{1,4}M(?:\d{1,4}S)?|\d{1,4}S))?"
                r"|T(?:\d{1,4}H(?:\d{1,4}M)?(?:\d{1,4}S)?|\d{1,4}M(?:\d{1,4}S)?|\d{1,4}S))",
}  # fmt: skip
_KNOWN_FORMATS = {"email", "hostname", "ipv4", "ipv6", "uuid", "uri"}


@dataclass(frozen=True)
class HeldSchema:
    """A schema as a grammar holds it.

    Args:
        schema: It, without references and without open ends.
        unique: Whether some array must not hold an item twice, which no grammar can say; see `without_repeats`.
    """

    schema: dict[str, Any]
    unique: bool


def held_schema(schema: Mapping[str, Any]) -> HeldSchema:
    """Return a JSON schema whose values a grammar can hold, and that end.

    Strings get at most 200 characters, arrays and maps 8 items, whole numbers 16 digits, other numbers six digits
    behind the point; objects with named properties no others. What the schema bounds itself stays as it is. `$ref` is
    replaced by what it points to; where that leads back to itself, four deep and then not at all.

    Args:
        schema: The schema.

    Raises:
        ConfigError: A reference points nowhere, or the schema cannot end.
    """
    for depth in _DEPTHS:
        builder = _Builder(schema, depth)
        try:
            made = builder.build(schema, ())
        except _TooLargeError:
            continue
        if made is None:
            raise ConfigError(f"No finite value fits the JSON schema {dict(schema)!s:.200}: it contains itself.")
        return HeldSchema(made, builder.unique)
    raise ConfigError(
        f"The JSON schema {dict(schema)!s:.200} has more than {_MOST_PARTS} parts once its references are followed: "
        "split it into smaller ones."
    )


def without_repeats(value: Any, schema: Any, root: Mapping[str, Any] | None = None) -> Any:
    """Return a value without items that come twice in arrays whose schema says `uniqueItems`.

    Args:
        value: What was written.
        schema: Its JSON schema, as it was given.
        root: The schema that references point into.

    Raises:
        ConfigError: Too few items are left for `minItems`.
    """
    root = schema if root is None else root
    if not isinstance(schema, Mapping):
        return value
    if isinstance(schema.get("$ref"), str):
        return without_repeats(value, {**_pointed(root, schema["$ref"]), **_without(schema, "$ref")}, root)
    for kind in (*_COMBINED, "allOf"):
        for option in schema.get(kind, ()):
            value = without_repeats(value, option, root)
    if isinstance(value, list):
        items = schema.get("items")
        value = [without_repeats(each, items, root) for each in value]
        if schema.get("uniqueItems"):
            value = [each for number, each in enumerate(value) if each not in value[:number]]
            if len(value) < schema.get("minItems", 0):
                raise ConfigError(f"Only {len(value)} different items were written; {schema['minItems']} are wanted.")
    elif isinstance(value, dict):
        named, other = schema.get("properties", {}), schema.get("additionalProperties")
        value = {name: without_repeats(each, named.get(name, other), root) for name, each in value.items()}
    return value


class _TooLargeError(Exception):
    pass


class _Builder:
    """Builds one schema; `None` stands for a part that no finite value fits.

    Args:
        root: What references point into.
        depth: How often a reference may be followed within itself.
    """

    def __init__(self, root: Mapping[str, Any], depth: int) -> None:
        self._root, self._depth, self._parts = root, depth, 0
        self.unique = False

    def build(self, schema: Any, path: tuple[str, ...]) -> dict[str, Any] | None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise _TooLargeError
        if schema is False:
            return None
        if schema is True or not isinstance(schema, Mapping):
            return _anything()
        if "$ref" in schema:
            return self._reference(schema, path)
        if schema.get("nullable"):
            return self._options([_without(schema, "nullable"), {"type": "null"}], {}, path)
        if isinstance(kinds := schema.get("type"), list):
            shared = _without(schema, "type")
            return self._options([{**_only(shared, kind), "type": kind} for kind in kinds], {}, path)
        for name in _COMBINED:
            if name in schema:
                return self._options(schema[name], _without(schema, name), path)
        if "allOf" in schema:
            return self._all(schema, path)
        return self._plain(schema, path)

    def _reference(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
        target = str(schema["$ref"])
        if path.count(target) >= self._depth:
            return None
        beside = {name: value for name, value in schema.items() if name != "$ref" and name not in _NOTES}
        pointed = _pointed(self._root, target)
        if not beside or not isinstance(pointed, Mapping):
            return self.build(pointed, (*path, target))
        return self.build({**pointed, **beside}, (*path, target))

    def _options(
        self, options: Sequence[Any], beside: Mapping[str, Any], path: tuple[str, ...]
    ) -> dict[str, Any] | None:
        beside = {name: value for name, value in beside.items() if name not in _NOTES}
        made = [self.build({**beside, **each} if isinstance(each, Mapping) else each, path) for each in options]
        there = [each for each in made if each is not None]
        if not there:
            return None
        fit = [each for each in there if _writable(each)]  # one option that cannot be held is no loss beside others
        return there[0] if len(there) == 1 else {"anyOf": fit or there}

    def _all(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
        merged: dict[str, Any] = {name: value for name, value in schema.items() if name != "allOf"}
        for each in schema["allOf"]:
            seen: list[str] = []
            while isinstance(each, Mapping) and "$ref" in each:
                if each["$ref"] in seen or path.count(each["$ref"]) >= self._depth:
                    return None
                seen.append(each["$ref"])
                path = (*path, each["$ref"])
                each = {**_pointed(self._root, each["$ref"]), **_without(each, "$ref")}
            if each is False:
                return None
            for name, value in (each if isinstance(each, Mapping) else {}).items():
                if name == "properties" and name in merged:
                    merged[name] = {**merged[name], **value}
                elif name == "required":
                    merged[name] = list(dict.fromkeys([*merged.get(name, ()), *value]))
                elif name in _NOTES or merged.get(name, value) == value:
                    merged[name] = value
                else:
                    raise ConfigError(
                        f"The parts of an allOf say different things of {name!r}, which cannot be enforced: "
                        f"{dict(schema)!s:.200}. Write it as one schema."
                    )
        return self.build(merged, path)

    def _plain(self, schema: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
        made = {name: value for name, value in schema.items() if name not in _NOTES}
        if "enum" in made or "const" in made:
            return {name: made[name] for name in ("enum", "const") if name in made}
        kind = made.get("type")
        if kind is None:
            kind = next((name for name, keys in _TELLTALES.items() if keys & set(made)), None)
            if kind is None:
                return made or _anything()
            made["type"] = kind
        if kind == "object" or kind == "array":
            return (self._object if kind == "object" else self._array)(schema, made, path)
        return _scalar(kind, made)

    def _array(self, schema: Mapping[str, Any], made: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
        self.unique = self.unique or bool(schema.get("uniqueItems"))
        least = made.get("minItems", 0)
        first = [self.build(each, path) for each in made.get("prefixItems", ())]
        if None in first:
            cut = first.index(None)
            first, made["maxItems"] = first[:cut], min(made.get("maxItems", cut), cut)
        item = self.build(made.get("items", True), path) if made.get("maxItems", 1) > len(first) else None
        made["maxItems"] = min(made.get("maxItems", max(MOST_ITEMS, least)), len(first) if item is None else 10**9)
        if made["maxItems"] < least:
            return None
        if first:
            made["prefixItems"] = first
        else:
            made.pop("prefixItems", None)
        made.pop("items", None)
        if item is not None and made["maxItems"] > len(first):
            made["items"] = item
        return made

    def _object(self, schema: Mapping[str, Any], made: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any] | None:
        required = list(made.get("required", ()))
        given: dict[str, Any] = dict(made.get("properties", {}))
        keys, other = schema.get("propertyNames"), made.get("additionalProperties", not given)
        while isinstance(keys, Mapping) and "$ref" in keys:
            keys = _pointed(self._root, keys["$ref"])
        if isinstance(keys, Mapping) and ("enum" in keys or "const" in keys):
            # A map with known keys is an object whose properties may be left out.
            given = {**{str(name): other for name in keys.get("enum", [keys.get("const")])}, **given}
            other, keys = False, None
        given |= {name: other if other is not False else True for name in required if name not in given}
        properties = {name: self.build(each, path) for name, each in given.items()}
        if any(properties[name] is None for name in required):
            return None
        named = {name: each for name, each in properties.items() if each is not None}
        patterns = {
            name: each
            for name, value in made.pop("patternProperties", {}).items()
            if (each := self.build(value, path)) is not None
        }
        value = self.build(other, path) if other is not False else None
        made = {name: made[name] for name in ("minProperties", "maxProperties") if name in made}
        made |= {"type": "object", "properties": named, "required": required, "additionalProperties": False}
        if value is not None:
            patterns = {**patterns, _key_pattern(keys): value}
        if patterns:
            made["patternProperties"] = patterns
            made.setdefault("maxProperties", max(MOST_ITEMS, made.get("minProperties", 0)) + len(named))
        elif made.get("minProperties", 0) > len(named):
            return None
        return made


#: Keywords that tell a type where none is named.
_TELLTALES = {
    "object": {"properties", "additionalProperties", "patternProperties", "required", "maxProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "string": {"minLength", "maxLength", "pattern", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}


def _scalar(kind: str, made: dict[str, Any]) -> dict[str, Any]:
    if kind == "string":
        named = made.pop("format", None)
        if named in _FORMATS and "pattern" not in made:
            return {"type": "string", "pattern": f"^{_FORMATS[named]}$"}
        if named in _KNOWN_FORMATS and "pattern" not in made:
            made["format"] = named
        made.setdefault("maxLength", max(LONGEST_STRING, made.get("minLength", 0)))
    elif kind in ("integer", "number"):
        low = max((made[name] for name in ("minimum", "exclusiveMinimum") if _is_number(made.get(name))), default=None)
        high = min((made[name] for name in ("maximum", "exclusiveMaximum") if _is_number(made.get(name))), default=None)
        if low is None:
            made["minimum"] = min(-LARGEST, (high or 0) - LARGEST)
        if high is None:
            made["maximum"] = max(LARGEST, (low or 0) + LARGEST)
        if kind == "number":
            made.setdefault("multipleOf", STEP)
    return made


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _anything() -> dict[str, Any]:
    plain = [_scalar(kind, {"type": kind}) for kind in ("string", "number", "boolean", "null")]
    array = {"type": "array", "items": {"anyOf": plain}, "maxItems": MOST_ITEMS}
    free = {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
        "patternProperties": {_key_pattern(None): {"anyOf": [*plain, array]}},
        "maxProperties": MOST_ITEMS,
    }
    return {"anyOf": [*plain, array, free]}


def _key_pattern(keys: Any) -> str:
    keys = keys if isinstance(keys, Mapping) else {}
    if "pattern" in keys:
        return str(keys["pattern"])
    if keys.get("format") == "uuid":
        return "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
    if keys.get("format") in _FORMATS:
        return f"^{_FORMATS[keys['format']]}$"
    least, most = keys.get("minLength", 1), keys.get("maxLength", max(LONGEST_KEY, keys.get("minLength", 1)))
    return rf'^[^"\\\x00-\x1f]{{{least},{most}}}$'


def _writable(schema: Mapping[str, Any]) -> bool:
    pattern = schema.get("pattern")
    return not isinstance(pattern, str) or re.search(r"\(\?[=!<]", pattern) is None


def _without(schema: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in names}


def _only(schema: Mapping[str, Any], kind: Any) -> dict[str, Any]:
    """Return what of a schema of several types speaks of one of them."""
    foreign = {key for name, keys in _TELLTALES.items() if name != ("number" if kind == "integer" else kind)
               for key in keys}  # fmt: skip
    return {name: value for name, value in schema.items() if name not in foreign}


def _pointed(root: Mapping[str, Any], reference: str) -> Any:
    """Return what a reference points to.

    Raises:
        ConfigError: It points nowhere, or out of the schema.
    """
    if not reference.startswith("#"):
        raise ConfigError(f"The schema refers to {reference!r}; references stay within the schema ('#/$defs/…').")
    found: Any = root
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            known = ", ".join(root.get("$defs", root.get("definitions", {}))) or "none"
            raise ConfigError(f"The schema refers to {reference!r}, which it does not have; its definitions: {known}.")
    return found
