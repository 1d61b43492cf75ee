"""LOOPS: the language between PROGRAM and every backend that has loops.

``nest`` is its grammar; ``from_program`` makes one nest a step; ``directives`` are schedules as
data, ``schedule`` applies them, ``default`` chooses them; ``verify`` accepts or refuses;
``interpret`` is the slow oracle; ``listing`` prints.
"""
