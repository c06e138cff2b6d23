"""The speed of funcnn beside PyTorch and hand-written NumPy on a CPU, measured in turn on the same machine.

The results are ratios: absolute times drift with the machine, ratios of neighbours in time hardly do.
"""
