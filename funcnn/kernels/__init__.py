"""Kernels: functions from arrays to arrays, where memory order and cache decide the speed.

The mathematics of a layer is in ``layers/``, the array work here. A new kernel is a file with a plain function; its
test compares it with the slow loops in ``tests/kernels/oracle.py``.
"""
