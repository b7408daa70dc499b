"""Makes every call of a file through the generated client, and writes one line of JSON for each outcome.

Finds the function of an operation by its name and the types of its arguments by its annotations. Ends with an error if
the client has no such function or argument, or no type for an answer. Takes the file that `tests/sdk.rs` wrote.
"""

import datetime
import functools
import importlib
import inspect
import io
import json
import pkgutil
import sys
import typing
import uuid

import lethe_client.api
from lethe_client import AuthenticatedClient, Client
from lethe_client.models import Problem
from lethe_client.types import File

PLAIN = (str, bytes, File)


def operations():
    """The modules of all operations, by the operation's name."""
    found = pkgutil.walk_packages(lethe_client.api.__path__, lethe_client.api.__name__ + ".")
    modules = [importlib.import_module(module.name) for module in found if not module.ispkg]
    return {plain(module.__name__.rsplit(".", 1)[1]): module for module in modules}


def plain(name):
    """A name without what languages spell differently: `If-Match`, `if_match`, `import_`."""
    return name.replace("-", "").replace("_", "").lower()


def typed(value, annotation):
    """A value of JSON as the argument's type."""
    kinds = typing.get_args(annotation) or (annotation,)
    if File in kinds:
        return File(io.BytesIO(value.encode()))
    readers = {uuid.UUID: uuid.UUID, datetime.datetime: datetime.datetime.fromisoformat, datetime.date: datetime.date.fromisoformat}
    for kind in kinds:
        read = getattr(kind, "from_dict", None) if isinstance(value, dict) else readers.get(kind)
        if read:
            return read(value)
    return value


@functools.cache
def client(url, token, field):
    if token is None:
        return Client(base_url=url, raise_on_unexpected_status=True)
    sign_in = {} if field == "Authorization" else {"auth_header_name": field, "prefix": ""}
    return AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True, **sign_in)


def call(module, url, wish):
    function = module.sync_detailed
    annotations = typing.get_type_hints(function)
    names = {plain(name): name for name in inspect.signature(function).parameters}
    arguments = {**wish["path"], **wish["query"], **wish["headers"]}
    if wish["body"] is not None:
        arguments["body"] = wish["body"]
    arguments = {names[plain(name)]: value for name, value in arguments.items()}
    arguments = {name: typed(value, annotations[name]) for name, value in arguments.items()}
    answer = function(client=client(url, wish["token"], wish["field"]), **arguments)
    if answer.status_code >= 400:
        assert isinstance(answer.parsed, Problem), (wish, answer)
        return answer.status_code, str(answer.parsed.type_)
    (kinds,) = typing.get_args(annotations["return"])
    kinds = [kind for kind in typing.get_args(kinds) or (kinds,) if kind is not Problem]
    parsed = any(isinstance(answer.parsed, PLAIN if kind is str else kind) for kind in kinds if kind is not typing.Any)
    assert parsed or (answer.parsed is None and not answer.content), (wish, answer)
    return answer.status_code, "success"


def main(path):
    with open(path, encoding="utf-8") as file:
        walk = json.load(file)
    modules = operations()
    for wish in walk["calls"]:
        status, answer = call(modules[plain(wish["operation"])], walk["url"], wish)
        print(json.dumps({"operation": wish["operation"], "caller": wish["caller"], "status": status, "answer": answer}))
    print(json.dumps({"operations": len(modules)}))


main(sys.argv[1])
