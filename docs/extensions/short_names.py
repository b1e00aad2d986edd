"""Links from the short names of docstrings: `Dropout` is `trimtab.nn.Dropout`.

Only classes are found so: a function may have the name of a parameter, such as `max_norm`, and is linked by
its full name or from its own module. Other names remain code without a link.
"""

from typing import Any

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contents: Element) -> Element | None:
    """Return the link to the class with the shortest full name that ends with the name, if there is any."""
    python = env.get_domain("py")
    ending = f".{node['reftarget']}"
    found = [name for name, one in python.objects.items() if one.objtype == "class" and name.endswith(ending)]
    if node["reftype"] != "obj" or not found:
        return None
    node["reftarget"] = min(found, key=lambda one: (one.count("."), len(one)))
    return python.resolve_xref(env, node["refdoc"], app.builder, "obj", node["reftarget"], node, contents)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
