"""Kernels: functions from arrays to arrays, where memory order and cache decide the speed.

The mathematics of a layer is in ``layers/``, the array work here. ``windows`` says where windows stand on an image of
one to three axes, and ``layout`` how an image lies in memory. Layers call ``convolution``, ``transposed``,
``pooling``, ``lp_pooling``, ``adaptive_pooling`` and ``patches``; a convolution is computed with ``buffers``,
``small_batch`` or ``scatter``. What is done to its output is an ``epilogue``, and how its work is cut up is in
``tuning``. Where a layer chooses between a number and 0, ``selection`` does it. ``ctc`` sums over the alignments of a
sequence of labels.

Whoever asks for them in ``choice`` gets the kernels of ``onednn`` in place of those that are ``accelerated``; how that
works is in ``implementations``. A kernel that keeps something between its two passes returns it as ``pull``, so that
each implementation keeps what it needs.

A new kernel is a file with a plain function; its test compares it with the slow loops in ``tests/kernels/oracle.py``.
"""
