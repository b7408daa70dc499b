"""Validates an OpenAPI document of 3.0 or 3.1, and its examples against their schemas. Takes the document's path."""

import json
import sys

import jsonschema
from openapi_schema_validator import OAS30Validator, OAS31Validator
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

VALIDATORS = {"3.0": (OpenAPIV30SpecValidator, OAS30Validator), "3.1": (OpenAPIV31SpecValidator, OAS31Validator)}


def examples(schema, path):
    """Every schema below `schema` that has an example, with where it stands."""
    if isinstance(schema, dict):
        if "example" in schema:
            yield path, schema
        for name, inner in schema.items():
            if name != "example":
                yield from examples(inner, f"{path}/{name}")
    elif isinstance(schema, list):
        for number, inner in enumerate(schema):
            yield from examples(inner, f"{path}/{number}")


def main(path):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    of_document, of_schema = VALIDATORS[document["openapi"][:3]]
    of_document(document).validate()
    checked = 0
    for place, schema in examples(document, "#"):
        # References in a schema are resolved against the document that is its root.
        rooted = {**{name: value for name, value in schema.items() if name != "example"}, "components": document["components"]}
        try:
            of_schema(rooted, format_checker=of_schema.FORMAT_CHECKER).validate(schema["example"])
        except jsonschema.ValidationError as error:
            raise SystemExit(f"{place}: the example does not fit its schema: {error.message}") from error
        checked += 1
    assert checked >= 15, f"only {checked} examples"
    print(f"{checked} examples fit")


main(sys.argv[1])
