"""The pages of the Open Inference Protocol: metadata, the index of versions, statistics."""
