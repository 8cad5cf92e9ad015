"""GET /openapi.json: the requests and answers of every route, for the models that are served."""
