"""The glossary's definitions shown where the mouse rests on a term: its first use on each page, symbols too."""

import re
from itertools import groupby

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

GLOSSARY = "book/glossary"
_UNEXPLAINED = (GLOSSARY, "book/references", "book/package")
"""Pages without explanations: titles of works and descriptions of functions use words in other senses."""
_OTHER_SENSES = (
    "measurement noise", "noise to signal", "signal-to-noise", "dimensions of signal",
    "carries the signal", "a status other", "ties them", "ties are broken", "library is installed",
)  # fmt: skip
"""Phrases in which a word does not mean what the glossary says."""
_WORDS = (nodes.paragraph, nodes.strong)
"""A term is explained where it stands in running text: not in titles of pages or works, links, code or captions."""
_SIGNS = {"baru": "ū", "I_infty": "I∞"}


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the glossary's terms with their definitions, as plain text."""
    if app.env.docname != GLOSSARY:
        return
    found = {}
    for item in doctree.findall(nodes.definition_list_item):
        (definition,) = item.findall(nodes.definition)
        for term in item.findall(nodes.term):
            found[_key(term)] = re.sub(r" *,? +([.:])", r"\1", " ".join(_plain(definition).split()))
    app.env.hover_terms = found


def explain(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put each term's definition at its first use on a page."""
    left = {} if docname in _UNEXPLAINED else dict(getattr(app.env, "hover_terms", {}))
    for node in list(doctree.findall(lambda n: isinstance(n, (*_WORDS, nodes.math)))):
        if not isinstance(node, nodes.math):
            # each line is a text of its own, and a term may go on in the next
            texts = groupby(node.children, key=lambda child: isinstance(child, nodes.Text))
            node[:] = [n for is_text, some in texts for n in (_explained("".join(some), left) if is_text else some)]
        elif definition := left.pop(_sign(node.astext()), ""):
            node.replace_self(nodes.abbreviation("", "", node.deepcopy(), explanation=definition))


def _explained(text: str, left: dict[str, str]) -> list[nodes.Node]:
    words = sorted((*_OTHER_SENSES, *(term for term in left if term[0].isalpha())), key=len, reverse=True)
    pattern = "|".join(rf"\b{re.escape(term)}s?\b".replace(r"\ ", r"\s+") for term in words)
    match = re.search(pattern, text)
    if not match:
        return [nodes.Text(text)]
    found = " ".join(match[0].split())
    definition = left.pop(found, "") or left.pop(found.removesuffix("s"), "")
    shown = nodes.abbreviation(match[0], match[0], explanation=definition) if definition else nodes.Text(match[0])
    return [nodes.Text(text[: match.start()]), shown, *_explained(text[match.end() :], left)]


def _key(term: nodes.term) -> str:
    symbols = list(term.findall(nodes.math))
    return _sign(symbols[0].astext()) if symbols else term.astext()


def _sign(formula: str) -> str:
    """A symbol's name: "baru" of ``\\bar{u}`` and of ``\\bar u``; "$u" of ``u``, so that no word is taken for it."""
    name = re.sub(r"[{}\\\\ ]|mathrm", "", formula)
    return name if len(name) > 1 else f"${name}"


def _plain(node: nodes.Node) -> str:
    if isinstance(node, nodes.math):
        return _SIGNS.get(_sign(node.astext()), _sign(node.astext()).lstrip("$"))
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, addnodes.pending_xref):  # the number of a formula, which is not known yet
        return ""
    return "".join(_plain(child) for child in node.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Collect when the glossary is read, explain when references are resolved."""
    app.connect("doctree-read", collect)
    app.connect("doctree-resolved", explain)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
