"""From a path to the answer: routes, endpoints, streams, and what stands around them."""
