"""Links from the short names of docstrings: `Dropout` is `trimtab.nn.Dropout`.

A name that is not in the reference, such as that of a parameter, remains code without a link.
"""

from typing import Any

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: Element) -> Element | None:
    """Return the link to the object with the shortest full name that ends with the name, if there is any."""
    if node["reftype"] != "obj" or "." in node["reftarget"]:
        return None
    python = env.get_domain("py")
    name = node["reftarget"]
    found = [one for one in python.objects if one.endswith(f".{name}")]
    if not found or len(name) < 3:
        return None
    node["reftarget"] = min(found, key=lambda one: (one.count("."), len(one)))
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", node["reftarget"], node, contents)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
