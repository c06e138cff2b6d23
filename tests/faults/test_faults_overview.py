"""Every known fault of the five systems has a test named after its number, or a reason why no test applies.

The test of row 0.1 is named ``test_s0_1_...``; one that tests several rows has all their numbers,
``test_s0_6_and_s3_1_...``. The tests in this folder contain the faulty formula and distinguish it from ours; others, in
``tests/``, check the same law for all losses or optimizers.
"""

import ast
import re
from pathlib import Path

ROWS = {"0": 25, "1": 29, "2": 6, "3": 7, "4": 12}
"""The number of rows of each system: 0.1 to 0.25, 1.1 to 1.29 and so on."""

WITHOUT_TEST: dict[str, str] = {}
"""Rows for which no test applies, and why: there are none, since each error in a text concerns a formula or a call."""

PARTS_WITHOUT_TEST = {
    "0.25": "that both sides of a comparison do the same work: see examples/reference/s0_apiquet.py and "
    "tests/benchmarks. The double softmax and the shared batch norm are tested",
    "1.21": "a syntax error and misspelt names in printed code: Python itself raises, and ruff checks ours. The "
    "integer stride, the missing relu and misspelt activations are tested",
    "1.27": "a name used before it exists, for which Python itself raises. The round trip is tested, bit by bit",
    "1.28": "that picking validation data took quadratic time; ours draws one permutation. What is picked is tested",
    "2.6": "the name of a loss that returned a gradient only. That ours returns both is tested",
    "3.7": "a misspelt `_len_` and an import in another function: ruff checks names, tests/test_imports.py imports",
    "4.8": "a cell that never compiled. That their network runs, on images and kernels that are not square, is tested",
}
"""Rows that are tested in part, and the part that is not tested."""


def rows_with_a_test() -> set[str]:
    """The numbers in the names of all test functions of this folder."""
    rows = set()
    for file in Path(__file__).parent.glob("test_*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            numbers = (
                re.match(r"test(?:_s\d_\d+|_and(?=_s\d))*", node.name) if isinstance(node, ast.FunctionDef) else None
            )
            rows |= {f"{system}.{row}" for system, row in re.findall(r"_s(\d)_(\d+)", numbers[0] if numbers else "")}
    return rows


def test_every_fault_has_a_test_or_a_reason() -> None:
    rows = {f"{system}.{row}" for system, count in ROWS.items() for row in range(1, count + 1)}
    assert len(rows) == 79
    tested = rows_with_a_test()
    assert tested <= rows, f"no rows of the tables: {sorted(tested - rows)}"
    assert rows - tested == WITHOUT_TEST.keys()
    assert tested >= PARTS_WITHOUT_TEST.keys()
