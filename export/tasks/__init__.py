"""The kinds of questions that a pipeline answers: how it is trained, measured and named."""
