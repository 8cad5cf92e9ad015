"""Where a graph runs: the execution providers of its session, and the nodes of each."""

from collections.abc import Sequence
from typing import Any

import msgspec

from unpickled.server.config import Provider
from unpickled.server.errors import ArtifactError

CPU = "CPUExecutionProvider"
# Most nodes of a provider that are listed.
LISTED = 50


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a graph runs. ``nodes`` counts its nodes per provider; ``notes`` say what was not obtained.

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


def _node(node: Any) -> str:
    try:
        return f"{node.op_type} {node.name}".rstrip()
    except UnicodeDecodeError:
        raise ArtifactError("a node of its graph has a name that is not UTF-8") from None


def _notes(
    providers: Sequence[Provider], obtained: Sequence[str], counts: dict[str, int], notes: Sequence[str]
) -> list[str]:
    sentences = []
    for name in (provider.name for provider in providers):
        if name in obtained and counts[name] == 0 and name != CPU:
            sentences.append(
                f"{name} was obtained but runs none of the graph's nodes: the operators of classic models "
                "(ai.onnx.ml) run on the CPU."
            )
        elif name not in obtained and not any(note.startswith(name) for note in notes):
            sentences.append(
                f"{name} was not obtained although this onnxruntime has it: its libraries or its device are "
                "missing (for CUDA: a driver, CUDA and cuDNN that fit this onnxruntime-gpu)."
            )
    return sentences
