"""The speed of funcnn beside PyTorch, JAX, scikit-learn and hand-written NumPy on a CPU, measured in turn.

The results are ratios: absolute times drift with the machine, ratios of neighbours in time hardly do. ``workloads``
describes the networks, ``sides`` lists who runs them, and each side builds them in a file of its own.
"""
