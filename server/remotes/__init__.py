"""Models that lie elsewhere: object stores, web servers, MLflow, OCI registries."""
