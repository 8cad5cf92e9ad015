"""Tables, charts, README's block and a page from the stored results."""
