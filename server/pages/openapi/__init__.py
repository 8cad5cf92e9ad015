"""GET /openapi.json: what every route takes and answers, made from the models that are served."""
