"""From a path to the answer: routes, endpoints, streams, and the middleware around them."""
