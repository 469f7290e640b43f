"""The description of the service: OpenAPI with the exact shape of every row, and examples that work as they stand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from isthmus.data.frames import is_text
from isthmus.web.answers import OFFERED, as_json
from isthmus.web.asking import Choice, members_of, options_of
from isthmus.web.bodies import ARROW, ARROW_FILE, JSON, LARGEST, LARGEST_IN_CODES, NPY, PARQUET
from isthmus.web.guard import Limits
from isthmus.web.models import Served

DESCRIPTION = (
    "Trained autoencoders and anomaly detectors at work. Rows come and go as JSON, as .npy (never pickled), as Arrow streams "
    "or as Parquet; the Accept header chooses the form of the answer, JSON if it says nothing. Options stand in the query."
)
_SUMMARIES = {
    "encode": "The code of each row",
    "decode": "The rows that codes stand for",
    "reconstruct": "Each row after its passage through the code",
    "score": "How normal each row is: higher is more normal",
    "detect": "How odd each row is, how probable that is for a normal one, and which are flagged",
    "sample": "New rows",
    "interpolate": "The rows between two rows",
    "neighbours": "The rows of the index that are most like these",
}
_REFUSALS = {
    400: "The body cannot be read.",
    401: "The key is missing or wrong.",
    403: "A page of another site asked.",
    406: "The answer has no such form.",
    408: "The body took too long.",
    413: "Too many bytes or rows.",
    415: "The body has a type that is not taken.",
    421: "Another host was asked for.",
    422: "The body does not fit the model.",
    503: "Too many requests are in flight.",
    504: "The answer took too long.",
}
_BYTES = {"type": "string", "format": "binary"}
_PROBLEM = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {"error": {"type": "string"}, "request_id": {"type": "string"}},
}
_NUMBERS = {"type": "array", "items": {"type": ["number", "null"]}}


def facts_of(served: Served) -> dict[str, Any]:
    """Return what there is to know about a model before asking it."""
    facts: dict[str, Any] = {
        "name": served.name,
        "kind": served.kind,
        "data": served.codec.kind,
        "verbs": list(served.verbs),
        "runtime": "torch" if served.graph is None else "onnxruntime",
    }
    if served.columns is None:
        facts["sample_shape"] = list(served.sample_shape)
    else:
        facts["columns"] = {name: str(kind) for name, kind in served.columns.items()}
    if served.kind == "autoencoder":
        facts["code_size"] = served.code_size
    if served.index is not None:
        facts["index_rows"] = len(served.index)
    return facts


def described(served: Served, verb: str, limits: Limits, has_key: bool) -> dict[str, Any]:
    """Return what FastAPI is told about the route of a verb."""
    content: dict[str, Any] = {JSON: {"schema": _asked(served, verb, limits)}}
    if verb != "sample":
        content |= {form: {"schema": _BYTES} for form in (NPY, ARROW, ARROW_FILE, PARQUET)}
    extra: dict[str, Any] = {
        "requestBody": {"required": verb != "sample", "content": content},
        "parameters": [_parameter(name, option) for name, option in options_of(served, verb, limits.rows).items()],
    }
    if has_key:
        extra["security"] = [{"key": []}]
    answer = {JSON: {"schema": _answered(served, verb)}} | {
        form: {"schema": _BYTES} for form in OFFERED if form != JSON
    }
    problems = {
        status: {"description": said, "content": {JSON: {"schema": _PROBLEM}}} for status, said in _REFUSALS.items()
    }
    return {
        "summary": _SUMMARIES[verb],
        "operation_id": f"{verb}_{served.name}",
        "tags": [served.name],
        "openapi_extra": extra,
        "responses": {200: {"description": "The answer.", "content": answer}, **problems},
    }


def documented(schema: dict[str, Any], models: Sequence[Served], has_key: bool) -> dict[str, Any]:
    """Add to FastAPI's document what it would leave out: examples with nulls in them, and how the key is sent."""
    for served in models:
        for verb in served.verbs:
            asked = schema["paths"][path_of(served, verb)]["post"]["requestBody"]["content"][JSON]
            asked["example"] = example_of(served, verb)
    if has_key:
        schema.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    return schema


