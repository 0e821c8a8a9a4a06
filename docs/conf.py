"""How the site is built: `sphinx-build -W -n docs docs/_build/html`, which needs no network."""

import re
from importlib import import_module
from importlib.metadata import version as version_of
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxRole

project = "triows"
author = "The triows developers"
project_copyright = "The triows developers"
version = release = version_of("triows")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "changes"]

html_theme = "furo"
html_title = "triows"
html_copy_source = False

myst_heading_anchors = 4  # as in the repository, where the pages link to each other, too
myst_links_external_new_tab = False

python_maximum_signature_line_length = 88
add_module_names = False  # a page is of one module
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore_regex = [
    # A link where the pages are read in the repository, and words where they are on the site.
    ("myst", r".*/examples/README"),
    # What others document is no page of this site, and the build asks no other site.
    ("py:.*", r"(?!triows\b).*"),
    # Types without a public name stand in signatures for those who check types.
    ("py:.*", r"triows\.(\w+\.)*_.*"),
]

DOORS = ("triows", "triows.brokers", "triows.pipes", "triows.testing")

PUBLIC: dict[str, str] = {}
"""What is public, by its bare name, and by where it is defined, which is what annotations know."""

for door in DOORS:
    module = import_module(door)
    for name in module.__all__:
        value = getattr(module, name)
        PUBLIC[name] = f"{door}.{name}"
        if hasattr(value, "__qualname__"):
            PUBLIC[f"{value.__module__}.{value.__qualname__}"] = f"{door}.{name}"

MADE_BY_TRIOWS = {
    *(f"triows.{name}" for name in ("Channels", "Headers", "Module", "ModuleGroup")),
    *(f"triows.{name}" for name in ("Subscription", "WebSocket", "Draining")),
    *(f"triows.testing.{name}" for name in ("Client", "Peer", "Response")),
    *("triows._channels.ThreadChannels", "triows._urls.Urls"),
}
"""Classes that nobody calls to get an object; their constructors are our own affair."""


class Code(SphinxRole):
    """`text` in a docstring: code, and a link where it is the name of something public."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the code, in a reference that may remain unresolved."""
        code = nodes.literal(self.rawtext, self.text, classes=["xref"])
        if not re.fullmatch(r"[\w.]+", self.text):
            return [code], []
        reference = addnodes.pending_xref("", code, refdomain="py", reftype="obj", is_code=True)
        reference["reftarget"] = self.text
        reference["refdoc"] = self.env.docname
        reference["py:module"] = self.env.ref_context.get("py:module")
        reference["py:class"] = self.env.ref_context.get("py:class")
        return [reference], []


def resolve(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contents: nodes.Element
) -> nodes.Element | None:
    """Find a public name that was referred to otherwise; leave code as it is."""
    if node.get("refdomain") != "py":
        return None
    public = PUBLIC.get(node["reftarget"])
    if public is not None:
        found: nodes.Element | None = env.domains["py"].resolve_xref(
            env, node["refdoc"], app.builder, "obj", public, node, contents
        )
        return found
    return contents if node.get("is_code") else None


def hide_constructor(_app: Sphinx, _what: str, name: str, *_rest: object) -> tuple[str, str] | None:
    """Leave out how a class is called that is not to be called."""
    return ("", "") if name in MADE_BY_TRIOWS else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Add what is ours to Sphinx."""
    app.add_role("code-or-name", Code())
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", hide_constructor)
    return {"parallel_read_safe": True}


default_role = "code-or-name"
