"""Golden outputs: what the library computed before its inside was rewritten, saved once and compared ever since.

``cases`` computes, ``fixture`` keeps and compares, ``record`` saves, ``test_golden`` tests.
"""
