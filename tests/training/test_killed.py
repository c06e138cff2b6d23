"""A run that is killed at any of its events, and resumed, ends with the files of one that was not."""

import pytest

from tests.faults.long.kills_and_resumes import kill_in
from tests.faults.long.processes import values_of


@pytest.mark.parametrize(
    ("part", "every", "count"),
    [("end", 1, 24), ("end", 4, 24), ("middle", 1, 20), ("several", 1, 5), ("several", 4, 5)],
)
def test_a_run_that_is_killed_ends_with_the_same_files(part: str, every: int, count: int) -> None:
    verdicts, problem = values_of(kill_in, part, every)
    assert problem is None
    assert [verdict for verdict in verdicts if verdict] == []
    assert len(verdicts) >= count
