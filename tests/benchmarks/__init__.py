"""How fast funcnn is beside PyTorch on a CPU, measured in turn on the same machine in the same minutes.

Every number is a ratio first: absolute times drift with the machine, ratios of neighbours in time hardly do.
"""
