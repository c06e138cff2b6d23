"""How work meets the machine: pooled buffers, threads, and batches that are cut into microbatches.

No layer depends on this package for its values: it decides only where in memory and on which thread they are computed.
A new layer needs nothing new here. The free lists in ``memory`` and, while layers compute, the number of threads of
BLAS in ``funcnn.cores`` are the only process-wide state of funcnn; ``release_memory()`` empties the first.
"""
