"""Tables in files, scored part by part: each part is written whole, and never twice."""
