"""Drift: how what is asked and answered now differs from the training rows.

binning     rows -> counts in the cells of a version's reference
judgement   these counts -> what has drifted
report      what is said of it, for JSON, a table and a page
"""