def path_of(served: Served, verb: str) -> str:
    """Return the path of a verb of a model."""
    return f"/v1/models/{served.name}/{verb}"


def example_of(served: Served, verb: str) -> dict[str, Any]:
    """Return a body that is answered as it stands."""
    row = as_json({"rows": served.example})["rows"]
    if verb == "decode":
        return as_json({"codes": served.example_codes()})
    if verb == "sample":
        return {}
    return {"a": row, "b": row} if verb == "interpolate" else {"rows": row}


def _asked(served: Served, verb: str, limits: Limits) -> dict[str, Any]:
    rows = {"type": "array", "minItems": 1, "maxItems": limits.rows, "items": _row(served)}
    code = {
        "type": "array",
        "minItems": served.code_size,
        "maxItems": served.code_size,
        "items": _number(LARGEST_IN_CODES, False),
    }
    codes = {"type": "array", "minItems": 1, "maxItems": limits.rows, "items": code}
    sets = []
    for names in members_of(served, verb):
        members: dict[str, Any] = {name: codes if name == "codes" else rows for name in names}
        told = {"condition": {}} if served.is_conditional else {}
        sets.append(
            {
                "type": "object",
                "required": list(names),
                "properties": members | told,
                "additionalProperties": False,
            }
        )
    return sets[0] if len(sets) == 1 else {"oneOf": sets}


def _answered(served: Served, verb: str) -> dict[str, Any]:
    rows = {"type": "array", "items": _row(served, bounded=False)}
    members: dict[str, Any] = {
        "encode": {"codes": {"type": "array", "items": _NUMBERS}},
        "score": {"score_samples": _NUMBERS},
        "detect": {
            "anomaly_score": _NUMBERS,
            "p_value": _NUMBERS,
            "flagged": {"type": "array", "items": {"type": "boolean"}},
        },
        "interpolate": {
            "rows": rows,
            "paths": {"type": "array", "items": {"type": "string"}},
            "places": _NUMBERS,
            "codes": {"type": "array", "items": {"type": "array", "items": _NUMBERS}},
        },
        "neighbours": {
            "metric": {"type": "string"},
            "neighbours": {"type": "array", "items": {"type": "array", "items": {"type": "object"}}},
        },
    }.get(verb, {"rows": rows})
    return {"type": "object", "required": list(members), "properties": members}


def _row(served: Served, bounded: bool = True) -> dict[str, Any]:
    if served.columns is None:
        schema = _number(LARGEST if bounded else None, True)
        for side in reversed(served.sample_shape):
            schema = {"type": "array", "minItems": side, "maxItems": side, "items": schema}
        return schema
    columns = {name: _cell(kind, bounded) for name, kind in served.columns.items()}
    return {"type": "object", "required": list(columns), "properties": columns, "additionalProperties": False}


def _cell(kind: pa.DataType, bounded: bool) -> dict[str, Any]:
    if pt.is_boolean(kind):
        return {"type": ["boolean", "null"]}
    if is_text(kind):
        return {"type": ["string", "null"]}
    if pt.is_timestamp(kind) or pt.is_date(kind):
        return {"type": ["string", "null"], "description": "ISO 8601, as in 2026-01-31"}
    if pt.is_time(kind):
        return {"type": ["string", "null"], "description": "as in 13:45:00"}
    if pt.is_duration(kind):
        return {"type": ["integer", "null"], "description": f"a count of {kind.unit}"}
    if pt.is_decimal(kind) and not bounded:
        return {"type": ["string", "null"]}
    return _number(LARGEST if bounded else None, True)


def _number(most: float | None, has_gaps: bool) -> dict[str, Any]:
    limits = {} if most is None else {"minimum": -most, "maximum": most}
    return {"type": ["number", "null"] if has_gaps else "number", **limits}


def _parameter(name: str, option: Any) -> dict[str, Any]:
    if isinstance(option, Choice):
        schema: dict[str, Any] = {"type": "string", "enum": list(option.words)}
    else:
        schema = {"type": "integer", "minimum": option.least, "maximum": option.most}
    if option.default is not None:
        schema["default"] = option.default
    return {"name": name, "in": "query", "required": False, "description": option.explained, "schema": schema}
