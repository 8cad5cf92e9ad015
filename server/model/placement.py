"""Where a graph runs: the execution providers of its session, and the nodes of each."""

from collections.abc import Sequence
from typing import Any

import msgspec

from unpickled.server.config import Provider
from unpickled.server.errors import ArtifactError
from unpickled.server.quote import counted

CPU = "CPUExecutionProvider"
# Most nodes of a provider that are listed.
LISTED = 50


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a graph runs. ``nodes`` counts its nodes per provider; ``notes`` say what is amiss.

    ``graph`` has the first 50 nodes of each, as "Gemm gemm_7", after ONNX Runtime's optimizations.
    """

    requested: tuple[str, ...]
    obtained: tuple[str, ...]
    nodes: dict[str, int]
    graph: dict[str, tuple[str, ...]]
    notes: tuple[str, ...]


def placed(session: Any, providers: Sequence[Provider], notes: Sequence[str]) -> Placement:
    """The placement of an ONNX Runtime session for which these providers were requested."""
    obtained = session.get_providers()
    graph: dict[str, list[str]] = {name: [] for name in obtained}
    for part in session.get_provider_graph_assignment_info():
        graph.setdefault(part.ep_name, []).extend(map(_node, part.get_nodes()))
    counts = {name: len(nodes) for name, nodes in graph.items()}
    return Placement(
        requested=tuple(provider.name for provider in providers),
        obtained=tuple(obtained),
        nodes=counts,
        graph={name: tuple(nodes[:LISTED]) for name, nodes in graph.items()},
        notes=(*notes, *_notes(providers, obtained, counts, notes)),
    )


def refusal(placement: Placement) -> str | None:
    """Why strict mode refuses this placement: the first provider runs no node; None where it runs one."""
    first = placement.requested[0]
    if first == CPU or placement.nodes.get(first):
        return None
    return next(note for note in placement.notes if note.startswith(f"{first} ")).removesuffix(".")


def elsewhere(placement: Placement) -> str:
    """The end of a sentence that says how many nodes other providers than the CPU's run; empty if none."""
    total = sum(placement.nodes.values())
    others = ((name, count) for name, count in placement.nodes.items() if count and name != CPU)
    return "".join(f"; {name} runs {count} of its {counted(total, 'node')}" for name, count in others)


def _node(node: Any) -> str:
    try:
        return f"{node.op_type} {node.name}".rstrip()
    except UnicodeDecodeError:
        raise ArtifactError("a node of its graph has a name that is not UTF-8") from None


def _notes(
    providers: Sequence[Provider], obtained: Sequence[str], counts: dict[str, int], notes: Sequence[str]
) -> list[str]:
    explained = {note.partition(" ")[0] for note in notes}
    names = [provider.name for provider in providers if provider.name not in (CPU, *explained)]
    return [_note(name, counts.get(name, 0), sum(counts.values()), name in obtained) for name in names]


def _note(name: str, count: int, total: int, obtained: bool) -> str:
    if not obtained:
        return (
            f"{name} was not obtained although this onnxruntime has it: its libraries or its device are "
            "missing (for CUDA: a driver, CUDA and cuDNN that fit this onnxruntime-gpu), or it refuses its "
            "options."
        )
    if count == 0:
        return (
            f"{name} was obtained but runs none of the graph's nodes: it has no kernels for these operators "
            "with these types (few providers have any for ai.onnx.ml, some have none for float64)."
        )
    return (
        f"{name} runs {count} of the graph's {counted(total, 'node')}: the export compared the answers on "
        "the CPU, and here only those to the golden rows are compared."
    )
