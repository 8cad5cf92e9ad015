"""From stored results to tables, charts, README and a page."""
