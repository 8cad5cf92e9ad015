"""Tables in files, scored part by part: each part is written whole, and never twice.

``job`` scores the parts that ``plan`` finds and ``done`` does not list; ``piped`` scores the rows of a pipe.
The processes of one of the ``engines`` each have a ``worker``, which scores one part: ``forms`` read and
write its table, ``log`` is its payload log, and ``places`` have its files. ``task`` has the values that pass
between them.
"""
