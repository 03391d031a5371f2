"""No tool is in what a model imports; that kernels import nothing but errors, and in no circle, is README's order."""

from tests.test_architecture import GRAPH

PREFIX = "ofa_mi.kernels"
TOOLS = ("benchmarks", "resources")  # run by hand: python -m ofa_mi.kernels.TOOL


def tool(name: str) -> str | None:
    """The tool that a module belongs to."""
    return next((t for t in TOOLS if f"{name}.".startswith(f"{PREFIX}.{t}.")), None)


def test_no_model_imports_a_tool():
    """And no tool another one, but what all of them share."""
    assert GRAPH[f"{PREFIX}.attention.op"] >= {f"{PREFIX}.attention.forward", f"{PREFIX}.position_bias.op"}
    for name, found in GRAPH.items():
        foreign = {other for other in found if tool(other) not in (None, tool(name))}
        assert not foreign, f"{name} imports {foreign}"
