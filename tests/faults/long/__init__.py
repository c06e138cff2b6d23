"""The long fault run: each file is one way to lose work or bits, tried many times in processes of their own.

A scenario is a function ``scenario(count) -> Outcome``. ``run.py`` has the table of all of them, and
``processes.py`` starts the processes.
"""
