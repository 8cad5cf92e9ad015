"""The measurements, their order, and the tools for them."""
