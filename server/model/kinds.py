"""The kinds of models, by what their manifests say of their answers."""

from unpickled.server.artifact.manifest import Manifest
from unpickled.server.model.classification import Classification
from unpickled.server.model.outputs import Outputs
from unpickled.server.model.regression import Regression


def outputs_of(manifest: Manifest) -> Outputs:
    """The Outputs of a model with this manifest; ArtifactError where the manifest contradicts itself."""
    return Regression(manifest) if manifest.outputs.kind == "prediction" else Classification(manifest)
